// Changes the size of the disk. The header says the new size by one write, so that after power loss, or a failure, the disk has its old size and content
// or its new ones: what grows says it last, after everything that can fail was done and flushed; what shrinks says it first, since its content goes then.
//
//   shrink   header -> unmap the clusters beyond the new size -> commit, cut the file
//   grow     longer L1 table -> zero the rest of the last cluster -> unmap leftovers beyond the old size -> zero what the backing file
//            would show there -> preallocate -> header

import type { PreallocMode } from '../../../schema/generated/types.js';
import { bestEffort } from '../../../util/best-effort.js';
import { roundUp } from '../../../util/numbers.js';
import { cutFile, dropFrom } from './empty.js';
import type { Qcow2Image } from './image.js';
import { Kind } from './l2-codec.js';
import { PointerTable } from './pointer-table.js';
import { bitsOf } from './subclusters.js';
import type { Table } from './table-cache.js';
import {
  clusterAt,
  type GuestOffset,
  type HostOffset,
  hostOf,
  l1EntriesFor,
  MAX_L1_BYTES,
  NO_HOST,
  plus,
  SECTOR,
} from './types.js';
import { writeGuest } from './write.js';
import { changeEntries, zeroGuest } from './zero.js';

const PREALLOCATE_BYTES = 64 << 20;

/**
 * Sets the virtual size. What is new reads as zeroes. `oldSize` is the size until now. Rejects with `invalid-argument`,
 * `unsupported`, `limit`, `no-space`, `io`.
 */
export async function resizeImage(
  image: Qcow2Image,
  oldSize: GuestOffset,
  size: GuestOffset,
  preallocation: PreallocMode,
): Promise<void> {
  checkSize(image, size);
  if (size < oldSize) {
    if (preallocation !== 'off') {
      throw image.error('invalid-argument', "Preallocation can't be used for shrinking an image", 'resize');
    }
    return shrink(image, size);
  }
  await grow(image, oldSize, size, preallocation);
}

/** Throws `invalid-argument` for a size that no image has, `unsupported` for another size of an image with snapshots that do not say theirs, `limit` for one that needs too long an L1 table. */
export function checkSize(image: Qcow2Image, size: number): void {
  if (size % SECTOR !== 0) {
    throw image.error('invalid-argument', `The new size must be a multiple of ${SECTOR}`, 'resize');
  }
  if (image.geometry.version === 2 && image.snapshots.list.length > 0) {
    throw image.error('unsupported', "Can't resize a v2 image which has snapshots", 'resize');
  }
  if (l1EntriesFor(image.geometry, size) > MAX_L1_BYTES / 8) {
    throw image.error('limit', 'Failed to grow the L1 table: File too large', 'resize');
  }
}

/**
 * With the size in the header, the disk has become smaller. That its space could not all be given back is no failure of that: what is left is unmapped by the next
 * growth or repair, as is what a guest writes there until the node has its new size, too.
 */
async function shrink(image: Qcow2Image, size: GuestOffset): Promise<void> {
  const writes = image.file.raise('l1_shrink_write_table');
  if (writes !== undefined) await writes;
  await storeSize(image, size);
  await giveBack(image, size).catch(bestEffort('shrink'));
}

async function giveBack(image: Qcow2Image, size: GuestOffset): Promise<void> {
  const { external, file } = image;
  const frees = file.raise('l1_shrink_free_l2_clusters');
  if (frees !== undefined) await frees;
  await dropFrom(image, size);
  await cutFile(image);
  await external?.resize(size, 'off');
}

async function grow(
  image: Qcow2Image,
  oldSize: GuestOffset,
  size: GuestOffset,
  preallocation: PreallocMode,
): Promise<void> {
  const { external, geometry, header } = image;
  const entries = l1EntriesFor(geometry, size);
  if (entries > header.l1Size) await growL1(image, entries);
  // What lies behind the old size in a data file would show: where that reads as the disk does, and where entries are to map it.
  if (external?.isRaw || preallocation !== 'off') await external?.clearBehind(oldSize, size);
  await clearTail(image, oldSize);
  await dropFrom(image, oldSize);
  const end = hiddenEnd(image, oldSize, size, preallocation);
  if (end > oldSize) await zeroGuest(image, oldSize, roundUp(end, geometry.clusterSize) - oldSize, {});
  await external?.grow(oldSize, size, preallocation);
  if (preallocation !== 'off') await preallocate(image, oldSize, size, preallocation);
  await storeSize(image, size);
}

