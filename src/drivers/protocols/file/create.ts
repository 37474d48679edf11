// Creates a file for an image.

import type { CreateOption } from '../../../block/create-option.js';
import type { Graph } from '../../../block/graph.js';
import { refuseUsed } from '../../../block/identity.js';
import type { CreateRequest } from '../../../block/registry.js';
import { Perm } from '../../../block/types.js';
import type { HostFile } from '../../../host/host.js';
import type { PreallocMode } from '../../../schema/generated/types.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { wordsOfErrno } from '../../../util/system-words.js';
import { ImageLocks } from './locks.js';

const CHUNK_BYTES = 1 << 20;
/** The unit of allocation that a file system is asked for, as by QEMU. */
const EXTENT_BYTES = 1 << 20;
const MAX_EXTENT_BYTES = 0xffff_ffff;
const BLOCK_BYTES = 4096;

/** What a file that images are made in can be asked for besides, at a shell. */
export const FILE_CREATE_OPTIONS: readonly CreateOption[] = [
  {
    name: 'extent_size_hint',
    kind: 'size',
    help: 'Extent size hint for the image file, 0 to disable',
    member: 'extent-size-hint',
  },
  { name: 'nocow', kind: 'bool (on/off)', help: 'Turn off copy-on-write (valid only on btrfs)', member: 'nocow' },
];

/**
 * Creates `filename` with `size` bytes of zeroes; an existing file is emptied first. Rejects with `locked` where the file is in use, and leaves
 * it unchanged then. Rejects with `no-space` where there is no space for the preallocation, and leaves the file empty then.
 */
export async function createFile({ graph, options }: CreateRequest<'file'>): Promise<void> {
  const { filename, size, preallocation = 'off' } = options;
  if (preallocation === 'metadata') {
    throw new BlockError('invalid-argument', 'Unsupported preallocation mode: metadata', { path: filename });
  }
  const { nocow = false, 'extent-size-hint': extentBytes } = options;
  if (extentBytes !== undefined && extentBytes > MAX_EXTENT_BYTES) {
    throw new BlockError('invalid-argument', 'Extent size hint is too large', { path: filename });
  }
  const file = await openNew(graph, filename);
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
    if (nocow) file.avoidCopies();
    hintAtExtents(graph, file, extentBytes);
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

/** A pipe is refused as what has no size, in QEMU's words. */
async function openNew({ host }: Graph, filename: string): Promise<HostFile> {
  try {
    return await host.open(filename, { writable: true, create: 'keep' });
  } catch (cause) {
    if (!(cause instanceof BlockError) || cause.errno !== 'ESPIPE') throw cause;
    const info = { path: filename, operation: 'truncate', errno: 'EINVAL', cause };
    throw new BlockError('invalid-argument', `Could not resize file: ${wordsOfErrno('EINVAL')}`, info);
  }
}

/** Only where somebody asked for it is it said that the file system cannot. */
function hintAtExtents(graph: Graph, file: HostFile, wanted: number | undefined): void {
  try {
    file.setExtentSize(wanted ?? EXTENT_BYTES);
  } catch (error) {
    const { errno, reason } = toBlockError(error);
    const words = (errno === undefined ? undefined : wordsOfErrno(errno)) ?? reason;
    if (wanted !== undefined && wanted > 0) graph.warn(`warning: Failed to set extent size hint: ${words}`);
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
