// What an image refers to (backing file, later data file and extents) is opened through one gate, which the caller can close.

import { BlockError } from '../util/errors.js';

/** The image that a name is written in. */
export interface Referrer {
  /** Real path of its file, or what it is called where it is in none. */
  path: string;
}

/** Says whether `referrer` (the path of a file, or a URI) may have `target` opened. Throws `permission` where not. */
export interface OpenGate {
  check(target: string, referrer: string): void;
  /** Devices are refused before they are asked for. Default: block devices may be. */
  readonly plainFilesOnly?: boolean;
}

/** Nothing may. */
export const denyGate: OpenGate = {
  check(target, referrer) {
    throw refusal(target, referrer, 'references are not followed');
  },
};

/** Only plain files in the referrer's own folder, no devices, no network. Names of files are absolute paths, links resolved. */
export const sameFolderGate: OpenGate = {
  plainFilesOnly: true,
  check(target, referrer) {
    if (!target.startsWith('/')) throw refusal(target, referrer, 'it is no file');
    if (folderOf(target) !== folderOf(referrer)) throw refusal(target, referrer, 'it is in another folder');
  },
};

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/') + 1);
}

export function refusal(target: string, referrer: string, why: string): BlockError {
  return new BlockError('permission', `'${referrer}' refers to '${target}', which is not opened: ${why}`, {
    path: referrer,
    operation: 'open',
  });
}
