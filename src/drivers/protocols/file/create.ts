// Creates a file for an image.

import { refuseUsed } from '../../../block/identity.js';
import type { CreateRequest } from '../../../block/registry.js';
import { Perm } from '../../../block/types.js';
import type { HostFile } from '../../../host/host.js';
import type { PreallocMode } from '../../../schema/generated/types.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError } from '../../../util/errors.js';
import { ImageLocks } from './locks.js';

const CHUNK_BYTES = 1 << 20;
const BLOCK_BYTES = 4096;

/**
 * Creates `filename` with `size` bytes of zeroes; an existing file is emptied first. Rejects with `locked` where the file is in use, and leaves
 * it unchanged then. Rejects with `no-space` where there is no space for the preallocation, and leaves the file empty then.
 */
export async function createFile({ graph, options }: CreateRequest<'file'>): Promise<void> {
  const { filename, size, preallocation = 'off' } = options;
  if (preallocation === 'metadata') {
    throw new BlockError('invalid-argument', 'Unsupported preallocation mode: metadata', { path: filename });
  }
  if ((options['extent-size-hint'] ?? 0) !== 0) {
    throw new BlockError('unsupported', 'extent-size-hint other than 0 is not supported', { path: filename });
  }
  const file = await graph.host.open(filename, { writable: true, create: 'keep' });
  try {
    // An image lock is not to be had either where this program itself has the file open: then its own words for that are better.
    await refuseUsed(graph, { ...(await file.info()), path: filename });
    // This throws where another user of the file does not share the permissions to write and to resize it.
    const locks = new ImageLocks(file);
    locks.set(Perm.WRITE | Perm.RESIZE, Perm.RESIZE);
    // And this where one writes to it, as a copy to a raw file does that lets others resize it: emptied under it, the file would lack what was written
    // before, and the copy would say that it went well. (QEMU empties such a file.)
    locks.set(Perm.WRITE | Perm.RESIZE, Perm.RESIZE | Perm.WRITE);
    await file.truncate(0);
    try {
      await fill(file, size, preallocation);
    } catch (error) {
      await file.truncate(0);
      throw error;
    }
  } finally {
    await file.close();
  }
}

async function fill(file: HostFile, size: number, preallocation: PreallocMode): Promise<void> {
  if (preallocation === 'falloc' && size > 0) await file.allocate(0, size, false);
  else await file.truncate(size);
  if (preallocation === 'off') await allocateFirstBlock(file, size);
  if (preallocation !== 'full') return;
  const zeroes = new Uint8Array(Math.min(size, CHUNK_BYTES));
  for (let offset = 0; offset < size; offset += zeroes.length) {
    await file.write(offset, zeroes.subarray(0, Math.min(zeroes.length, size - offset)));
  }
  await file.flush();
}

/**
 * Allocates the first block of a new, empty file of `size` bytes, as QEMU does: QEMU needs an allocated block to find out the alignment of O_DIRECT
 * requests. A failure is ignored: the block stays a hole.
 */
export async function allocateFirstBlock(file: HostFile, size: number): Promise<void> {
  if (size === 0) return;
  await file.write(0, new Uint8Array(Math.min(size, BLOCK_BYTES))).catch(bestEffort('creating a file'));
}
