// Refcounts of the places that a repair takes, in an image of version 2: that has no dirty bit which would tell another writer to repair it first, so nothing may point to
// a place before its refcount is on the disk. The refcount structure is sound, or was just rebuilt.
//
//   1  a refcount of one in the blocks that are there; missing blocks, and a longer refcount table, are written to places of their own, which they count, too    | flush
//   2  the refcount table points to the new blocks; or the header's first sector to the new table                                                           | flush
//
//   | everything in use | places | longer table | missing blocks |

import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import type { Run } from './allocation.js';
import type { CheckState } from './check-state.js';
import { patchRefcountTable } from './header-patch.js';
import { blockPointerTarget, POINTER_BYTES, putPointer } from './pointer-codec.js';
import { getRefcount, setRefcount } from './refcount-codec.js';
import { readPadded } from './refcount-tally.js';
import { type ClusterIndex, type HostOffset, MAX_REFCOUNT_TABLE_BYTES, SECTOR } from './types.js';

/** Where there is room: `RepairSpace`. */
export interface Room {
  /** A place for `count` clusters in one piece, with the file long enough for them. */
  place(count: number): Promise<ClusterIndex>;
  /** Nothing else gets these clusters. */
  hold(run: Run): void;
  /** Makes the file at least so long; false where its size is fixed. */
  grow(bytes: number): Promise<boolean>;
}

/** What is to be written of the refcount structure itself. */
interface Growth {
  /** Clusters, in one piece, in which the table comes first. */
  place: Run;
  /** 0: the table stays. */
  tableClusters: number;
  /** Indexes of missing blocks, ascending. */
  missing: number[];
}

/** Makes it durable that the clusters of `runs` are in use, and all that was written before. Where they are so already, nothing changes. Rejects with `limit`, `no-space`, `io`. */
export async function reserveClusters(state: CheckState, space: Room, runs: readonly Run[]): Promise<void> {
  const { file, clusterBytes } = state;
  const growth = await planGrowth(state, space, runs);
  const all = growth === null ? runs : [...runs, growth.place];
  const missing = new Set(growth?.missing);
  const bytes = new Uint8Array(clusterBytes);
  for (const index of blocksOf(state, all)) {
    const isNew = missing.has(index);
    const offset = isNew ? placeOf(state, growth!, index) : blockPointerTarget(state.refcountTable, index);
    if (isNew) bytes.fill(0);
    else await readPadded(file, offset, bytes);
    raise(state, index, bytes, all);
    await space.grow(offset + clusterBytes);
    await file.write(offset, bytes);
  }
  if (growth === null) return file.flush();
  await (growth.tableClusters > 0 ? switchTable(state, growth) : hookBlocks(state, growth));
}

/** Indexes of the blocks that count these clusters, ascending. */
function blocksOf(state: CheckState, runs: readonly Run[]): number[] {
  const perBlock = blockEntries(state);
  const found = new Set<number>();
  for (const { cluster, count } of runs) {
    for (let index = Math.floor(cluster / perBlock); index * perBlock < cluster + count; index++) found.add(index);
  }
  return [...found].sort((a, b) => a - b);
}

function blockEntries({ clusterBytes, layout }: CheckState): number {
  return (clusterBytes * 8) / 2 ** layout.refcountOrder;
}

/** The place of what the structure lacks to count `runs`, and itself; null: nothing. */
async function planGrowth(state: CheckState, space: Room, runs: readonly Run[]): Promise<Growth | null> {
  const { file, clusterBytes, refcountTable } = state;
  const entries = refcountTable.byteLength / POINTER_BYTES;
  const isMissing = (index: number): boolean => index >= entries || blockPointerTarget(refcountTable, index) === 0;
  // Another place may need fewer of them: neither number falls in spite of that, so that this comes to an end.
  let count = blocksOf(state, runs).filter(isMissing).length;
  if (count === 0) return null;
  for (;;) {
    const cluster = await space.place(count);
    const needed = blocksOf(state, [...runs, { cluster, count }]);
    const missing = needed.filter(isMissing);
    const last = needed.at(-1)!;
    const tableClusters = last < entries ? 0 : clustersOfTable(last + 1, clusterBytes);
    if (tableClusters * clusterBytes > MAX_REFCOUNT_TABLE_BYTES) {
      throw BlockError.at(file.filename, 'limit', 'The file is too large for a refcount table', {
        operation: 'repair',
      });
    }
    if (missing.length + tableClusters <= count) {
      space.hold({ cluster, count });
      return { place: { cluster, count }, tableClusters, missing };
    }
    count = missing.length + tableClusters;
  }
}

/** Clusters of a table of so many entries at least: with room for twice as many, so that it does not grow with each block, as far as a table may be so long. */
export function clustersOfTable(entries: number, clusterBytes: number): number {
  const clusters = Math.ceil((entries * POINTER_BYTES) / clusterBytes);
  return Math.max(clusters, Math.min(2 * clusters, Math.floor(MAX_REFCOUNT_TABLE_BYTES / clusterBytes)));
}

/** Where a missing block is written. */
function placeOf({ clusterBytes }: CheckState, { place, tableClusters, missing }: Growth, index: number): HostOffset {
  return ((place.cluster + tableClusters + missing.indexOf(index)) * clusterBytes) as HostOffset;
}

/** Sets the refcounts of those of `runs` that are 0 to one, in the bytes of block `index`. */
function raise(state: CheckState, index: number, bytes: Uint8Array, runs: readonly Run[]): void {
  const perBlock = blockEntries(state);
  const view = viewOf(bytes);
  const order = state.layout.refcountOrder;
  const base = index * perBlock;
  for (const { cluster, count } of runs) {
    const end = Math.min(cluster + count, base + perBlock);
    for (let at = Math.max(cluster, base); at < end; at++) {
      if (getRefcount(view, order, at - base) === 0) setRefcount(view, order, at - base, 1);
    }
  }
}

/** A table with the pointers to the missing blocks, of at least so many bytes. */
function tableWith(state: CheckState, growth: Growth, bytes: number): DataView<ArrayBuffer> {
  const { refcountTable: old } = state;
  const table = new Uint8Array(Math.max(bytes, old.byteLength));
  table.set(new Uint8Array(old.buffer, old.byteOffset, old.byteLength));
  const view = new DataView(table.buffer);
  for (const index of growth.missing) putPointer(view, index, placeOf(state, growth, index), false);
  return view;
}

/** Step 2, with another table. */
async function switchTable(state: CheckState, growth: Growth): Promise<void> {
  const { file, clusterBytes, layout } = state;
  const offset = (growth.place.cluster * clusterBytes) as HostOffset;
  const table = tableWith(state, growth, growth.tableClusters * clusterBytes);
  await file.write(offset, new Uint8Array(table.buffer));
  await file.flush();
  await patchRefcountTable(file, offset, growth.tableClusters);
  layout.refcountTableOffset = offset;
  layout.refcountTableClusters = growth.tableClusters;
  state.refcountTable = table;
}

/** Step 2, in the table that is there: each sector after those whose blocks may count the blocks of this one. */
async function hookBlocks(state: CheckState, growth: Growth): Promise<void> {
  const { file, layout } = state;
  const table = tableWith(state, growth, 0);
  await file.flush();
  const sectors = new Set(growth.missing.map((index) => Math.floor((index * POINTER_BYTES) / SECTOR)));
  for (const sector of sectors) {
    await file.write(
      layout.refcountTableOffset + sector * SECTOR,
      new Uint8Array(table.buffer, sector * SECTOR, SECTOR),
    );
    await file.flush();
  }
  state.refcountTable = table;
}
