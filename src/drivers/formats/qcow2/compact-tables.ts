// Moves the tables that the header, the snapshot table or the bitmap directory names: each to the lowest free run that it fits in. They go before all else, as they
// need several clusters in a row.
//
//   header --> L1 table, refcount table, snapshot table, bitmap directory      snapshot table --> L1 tables      bitmap directory --> bitmap tables
//
//   1  refcounts of the new place; the content; commit           power loss: lost space
//   2  the pointer changes by one write; flush                   power loss: the table is at either place, with the same content
//   3  the next commit frees the old place
//
// The clusters of a LUKS header stay.

import { putViewBe64 } from '../../../util/bytes.js';
import { roundUp } from '../../../util/numbers.js';
import type { DirectoryOnDisk } from './bitmap-on-disk.js';
import { addReferences } from './compact-batch.js';
import { type CompactMap, FREE, USED } from './compact-map.js';
import type { Qcow2Image } from './image.js';
import { POINTER_BYTES } from './pointer-codec.js';
import { patchSector } from './sector-patch.js';
import { tableBytes } from './snapshot-table.js';
import { type ClusterIndex, clusterAt, type HostOffset, hostOf, NO_HOST, plus } from './types.js';

/** Where table `moveTo` moves to: its content is there already. */
interface MovableTable {
  offset: HostOffset;
  /** Bytes. */
  length: number;
  /** Changes the pointer, and flushes. */
  moveTo(place: HostOffset): Promise<void>;
}

/** A table that is to move; clusters. */
export interface TableMove {
  from: number;
  to: number;
  count: number;
}

/** All such tables, in the order in which they move. */
function movableTables(image: Qcow2Image, bitmaps: DirectoryOnDisk): MovableTable[] {
  const { header, mapping, refcounts, snapshots } = image;
  const { l1, table } = { l1: mapping.l1, table: refcounts.table };
  const tables: MovableTable[] = [
    { offset: l1.offset, length: header.l1Size * POINTER_BYTES, moveTo: (place) => moveL1(image, place) },
    { offset: table.offset, length: table.entries * POINTER_BYTES, moveTo: (place) => moveRefcounts(image, place) },
    ...snapshots.list.map(({ l1Offset, l1Size }, i) => ({
      offset: l1Offset,
      length: l1Size * POINTER_BYTES,
      moveTo: (place: HostOffset) => moveSnapshotL1(image, i, place),
    })),
    { offset: snapshots.offset, length: snapshots.bytes, moveTo: (place) => moveSnapshots(image, place) },
    ...bitmaps.movable,
  ];
  return tables.filter(({ offset, length }) => offset > 0 && length > 0);
}

/**
 * What is to move so that nothing of these tables lies at cluster `limit` or behind it, as far as there are runs of free clusters. The states are as after that then. A
 * table whose place is somebody else's, too, stays.
 */
export function planTables(image: Qcow2Image, map: CompactMap, bitmaps: DirectoryOnDisk, limit: number): TableMove[] {
  const { geometry } = image;
  const { states } = map;
  const moves: TableMove[] = [];
  for (const { offset, length } of movableTables(image, bitmaps)) {
    const from = clusterAt(offset, geometry);
    const count = Math.ceil(length / geometry.clusterSize);
    if (from + count <= limit) continue;
    const to = findRun(states, count, from);
    if (to < 0) continue;
    states.fill(USED, to, to + count);
    states.fill(FREE, from, from + count);
    moves.push({ from, to, count });
  }
  return moves;
}

/** The lowest run of so many free clusters before `limit`; -1: there is none. */
function findRun(states: Uint8Array, count: number, limit: number): number {
  for (let start = states.indexOf(FREE, 1); start >= 0 && start + count <= limit; ) {
    let end = start;
    while (end < start + count && states[end] === FREE) end++;
    if (end === start + count) return start;
    start = states.indexOf(FREE, end);
  }
  return -1;
}

