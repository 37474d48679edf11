// The free space of a file system, by the package fs-ext where it is installed, otherwise by node.
import { existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { encodeName, hasRawBytes } from '../../util/name-bytes.js';
import { nodeError } from '../errno.js';
import { loadOptional } from './binding.js';

/** Bytes that this user may still write to the file system of `path`, or of its folder where it does not exist yet. */
export function freeSpaceAt(path: string): number {
  const found = existsSync(encodeName(path)) ? path : dirname(path);
  try {
    // fs-ext takes names as text, which cannot contain bytes that are not UTF-8.
    const ext = hasRawBytes(found) ? null : loadOptional<typeof import('fs-ext')>('fs-ext');
    if (ext !== null) {
      const { f_bavail, f_frsize } = ext.statVFS(found);
      return f_bavail * f_frsize;
    }
    const { bavail, bsize } = statfsSync(encodeName(found));
    return bavail * bsize;
  } catch (error) {
    throw nodeError(error, { operation: 'free-space', path });
  }
}
