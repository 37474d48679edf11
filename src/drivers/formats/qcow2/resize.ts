// Changing the size of the disk, and emptying it.

import type { Preallocation } from '../../../block/types.js';
import type { Run } from './allocation.js';
import type { Qcow2Image } from './image.js';
import { Kind } from './mapping.js';
import { PointerTable } from './pointer-table.js';
import { l1EntriesFor, MAX_L1_BYTES, roundUp, SECTOR } from './types.js';
import { writeGuest } from './write.js';
import { changeEntries, unmap, zeroGuest } from './zero.js';

/** L2 tables that are let go between two commits. */
const EMPTY_BATCH_TABLES = 64;
const PREALLOCATE_BYTES = 64 << 20;

/**
 * Sets the virtual size. What is new reads as zeroes. `oldSize` is the size until now. Rejects with `invalid-argument`,
 * `unsupported`, `limit`, `no-space`, `io`.
 */
export async function resizeImage(
  image: Qcow2Image,
  oldSize: number,
  size: number,
  preallocation: Preallocation,
): Promise<void> {
  if (size % SECTOR !== 0) {
    throw image.error('invalid-argument', `The new size must be a multiple of ${SECTOR}`, 'resize');
  }
  if (size < oldSize) {
    if (preallocation !== 'off') {
      throw image.error('invalid-argument', "Preallocation can't be used for shrinking an image", 'resize');
    }
    return shrink(image, size);
  }
  if (preallocation !== 'off' && image.backing() !== null) {
    throw image.error('unsupported', 'Preallocation of an image with a backing file is not supported', 'resize');
  }
  await grow(image, oldSize, size);
  if (preallocation !== 'off') await preallocate(image, oldSize, size, preallocation);
}

async function grow(image: Qcow2Image, oldSize: number, size: number): Promise<void> {
  const { geometry, header } = image;
  const entries = l1EntriesFor(geometry, size);
  if (entries > MAX_L1_BYTES / 8) {
    throw image.error('limit', 'The image size is too large (try using a larger cluster size)', 'resize');
  }
  if (entries > header.l1Size) await growL1(image, entries);
  await clearTail(image, oldSize);
  const backing = image.backing();
  const hidden = backing === null ? 0 : Math.min(size, backing.length) - oldSize;
  if (hidden > 0) await zeroGuest(image, oldSize, roundUp(oldSize + hidden, geometry.clusterSize) - oldSize, {});
  // A commit writes the header first, which must not show what these zeroes hide.
  await image.commit();
  header.size = size;
  image.headerDirty = true;
  await image.commit();
}

/** The old size may end inside of a cluster, behind which the file may hold anything. */
async function clearTail(image: Qcow2Image, oldSize: number): Promise<void> {
  const { clusterSize } = image.geometry;
  const lead = oldSize % clusterSize;
  if (lead === 0) return;
  let holdsData = false;
  await changeEntries(image, oldSize - lead, oldSize, false, (_table, _slot, kind) => {
    holdsData = kind === Kind.normal || kind === Kind.compressed;
  });
  if (!holdsData) return;
  const zeroes = image.memory.allocate(clusterSize - lead).fill(0);
  try {
    await writeGuest(image, [{ offset: oldSize, length: zeroes.length }], zeroes);
  } finally {
    image.memory.free(zeroes);
  }
}

/** A longer L1 table in a new place; the header switches to it with the next commit, which the caller does. */
async function growL1(image: Qcow2Image, wanted: number): Promise<void> {
  const { geometry, header, mapping, file } = image;
  const { clusterSize } = geometry;
  const clusters = Math.ceil((wanted * 8) / clusterSize);
  const run = await allocateContiguous(image, clusters);
  const offset = run * clusterSize;
  const length = clusters * clusterSize;
  try {
    await file.ensureLength(offset + length);
    file.takeFresh(offset, offset + length);
    await image.committer.exclusive(async () => {
      const old = { offset: mapping.l1.offset, clusters: Math.ceil((mapping.l1.entries * 8) / clusterSize) };
      const grown = new PointerTable(offset, wanted);
      grown.bytes.set(mapping.l1.bytes.subarray(0, mapping.l1.entries * 8));
      // Tables that nothing durable points to yet come in with the next commit.
      for (const table of mapping.cache.dirty) if (table.isNew) grown.set(table.index, 0, false);
      const content = new Uint8Array(length);
      content.set(grown.bytes.subarray(0, wanted * 8));
      await file.write(offset, content);
      await file.flush();
      const left = mapping.l1.resize(offset, wanted);
      header.l1Size = wanted;
      header.l1TableOffset = offset;
      image.metadata.setFixed('active-l1', offset, wanted * 8);
      image.headerDirty = true;
      await left;
      if (old.clusters > 0) image.refcounts.pendFree(old.offset / clusterSize, old.clusters, false);
    });
  } catch (error) {
    if (header.l1TableOffset !== offset) image.refcounts.release(run, clusters);
    throw error;
  }
}