/** Moves a table, if it still lies there and its new place is still free. Nobody may use the image meanwhile. Resolves with the bytes that were written. Rejects with `no-space`, `io`. */
export async function moveTable(image: Qcow2Image, bitmaps: DirectoryOnDisk, move: TableMove): Promise<number> {
  await image.quiet();
  const { file, frees, geometry, memory } = image;
  const from = hostOf(move.from as ClusterIndex, geometry);
  const to = hostOf(move.to as ClusterIndex, geometry);
  const table = movableTables(image, bitmaps).find(({ offset }) => offset === from);
  const length = move.count * geometry.clusterSize;
  if (table === undefined || Math.ceil(table.length / geometry.clusterSize) !== move.count) return 0;
  if (!(await areReferenced(image, move.from, move.count, 1))) return 0;
  if (!(await areReferenced(image, move.to, move.count, 0))) return 0;
  const bytes = memory.allocate(length);
  let taken = 0;
  try {
    for (let at = move.to; at < move.to + move.count; at++) {
      await addReferences(image, at as ClusterIndex, 1, () => taken++);
    }
    await file.reserve(to, length);
    // Refcounts first: where the refcount table moves, its copy has what this commit may add to it.
    await image.commit();
    await file.read(from, bytes);
    await file.write(to, bytes);
    await file.flush();
  } catch (error) {
    if (taken > 0) image.allocation.release(move.to as ClusterIndex, taken);
    throw error;
  } finally {
    memory.free(bytes);
  }
  await table.moveTo(to);
  frees.add(move.from as ClusterIndex, move.count, true);
  return length;
}

async function areReferenced(image: Qcow2Image, from: number, count: number, wanted: number): Promise<boolean> {
  const { refcounts } = image;
  for (let cluster = from as ClusterIndex; cluster < from + count; cluster = plus(cluster, 1)) {
    if (refcounts.blockSync(refcounts.indexOf(cluster)) === null) return false;
    if ((await refcounts.get(cluster)) !== wanted) return false;
  }
  return true;
}

/** Runs a switch of the header with no commit meanwhile. Where its write fails, the next commit repeats it before all else. */
function switchHeader(image: Qcow2Image, change: () => void): Promise<void> {
  return image.committer.exclusive(async () => {
    change();
    await image.committer.writeHeader();
  });
}

function moveL1(image: Qcow2Image, place: HostOffset): Promise<void> {
  const { header, mapping, metadata } = image;
  return switchHeader(image, () => {
    const { l1 } = mapping;
    l1.replace(place, l1.bytes, l1.entries);
    header.l1TableOffset = place;
    metadata.setFixed('active-l1', l1, place, header.l1Size * POINTER_BYTES);
  });
}

function moveRefcounts(image: Qcow2Image, place: HostOffset): Promise<void> {
  const { header, metadata, refcounts } = image;
  return switchHeader(image, () => {
    const { table } = refcounts;
    table.replace(place, table.bytes, table.entries);
    header.refcountTableOffset = place;
    metadata.setFixed('refcount-table', table, place, table.entries * POINTER_BYTES);
  });
}

function moveSnapshots(image: Qcow2Image, place: HostOffset): Promise<void> {
  const { header, metadata, snapshots } = image;
  return switchHeader(image, () => {
    header.snapshotsOffset = place;
    image.snapshots = { ...snapshots, offset: place };
    metadata.setFixed('snapshot-table', snapshots, NO_HOST, 0);
    metadata.setFixed('snapshot-table', image.snapshots, place, snapshots.bytes);
  });
}

/** The first field of the snapshot's entry, which lies at a multiple of 8, and so in one sector. Where the write fails, the next commit repeats it. */
async function moveSnapshotL1(image: Qcow2Image, index: number, place: HostOffset): Promise<void> {
  const { metadata, snapshots } = image;
  const { list, offset } = snapshots;
  const at = offset + roundUp(tableBytes(list.slice(0, index)), 8);
  const moved = { ...list[index], l1Offset: place };
  image.snapshots = { ...snapshots, list: list.map((one, i) => (i === index ? moved : one)) };
  metadata.setFixed('inactive-l1', list[index], NO_HOST, 0);
  metadata.setFixed('inactive-l1', moved, place, moved.l1Size * POINTER_BYTES);
  metadata.setFixed('snapshot-table', snapshots, NO_HOST, 0);
  metadata.setFixed('snapshot-table', image.snapshots, offset, snapshots.bytes);
  await patchSector(image, at, (view) => putViewBe64(view, 0, place));
  await image.file.flush();
}
