// Names and paths below a folder of the host that is open (`HostFolder`).

import { BlockError } from '../util/errors.js';
import type { FolderPath } from './host.js';

/** What messages call something below the folder `path`. */
export function pathBelow(path: string, below: FolderPath): string {
  return [path.replace(/\/+$/, ''), ...below].join('/');
}

/** Throws `invalid-argument` for a name that would lead out of its folder, or that no file can have. */
export function checkEntryName(name: string, folder: string): void {
  if (name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name)) return;
  throw BlockError.at(folder, 'invalid-argument', `'${name}' is no name of a file`, { operation: 'open' });
}