/**
 * Where the zeroes end that hide a backing file which goes on behind the old size. They go to the new size, as QEMU writes them, for a backing file may grow, too;
 * version 2 has no entries for them, and gets data only where it must. What is preallocated hides it by data, from the next cluster on; where there are subclusters, it has none.
 */
function hiddenEnd(
  { backing, geometry, header }: Qcow2Image,
  oldSize: GuestOffset,
  size: GuestOffset,
  preallocation: PreallocMode,
): number {
  const length = backing()?.length ?? 0;
  if (length <= oldSize) return oldSize;
  const shown = Math.min(size, length);
  if (preallocation === 'off') return header.version >= 3 ? size : shown;
  return geometry.extendedL2 ? shown : Math.min(shown, roundUp(oldSize, geometry.clusterSize));
}

/** Commits, then writes the new size. On failure the old size stays valid, and the next commit writes it. */
function storeSize(image: Qcow2Image, size: GuestOffset): Promise<void> {
  const { committer, header } = image;
  return committer.exclusive(async () => {
    const before = header.size;
    header.size = size;
    try {
      await committer.writeHeader();
    } catch (error) {
      header.size = before;
      throw error;
    }
  });
}

/** Zeroes the rest of the subcluster, or compressed cluster, that the old size ends in: the file may have anything there. */
async function clearTail(image: Qcow2Image, oldSize: GuestOffset): Promise<void> {
  const { clusterSize, subclusterSize } = image.geometry;
  const lead = oldSize % clusterSize;
  if (lead === 0) return;
  let end = oldSize as number;
  await changeEntries(image, plus(oldSize, -lead), oldSize, false, (_table, _slot, { kind, data }) => {
    if (kind === Kind.compressed) end = roundUp(oldSize, clusterSize);
    else if ((data & bitsOf(Math.floor(lead / subclusterSize), 1)) !== 0) end = roundUp(oldSize, subclusterSize);
  });
  if (end === oldSize) return;
  const zeroes = image.memory.allocate(end - oldSize).fill(0);
  try {
    await writeGuest(image, [{ offset: oldSize, length: zeroes.length }], zeroes);
  } finally {
    image.memory.free(zeroes);
  }
}

/** Writes a longer L1 table to a new place; the header switches to it with the next commit, which the caller runs. */
export async function growL1(image: Qcow2Image, wanted: number): Promise<void> {
  const { geometry, header, mapping, file } = image;
  const { clusterSize } = geometry;
  const clusters = Math.ceil((wanted * 8) / clusterSize);
  const stop = file.raise('l1_grow_alloc_table');
  if (stop !== undefined) await stop;
  const run = await image.allocation.allocateContiguous(clusters);
  const offset = hostOf(run, geometry);
  const length = clusters * clusterSize;
  try {
    await file.ensureLength(offset + length);
    file.takeFresh(offset, offset + length);
    await image.committer.exclusive(async () => {
      const old = { offset: mapping.l1.offset, clusters: Math.ceil((mapping.l1.entries * 8) / clusterSize) };
      const grown = new PointerTable(offset, wanted);
      grown.bytes.set(mapping.l1.bytes.subarray(0, mapping.l1.entries * 8));
      // L2 tables that are not on disk yet are left out: the next commit writes them, and then the pointers to them.
      for (const table of mapping.cache.dirty) if (table.isNew) grown.set(table.index, NO_HOST, false);
      const content = new Uint8Array(length);
      content.set(grown.bytes.subarray(0, wanted * 8));
      await file.write(offset, content, 'l1_grow_write_table');
      await file.flush();
      const activates = file.raise('l1_grow_activate_table');
      if (activates !== undefined) await activates;
      const left = mapping.l1.resize(offset, wanted);
      header.l1Size = wanted;
      header.l1TableOffset = offset;
      image.metadata.setFixed('active-l1', mapping.l1, offset, wanted * 8);
      image.headerDirty = true;
      await left;
      if (old.clusters > 0) image.frees.add(clusterAt(old.offset, geometry), old.clusters, false);
    });
  } catch (error) {
    if (header.l1TableOffset !== offset) image.allocation.release(run, clusters);
    throw error;
  }
}

