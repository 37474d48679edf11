// How much room is left on a file system. The package fs-ext says it where it is installed; node itself says the same.
import { existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { toBlockError } from '../../util/errors.js';
import { encodeName, hasRawBytes } from '../../util/name-bytes.js';
import { loadOptional } from './binding.js';

/** Bytes that this user may still write to the file system of `path`, or of its folder where it does not exist yet. */
export function freeSpaceAt(path: string): number {
  const found = existsSync(encodeName(path)) ? path : dirname(path);
  try {
    // fs-ext takes names as text, in which bytes that are no UTF-8 have no place.
    const ext = hasRawBytes(found) ? null : loadOptional<typeof import('fs-ext')>('fs-ext');
    if (ext !== null) {
      const { f_bavail, f_frsize } = ext.statVFS(found);
      return f_bavail * f_frsize;
    }
    const { bavail, bsize } = statfsSync(encodeName(found));
    return bavail * bsize;
  } catch (error) {
    throw toBlockError(error, { operation: 'free-space', path });
  }
}
