// How much room is left on a file system. The package fs-ext says it where it is installed; node itself says the same.
import { existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { toBlockError } from '../../util/errors.js';
import { loadOptional } from './binding.js';

/** Bytes that this user may still write to the file system of `path`, or of its folder where it does not exist yet. */
export function freeSpaceAt(path: string): number {
  const found = existsSync(path) ? path : dirname(path);
  try {
    const ext = loadOptional<typeof import('fs-ext')>('fs-ext');
    if (ext !== null) {
      const { f_bavail, f_frsize } = ext.statVFS(found);
      return f_bavail * f_frsize;
    }
    const { bavail, bsize } = statfsSync(found);
    return bavail * bsize;
  } catch (error) {
    throw toBlockError(error, { operation: 'free-space', path });
  }
}