/** Maps the new range to clusters that read as zeroes: with `metadata`, new space of the file is not written; otherwise zeroes are written. */
async function preallocate(
  image: Qcow2Image,
  oldSize: GuestOffset,
  size: GuestOffset,
  mode: PreallocMode,
): Promise<void> {
  try {
    await preallocateAll(image, oldSize, size, mode);
  } catch (error) {
    // Otherwise the clusters would stay mapped beyond the end of the disk, until the next resize.
    await dropFrom(image, oldSize).catch(bestEffort('preallocation'));
    throw error;
  }
}

async function preallocateAll(
  image: Qcow2Image,
  oldSize: GuestOffset,
  size: GuestOffset,
  mode: PreallocMode,
): Promise<void> {
  const { clusterSize, l2Span } = image.geometry;
  const start = roundUp(oldSize, clusterSize);
  const chunk = Math.min(l2Span, roundUp(PREALLOCATE_BYTES, clusterSize));
  for (let at = start; at < size; at = plus(at, chunk)) {
    const end = Math.min(roundUp(size, clusterSize), at + chunk) as GuestOffset;
    const held = await image.locks.acquire(at, end);
    try {
      await preallocateRange(image, at, end, mode);
    } finally {
      image.locks.release(held);
    }
  }
}

async function preallocateRange(
  image: Qcow2Image,
  start: GuestOffset,
  end: GuestOffset,
  mode: PreallocMode,
): Promise<void> {
  const { clusterSize, l2Span } = image.geometry;
  for (let at = start; at < end; ) {
    const index = image.mapping.indexOf(at);
    const stop = Math.min(end, (index + 1) * l2Span);
    const table = await image.mapping.pinForWrite(index);
    try {
      if (image.data.isExternal) {
        const count = (stop - at) / clusterSize;
        // The file has grown by zeroes, which decrypt to anything else; it ends with the disk.
        const inside = Math.min(stop, image.data.length) - at;
        if (image.data.isEncrypted && !image.geometry.extendedL2)
          await image.data.writeZeroes(at as number as HostOffset, at, inside);
        preallocateEntries(image, table, (at % l2Span) / clusterSize, count, at as number as HostOffset);
        at = plus(at, count * clusterSize);
        continue;
      }
      const run = await image.allocation.allocateRun((stop - at) / clusterSize);
      const host = hostOf(run.cluster, image.geometry);
      const length = run.count * clusterSize;
      try {
        const fresh = await image.data.makeRoom(host, length);
        if (mode !== 'metadata' || !fresh) {
          const stop = image.data.raise('cluster_alloc_space');
          if (stop !== undefined) await stop;
          await image.data.writeZeroes(host, at, length);
        }
      } catch (error) {
        image.allocation.release(run.cluster, run.count);
        throw error;
      }
      preallocateEntries(image, table, (at % l2Span) / clusterSize, run.count, host);
      at = plus(at, length);
    } finally {
      table.pins--;
    }
  }
}

/** Gives `count` slots, which have no host clusters, those from `host` on. Subclusters that read as zeroes (`grow` hides the backing file so) go on to. */
function preallocateEntries(image: Qcow2Image, table: Table, slot: number, count: number, host: HostOffset): void {
  const { mapping, geometry } = image;
  if (!geometry.extendedL2) {
    mapping.setNormalRun(table, slot, count, host);
    return;
  }
  for (let i = 0; i < count; i++) {
    const { zeroes } = mapping.codec.decode(table.view, slot + i);
    const at = plus(host, i * geometry.clusterSize);
    mapping.setSubclusters(table, slot + i, { host: at, copied: true, data: 0, zeroes });
  }
}
