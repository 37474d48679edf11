// Growth of the refcount structures. A new block is placed in the range of clusters that it has the refcounts of, including its own, but where a run of
// clusters goes on through that range: then it lies in front of the run (`Allocation.allocateContiguous`). A longer table is
// placed, with the new blocks that have its refcounts, right after the last cluster that the old table covers, since nothing there can be in use:
//
//   | ... all that the old table covers | new table | new blocks | free ...
//                                       ^ first cluster beyond the old table

import { assert } from '../../../util/assert.js';
import type { BlockError } from '../../../util/errors.js';
import type { Qcow2Image } from './image.js';
import type { OverlapKind } from './options.js';
import { overlapMessage } from './overlap.js';
import { PointerTable } from './pointer-table.js';
import { fillRefcounts } from './refcount-codec.js';
import { reserveEntry } from './table-space.js';
import {
  type ClusterIndex,
  clusterAt,
  type HostOffset,
  hostOf,
  MAX_REFCOUNT_TABLE_BYTES,
  NO_HOST,
  plus,
} from './types.js';

/** Marks the image corrupt: a cluster that the refcounts call free holds metadata (`what`). */
export function wronglyFree(image: Qcow2Image, cluster: ClusterIndex, what: OverlapKind): Promise<BlockError> {
  const start = hostOf(cluster, image.geometry);
  return image.corrupt(overlapMessage(what), start, image.geometry.clusterSize);
}

/**
 * Creates the missing block `index` at cluster `at`: a free one of its range, or one outside, which the caller has allocated. Resolves with false where
 * another allocation has created the block meanwhile. One at a time (`Refcounts.makeOne`).
 */
export async function createBlock(image: Qcow2Image, index: number, at: ClusterIndex): Promise<boolean> {
  const { file, refcounts, metadata } = image;
  const { clusterSize, refcountOrder, blockEntries } = image.geometry;
  const stop = file.raise('refblock_alloc');
  if (stop !== undefined) await stop;
  // The caller's check may be outdated, since a commit may have run in between.
  if (refcounts.blockSync(index) !== null) return false;
  const what = refcounts.metadataIn(at, 1);
  if (what !== null) throw await wronglyFree(image, at, what);
  const slot = at - index * blockEntries;
  const countsItself = refcounts.indexOf(at) === index;
  assert(countsItself || slot < 0, 'a new refcount block counts itself, or one before it does');
  const offset = hostOf(at, image.geometry);
  await file.ensureLength(offset + clusterSize);
  await file.reserve(offset, clusterSize);
  await reserveEntry(image, refcounts.table, 'refcount-table', index);
  // Checked again: meanwhile the table may have grown, with this block, or another allocation may have created it.
  if (refcounts.blockSync(index) !== null) return false;
  const block = refcounts.blocks.create(index, offset);
  image.allocation.count++;
  if (countsItself) fillRefcounts(block.bytes, refcountOrder, slot, 1, 1);
  refcounts.table.set(index, offset, false);
  metadata.add('refcount-block', offset);
  file.takeFresh(offset, offset + clusterSize);
  return true;
}

/** Grows the refcount table to have entry `index`. Runs in `Committer.exclusive`, after a commit. */
export async function growTable(image: Qcow2Image, index: number): Promise<void> {
  const { refcounts, file, header, geometry } = image;
  const { clusterSize, blockEntries } = geometry;
  const { table } = refcounts;
  const old = { offset: table.offset, entries: table.entries };
  if (index < old.entries) return;
  const grows = file.raise('reftable_grow');
  if (grows !== undefined) await grows;
  const { clusters, blockCount } = sizeOfGrown(index, old.entries, blockEntries, clusterSize);
  if (clusters * clusterSize > MAX_REFCOUNT_TABLE_BYTES) {
    throw image.error('limit', 'The refcount table cannot grow any further', 'allocate');
  }
  const start = (old.entries * blockEntries) as ClusterIndex;
  const total = clusters + blockCount;
  assert(total <= blockCount * blockEntries, 'the new refcount blocks count the new table and themselves');
  assert((old.entries + blockCount) * 8 <= clusters * clusterSize, 'the new refcount table points to the new blocks');
  const what = refcounts.metadataIn(start, total);
  if (what !== null) throw await wronglyFree(image, start, what);
  const end = (start + total) * clusterSize;
  await file.ensureLength(end);
  file.takeFresh(start * clusterSize, end);
  const blockOffset = (i: number): HostOffset => hostOf(plus(start, clusters + i), geometry);
  const grown = new PointerTable(hostOf(start, geometry), (clusters * clusterSize) / 8);
  grown.bytes.set(table.bytes.subarray(0, old.entries * 8));
  for (const block of refcounts.blocks.dirty) if (block.isNew) grown.set(block.index, NO_HOST, false);
  const content = new Uint8Array(clusterSize);
  for (let i = 0; i < blockCount; i++) {
    grown.set(old.entries + i, blockOffset(i), false);
    content.fill(0);
    fillRefcounts(content, geometry.refcountOrder, 0, Math.min(blockEntries, total - i * blockEntries), 1);
    await file.write(blockOffset(i), content, 'refblock_alloc_write_blocks');
  }
  await file.write(grown.offset, grown.bytes, 'refblock_alloc_write_table');
  await file.flush();
  const left = table.resize(grown.offset, grown.entries);
  for (let i = 0; i < blockCount; i++) {
    table.set(old.entries + i, blockOffset(i), false);
    image.metadata.add('refcount-block', blockOffset(i));
  }
  header.refcountTableOffset = grown.offset;
  header.refcountTableClusters = clusters;
  image.metadata.setFixed('refcount-table', table, grown.offset, clusters * clusterSize);
  image.headerDirty = true;
  await left;
  image.frees.add(clusterAt(old.offset, geometry), (old.entries * 8) / clusterSize, false);
  const switches = file.raise('refblock_alloc_switch_table');
  if (switches !== undefined) await switches;
  await image.committer.writeHeader();
}

/** Number of clusters of a table with at least entry `index`, at least 1.5 times as long as the old one, and of blocks for it and for themselves. */
function sizeOfGrown(
  index: number,
  oldEntries: number,
  blockEntries: number,
  clusterSize: number,
): { clusters: number; blockCount: number } {
  let clusters = Math.ceil((Math.max(index + 1, oldEntries * 1.5) * 8) / clusterSize);
  let blockCount = 1;
  for (;;) {
    blockCount = Math.ceil((clusters + blockCount) / blockEntries);
    const needed = Math.ceil(((oldEntries + blockCount) * 8) / clusterSize);
    if (Math.ceil((clusters + blockCount) / blockEntries) <= blockCount && needed <= clusters) break;
    clusters = Math.max(clusters, needed);
  }
  return { clusters, blockCount };
}
