// Another width of the refcounts. The new structure is written beside the old one, and one sector, the header's first, switches:
//
//   | header | ... all that is in use, the old table and blocks among it ... | new table | new blocks |
//
//   1  the place of the new structure is allocated: the old refcounts count it            power loss: leaked clusters
//   2  the new blocks and table are written, and flushed. They count all that the old ones count, but the old structure itself
//   3  the header switches: table, its length, width                                      before: as above; after: the old structure is free
//
// The image in memory still has the old structure then: it must be opened again.

import type { AmendProgress } from '../../../block/abilities.js';
import type { Qcow2Image } from './image.js';
import { putPointer } from './pointer-codec.js';
import { getRefcount, setRefcount } from './refcount-codec.js';
import type { Table } from './table-cache.js';
import {
  type ClusterIndex,
  clusterAt,
  type Geometry,
  hostOf,
  MAX_REFCOUNT_TABLE_BYTES,
  makeGeometry,
  plus,
} from './types.js';

/** Rejects with `invalid-argument` where a refcount is too large for `bits`, with `corrupt-image`, and with `io`. */
export async function checkRefcountsFit(image: Qcow2Image, bits: number): Promise<void> {
  if (bits >= image.geometry.refcountBits) return;
  const most = 2 ** bits - 1;
  const { clusterSize } = image.geometry;
  await visitRefcounts(image, (cluster, value) => {
    if (value <= most) return;
    const at = `Cluster at offset 0x${(cluster * clusterSize).toString(16)} has a refcount of ${value}`;
    const message = `Cannot decrease refcount entry width to ${bits} bits: ${at}`;
    throw image.error('invalid-argument', message, 'amend', cluster * clusterSize);
  });
}

/** Calls `visit` with each cluster whose refcount is not 0, ascending. Called inside a commit, or where nobody else uses the image. */
async function visitRefcounts(image: Qcow2Image, visit: (cluster: number, value: number) => void): Promise<void> {
  const { refcounts, geometry } = image;
  const { blockEntries, refcountOrder } = geometry;
  for (let index = 0; index < refcounts.table.entries; index++) {
    const block = await blockAt(image, index);
    if (block === null) continue;
    for (let slot = 0; slot < blockEntries; slot++) {
      const value = getRefcount(block.view, refcountOrder, slot);
      if (value !== 0) visit(index * blockEntries + slot, value);
    }
  }
}

async function blockAt({ refcounts }: Qcow2Image, index: number): Promise<Table | null> {
  let block = refcounts.blockSync(index);
  while (block === undefined) {
    await refcounts.loadBlock(index, false);
    block = refcounts.blockSync(index);
  }
  return block;
}

/** Sizes of a structure for clusters [0, end), in clusters. */
function sizesFor(geometry: Geometry, end: number): { tableClusters: number; blocks: number; total: number } {
  const blocks = Math.ceil(end / geometry.blockEntries);
  const tableClusters = Math.max(1, Math.ceil((blocks * 8) / geometry.clusterSize));
  return { tableClusters, blocks, total: tableClusters + blocks };
}

/**
 * Changes the width to `bits`, which `checkRefcountsFit` found to do. Nobody uses the image meanwhile; it must be opened again afterwards, also where this
 * rejects: with `no-space`, `limit`, `io`.
 */
export async function changeRefcountWidth(image: Qcow2Image, bits: number, progress: AmendProgress): Promise<void> {
  const { allocation, committer, file, refcounts } = image;
  const { clusterSize } = image.geometry;
  const wide = makeGeometry(3, image.geometry.clusterBits, Math.log2(bits));
  for (;;) {
    const total = roomFor(image, wide, await refcounts.endOfUse());
    const start = await allocation.allocateContiguous(total);
    // The old structure may have grown by more than was expected, or elsewhere.
    const sizes = sizesFor(wide, await refcounts.endOfUse());
    if (sizes.tableClusters * clusterSize > MAX_REFCOUNT_TABLE_BYTES) {
      allocation.release(start, total);
      throw image.error('limit', 'The image is too large for refcounts of this width', 'amend');
    }
    if (sizes.total <= total) {
      try {
        await file.ensureLength((start + total) * clusterSize);
        file.takeFresh(start * clusterSize, (start + total) * clusterSize);
        await committer.exclusive(() => switchStructure(image, wide, { ...sizes, start, allocated: total }, progress));
      } catch (error) {
        if (image.header.refcountTableOffset !== hostOf(start, wide)) allocation.release(start, total);
        throw error;
      }
      return;
    }
    allocation.release(start, total);
  }
}