/** Exactly `count` clusters in a row. */
async function allocateContiguous(image: Qcow2Image, count: number): Promise<number> {
  const { refcounts } = image;
  if (count === 1) return (await refcounts.allocateRun(1)).cluster;
  /** Runs that were too short, held until the end so that the search does not find them again. */
  const skipped: Run[] = [];
  let found: Run | null = null;
  try {
    while (found === null || found.count < count) {
      const run = await refcounts.allocateRun(count);
      if (found !== null && found.cluster + found.count === run.cluster) {
        found.count += run.count;
      } else {
        if (found !== null) skipped.push(found);
        found = run;
      }
    }
    skipped.push({ cluster: found.cluster + count, count: found.count - count });
    return found.cluster;
  } catch (error) {
    if (found !== null) skipped.push(found);
    throw error;
  } finally {
    for (const run of skipped) refcounts.release(run.cluster, run.count);
  }
}

/** Maps all of the new range to clusters that read as zeroes: known to (`metadata`), or written so. */
async function preallocate(image: Qcow2Image, oldSize: number, size: number, mode: Preallocation): Promise<void> {
  const { clusterSize, l2Span } = image.geometry;
  const start = roundUp(oldSize, clusterSize);
  const chunk = Math.min(l2Span, roundUp(PREALLOCATE_BYTES, clusterSize));
  for (let at = start; at < size; at += chunk) {
    const end = Math.min(roundUp(size, clusterSize), at + chunk);
    const held = await image.locks.acquire(at, end);
    try {
      await preallocateRange(image, at, end, mode);
    } finally {
      image.locks.release(held);
    }
  }
  await image.commit();
}

async function preallocateRange(image: Qcow2Image, start: number, end: number, mode: Preallocation): Promise<void> {
  const { clusterSize, l2Span } = image.geometry;
  for (let at = start; at < end; ) {
    const index = image.mapping.indexOf(at);
    const stop = Math.min(end, (index + 1) * l2Span);
    const table = await image.mapping.pinForWrite(index);
    try {
      const run = await image.refcounts.allocateRun((stop - at) / clusterSize);
      const host = run.cluster * clusterSize;
      const length = run.count * clusterSize;
      try {
        await image.file.ensureLength(host + length);
        const fresh = image.file.takeFresh(host, host + length);
        if (mode !== 'metadata' || !fresh) await image.file.writeZeroes(host, length);
      } catch (error) {
        image.refcounts.release(run.cluster, run.count);
        throw error;
      }
      const slot = (at % l2Span) / clusterSize;
      for (let i = 0; i < run.count; i++) image.mapping.setEntry(table, slot + i, host + i * clusterSize);
      at += length;
    } finally {
      table.pins--;
    }
  }
}

/** The smaller size is durable first; what lay behind it is let go then. */
async function shrink(image: Qcow2Image, size: number): Promise<void> {
  const { clusterSize, l2Span } = image.geometry;
  const { mapping } = image;
  const covered = mapping.l1.entries * l2Span;
  image.header.size = size;
  image.headerDirty = true;
  await image.commit();
  const firstGone = roundUp(size, clusterSize);
  const firstTable = Math.ceil(firstGone / l2Span);
  const partEnd = Math.min(firstTable * l2Span, covered);
  if (partEnd > firstGone) {
    await changeEntries(image, firstGone, partEnd, false, (table, slot, kind) => {
      if (kind !== Kind.unallocated) unmap(image, table, slot, kind, true);
    });
  }
  await dropTables(image, firstTable);
}

/** Drops all content of the image: everything reads as the backing node does. */
export async function emptyImage(image: Qcow2Image): Promise<void> {
  await dropTables(image, 0);
}

/** Takes L2 tables from `first` on out of the L1 table, with all clusters that they point to, and makes the file shorter where it can be. */
async function dropTables(image: Qcow2Image, first: number): Promise<void> {
  const { mapping } = image;
  const { l2Span, l2Entries } = image.geometry;
  let dropped = 0;
  for (let index = first; index < mapping.l1.entries; index++) {
    if (mapping.l1.target(index) === 0) continue;
    const held = await image.locks.acquire(index * l2Span, (index + 1) * l2Span);
    try {
      image.checkUsable();
      await mapping.l1.reserve(image.file, index);
      let table = mapping.tableSync(index);
      while (table === undefined) {
        await mapping.loadTable(index);
        table = mapping.tableSync(index);
      }
      if (table === null) continue;
      for (let slot = 0; slot < l2Entries; slot++) {
        const kind = mapping.decode(table, slot);
        if (kind === Kind.bad) throw await mapping.badEntry(table, slot);
        if (kind !== Kind.unallocated) unmap(image, table, slot, kind, true);
      }
      mapping.removeTable(index);
    } finally {
      image.locks.release(held);
    }
    if (++dropped % EMPTY_BATCH_TABLES === 0) await image.commit();
  }
  await cutFile(image);
}

/** Commits, and cuts the file behind the last cluster in use, unless something is being allocated meanwhile. The refcount table stays where it is. */
function cutFile(image: Qcow2Image): Promise<void> {
  const { refcounts } = image;
  return image.committer.exclusive(async () => {
    const before = refcounts.allocations;
    const end = (await refcounts.endOfUse()) * image.geometry.clusterSize;
    if (end > 0 && refcounts.allocations === before && !refcounts.making) await image.file.cut(end);
  });
}
