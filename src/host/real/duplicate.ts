// Opens a file that the program has open already: its descriptor is duplicated, so that each can be closed by itself. Both belong to one open file
// description, with the same flags and the same locks.

import { closeSync, constants } from 'node:fs';
import { BlockError } from '../../util/errors.js';
import { errnoError } from '../errno.js';
import type { OpenFileOptions } from '../host.js';
import type { Native } from './binding.js';
import { kindOfType } from './info.js';

const ACCESS_MODE = 3;

/** Throws `permission` where the descriptor is not open for reading, or for writing if asked; `invalid-argument` for unsuitable flags, or no descriptor. */
export function duplicate(native: Native, path: string, descriptor: number, options: OpenFileOptions) {
  const findings = new Uint32Array(4);
  const fd = native.duplicateFile(descriptor, findings);
  if (fd < 0) throw errnoError(fd, { operation: 'open', path });
  const [memoryAlignment, alignment, type, flags] = findings;
  const refuse = (code: 'permission' | 'invalid-argument', what: string): never => {
    closeSync(fd);
    throw BlockError.at(path, code, `file descriptor ${descriptor} ${what}`, { operation: 'open' });
  };
  const mode = flags & ACCESS_MODE;
  if (mode === constants.O_WRONLY) refuse('permission', 'is not open for reading');
  if (options.writable && mode !== constants.O_RDWR) refuse('permission', 'is not open for writing');
  if (options.writable && (flags & constants.O_APPEND) !== 0) refuse('invalid-argument', 'is open for appending');
  const direct = (flags & constants.O_DIRECT) !== 0;
  if (options.direct === true && !direct) refuse('invalid-argument', 'is not open with O_DIRECT (cache.direct=on)');
  return { fd, memoryAlignment, alignment, kind: kindOfType(type), direct };
}

/** Whether the descriptor is open for just what is asked: a file that is only read is opened from one that can only be read, as in QEMU. */
export function isOpenFor(native: Native, descriptor: number, { writable, direct = false }: OpenFileOptions): boolean {
  const findings = new Uint32Array(4);
  const fd = native.duplicateFile(descriptor, findings);
  if (fd < 0) return false;
  closeSync(fd);
  const flags = findings[3];
  const wanted = writable ? constants.O_RDWR : constants.O_RDONLY;
  return (flags & ACCESS_MODE) === wanted && (!direct || (flags & constants.O_DIRECT) !== 0);
}
