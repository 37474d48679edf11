// Reads a small file whole. Rare: node's own calls do.
import { close, fstat, open, read } from 'node:fs';
import { promisify } from 'node:util';
import { toBlockError } from '../../util/errors.js';
import { encodeName } from '../../util/name-bytes.js';
import { tooLarge } from '../small-file.js';

const openOf = promisify(open) as (path: Buffer, flags: string) => Promise<number>;

/** Pipes are read, too (`<(pass show key)`): hence to the end, and not as long as the file is said to be. */
export async function readSmall(path: string, limit: number): Promise<Uint8Array> {
  try {
    const fd = await openOf(encodeName(path), 'r');
    try {
      const { size } = await promisify(fstat)(fd);
      if (size > limit) throw tooLarge(path, limit);
      // One byte more than is allowed: a file that grows meanwhile is found out.
      const room = Buffer.alloc(limit + 1);
      let length = 0;
      while (length <= limit) {
        const { bytesRead } = await promisify(read)(fd, room, length, room.length - length, null);
        if (bytesRead === 0) return room.subarray(0, length);
        length += bytesRead;
      }
      throw tooLarge(path, limit);
    } finally {
      await promisify(close)(fd);
    }
  } catch (error) {
    throw toBlockError(error, { operation: 'read', path });
  }
}
