// Reads a small file as a whole, by node's own calls: it is rarely needed.
import { close, fstat, open, read } from 'node:fs';
import { promisify } from 'node:util';
import { encodeName } from '../../util/name-bytes.js';
import { nodeError } from '../errno.js';
import { tooLarge } from '../small-file.js';

const openOf = promisify(open) as (path: Buffer, flags: string) => Promise<number>;

/** See `Host.readSmall`. Reads to the end, and not only `size` bytes: the file may be a pipe (`<(pass show key)`). */
export async function readSmall(path: string, limit: number): Promise<Uint8Array> {
  try {
    const fd = await openOf(encodeName(path), 'r');
    try {
      const { size } = await promisify(fstat)(fd);
      if (size > limit) throw tooLarge(path, limit);
      // One byte more than the limit, to detect a file that grows meanwhile.
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
    throw nodeError(error, { operation: 'read', path });
  }
}