/**
 * Clusters for the new structure where it is allocated from cluster `end` on. It counts itself, and what the old one grows by to count it: a smaller place would
 * be too small wherever it is, as with small clusters and wide refcounts each one takes a good part of the next.
 */
function roomFor({ geometry, refcounts }: Qcow2Image, wide: Geometry, end: number): number {
  const { blockEntries, clusterSize } = geometry;
  // The old table may need another place, twice as long.
  const table = 2 * Math.ceil((refcounts.table.entries * 8) / clusterSize);
  for (let total = 0; ; ) {
    const blocks = Math.ceil(total / blockEntries) + 1;
    const needed = sizesFor(wide, end + total + blocks + table).total;
    if (needed <= total) return total;
    total = needed;
  }
}

interface Place {
  start: ClusterIndex;
  tableClusters: number;
  blocks: number;
  total: number;
  /** Clusters that were allocated for it: more than `total`, it may be. */
  allocated: number;
}

/** Steps 2 and 3. */
async function switchStructure(
  image: Qcow2Image,
  wide: Geometry,
  place: Place,
  progress: AmendProgress,
): Promise<void> {
  const { committer, file, header } = image;
  const { clusterSize, blockEntries, refcountOrder } = wide;
  const { start, tableClusters, blocks, total, allocated } = place;
  const freed = oldStructure(image);
  const isFreed = (cluster: number): boolean =>
    freed.has(cluster) || (cluster >= start + total && cluster < start + allocated);
  const table = new Uint8Array(tableClusters * clusterSize);
  const view = new DataView(table.buffer);
  const block = new Uint8Array(clusterSize);
  const blockView = new DataView(block.buffer);
  let current = 0;
  let isUsed = false;
  const store = async (): Promise<void> => {
    progress(current, blocks);
    const offset = hostOf(plus(start, tableClusters + current), wide);
    putPointer(view, current, offset, false);
    await file.write(offset, block, 'refblock_alloc_write_blocks');
    block.fill(0);
    isUsed = false;
    current++;
  };
  const { blockEntries: oldEntries, refcountOrder: oldOrder } = image.geometry;
  for (let index = 0; index < image.refcounts.table.entries; index++) {
    const old = await blockAt(image, index);
    if (old === null) continue;
    for (let slot = 0; slot < oldEntries; slot++) {
      const value = getRefcount(old.view, oldOrder, slot);
      if (value === 0) continue;
      const cluster = index * oldEntries + slot;
      while (cluster >= (current + 1) * blockEntries) await store();
      setRefcount(blockView, refcountOrder, cluster - current * blockEntries, isFreed(cluster) ? value - 1 : value);
      isUsed = true;
    }
  }
  while (current < blocks) await store();
  if (isUsed) throw image.error('internal', 'a refcount lies behind the new blocks', 'amend');
  await file.write(hostOf(start, wide), table, 'refblock_alloc_write_table');
  await file.flush();
  header.refcountTableOffset = hostOf(start, wide);
  header.refcountTableClusters = tableClusters;
  header.refcountOrder = refcountOrder;
  await committer.writeHeader();
}

/** The clusters of the present table and blocks. */
function oldStructure({ geometry, header, refcounts }: Qcow2Image): Set<number> {
  const clusters = new Set<number>();
  const first = clusterAt(header.refcountTableOffset, geometry);
  for (let i = 0; i < header.refcountTableClusters; i++) clusters.add(first + i);
  for (let index = 0; index < refcounts.table.entries; index++) {
    const target = refcounts.table.target(index);
    if (target !== 0) clusters.add(clusterAt(target, geometry));
  }
  return clusters;
}
