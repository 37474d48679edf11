// Switches an image to other tables by one write of its first sector. L1 table, snapshot table, refcount table and disk size are all named there, so a change of
// snapshots is whole or not made, and at no moment do refcounts and copied flags contradict each other on disk:
//
//   before            prepared, each at a new place                                     after the switch
//   header            -                                                                  header, the same sector
//    +- snapshots     the new snapshot table                                             freed
//    +- L1            the L1 table with other pointers and flags                         freed, or the new snapshot's
//    |   +- L2        copies of those whose flags change                                 freed, or the new snapshot's
//    +- refcounts     the refcount table, with copies of the blocks that change          freed
//
//   1  allocate the places; a commit makes that durable, and all that was answered     power loss: leaks
//   2  write the tables there, flush                                                   power loss: leaks
//   3  write the first sector, flush                                                   power loss: as before, or as after
//   4  take the new tables into use in memory. The new refcounts do not count the old ones any more (snapshot-unused.ts)
//
// No request is under way meanwhile. A failure before step 3 leaves everything as it was; what was allocated is released. After one in step 3 the disk may have
// either header: memory keeps the old state, the next commit writes the old header before anything else, and only then frees what the new one names.

import { bestEffort } from '../../../util/best-effort.js';
import type { Run } from './allocation.js';
import type { Qcow2Image } from './image.js';
import type { OverlapKind } from './options.js';
import { MetadataIndex } from './overlap.js';
import { POINTER_BYTES, putPointer } from './pointer-codec.js';
import type { RefcountDeltas } from './refcount-deltas.js';
import { encodeSnapshotTable, tableBytes } from './snapshot-table.js';
import type { Target } from './snapshot-target.js';
import { lowerUnused } from './snapshot-unused.js';
import { rewriteTables, settleFlags } from './snapshot-walk.js';
import { type ClusterIndex, type HostOffset, hostOf, NO_HOST, plus } from './types.js';

/** Metadata that no snapshot may refer to. */
const IN_USE: ReadonlySet<OverlapKind> = new Set([
  'main-header',
  'active-l1',
  'refcount-table',
  'refcount-block',
  'snapshot-table',
]);

/** Places for the new tables. */
interface Places {
  l2: HostOffset[];
  l1: HostOffset;
  blocks: HostOffset[];
  refcountTable: HostOffset;
  snapshots: HostOffset;
  /** All of them. */
  runs: Run[];
}

/**
 * Reads the refcounts that `deltas` change, and refuses the change where they cannot hold it, or where it would free metadata that is in use. The L2 tables of the
 * active image are freed where `replacesAll` says that all of them are. Rejects with `limit`, `corrupt-image`, `io`.
 */
export async function settleDeltas(image: Qcow2Image, deltas: RefcountDeltas, replacesAll = false): Promise<void> {
  const { geometry } = image;
  const metadata = new MetadataIndex(geometry, replacesAll ? IN_USE : new Set([...IN_USE, 'active-l2']));
  image.fillIndex(metadata);
  const scratch = new Uint8Array(geometry.clusterSize);
  const free = (cluster: ClusterIndex): void => {
    const start = hostOf(cluster, geometry);
    const what = metadata.overlap(start, start + geometry.clusterSize);
    if (cluster > 0 && what === null) return;
    const message = `A snapshot refers to metadata (${what ?? 'main-header'}) at offset ${start}`;
    throw image.error('corrupt-image', message, 'snapshot', start);
  };
  for (const index of deltas.blocks()) {
    await copyBlock(image, index, scratch, true);
    deltas.settle(index, new DataView(scratch.buffer), free);
  }
}

/**
 * Makes the image what `target` says. Nobody may use it meanwhile. Rejects with `limit` before anything was changed, and with `no-space`, `io`.
 */
export async function switchTables(image: Qcow2Image, target: Target): Promise<void> {
  const snapshotTable = encodeSnapshotTable(target.snapshots, image.file.path);
  const blocks = target.deltas.blocks();
  const places = await allocatePlaces(image, target, blocks.length, snapshotTable.length);
  let mayBeSwitched = false;
  try {
    await image.committer.exclusive(async () => {
      const rest = lowerUnused(image, target, blocks);
      const freed = await writeTables(image, target, places, blocks, snapshotTable);
      await image.file.flush();
      mayBeSwitched = true;
      await writeHeader(image, target, places);
      takeIntoUse(image, target, places, blocks);
      for (const { cluster, count } of rest) image.frees.add(cluster, count, image.discards.snapshot);
      for (const cluster of freed) image.refcounts.onFree(cluster);
      // The change is made: whatever becomes of this.
      await image.renewIndex().catch(bestEffort('index of metadata'));
      if (image.discards.snapshot) await image.frees.discard(freed);
    });
  } catch (error) {
    for (const { cluster, count } of places.runs) {
      // The header on disk may name them: they are freed by the commit that has written the old one.
      if (mayBeSwitched) image.frees.add(cluster, count, false);
      else image.allocation.release(cluster, count);
    }
    throw error;
  }
}

/** Copies refcount block `index` to `bytes`; zeroes where there is none. */
async function copyBlock(image: Qcow2Image, index: number, bytes: Uint8Array, mayCommit: boolean): Promise<void> {
  const { refcounts } = image;
  let block = refcounts.blockSync(index);
  while (block === undefined) {
    await refcounts.loadBlock(index, mayCommit);
    block = refcounts.blockSync(index);
  }
  if (block === null) bytes.fill(0);
  else bytes.set(block.bytes);
}

// ---- places -------------------------------------------------------------------------------------------------------

async function allocatePlaces(
  image: Qcow2Image,
  { l1, moved }: Target,
  blockCount: number,
  snapshotBytes: number,
): Promise<Places> {
  const { clusterSize } = image.geometry;
  const runs: Run[] = [];
  const take = async (bytes: number): Promise<HostOffset> => {
    if (bytes === 0) return NO_HOST;
    const count = Math.ceil(bytes / clusterSize);
    runs.push({ cluster: await image.allocation.allocateContiguous(count), count });
    return prepare(image, runs[runs.length - 1]);
  };
  /** Places for `count` tables of one cluster each. */
  const takeEach = async (count: number): Promise<HostOffset[]> => {
    const offsets: HostOffset[] = [];
    while (offsets.length < count) {
      const run = await image.allocation.allocateRun(count - offsets.length);
      runs.push(run);
      const start = await prepare(image, run);
      for (let i = 0; i < run.count; i++) offsets.push(plus(start, i * clusterSize));
    }
    return offsets;
  };
  try {
    const places = {
      l2: await takeEach(moved.length),
      l1: await take(l1?.byteLength ?? 0),
      blocks: await takeEach(blockCount),
      snapshots: await take(snapshotBytes),
    };
    const refcountTable = blockCount === 0 ? NO_HOST : await takeRefcountTable(image, runs);
    return { ...places, refcountTable, runs };
  } catch (error) {
    for (const { cluster, count } of runs) image.allocation.release(cluster, count);
    throw error;
  }
}

/** A place for the refcount table, which may become longer by that. */
async function takeRefcountTable(image: Qcow2Image, runs: Run[]): Promise<HostOffset> {
  const { allocation, geometry, refcounts } = image;
  for (;;) {
    const count = Math.ceil((refcounts.table.entries * POINTER_BYTES) / geometry.clusterSize);
    const run = { cluster: await allocation.allocateContiguous(count), count };
    if (refcounts.table.entries * POINTER_BYTES <= count * geometry.clusterSize) {
      runs.push(run);
      return prepare(image, run);
    }
    allocation.release(run.cluster, count);
  }
}

/** Makes the file long enough for `run`, which was just allocated. */
async function prepare(image: Qcow2Image, { cluster, count }: Run): Promise<HostOffset> {
  const start = hostOf(cluster, image.geometry);
  const end = start + count * image.geometry.clusterSize;
  await image.file.ensureLength(end);
  image.file.takeFresh(start, end);
  return start;
}

// ---- writing ------------------------------------------------------------------------------------------------------

/** Writes all tables to their places. Resolves with the clusters that nothing will refer to, ascending. */
async function writeTables(
  image: Qcow2Image,
  target: Target,
  places: Places,
  blocks: readonly number[],
  snapshotTable: Uint8Array,
): Promise<ClusterIndex[]> {
  const freed = await writeBlocks(image, target.deltas, places, blocks);
  if (target.l1 !== null) {
    await writeMoved(image, target.deltas, target.l1, target.moved, places.l2);
    await writePadded(image, places.l1, new Uint8Array(target.l1.buffer));
  }
  await writePadded(image, places.snapshots, snapshotTable);
  return freed;
}

/** Writes a table, with zeroes up to the end of its last cluster. */
async function writePadded(image: Qcow2Image, offset: HostOffset, table: Uint8Array): Promise<void> {
  if (table.length === 0) return;
  const { clusterSize } = image.geometry;
  const bytes = new Uint8Array(Math.ceil(table.length / clusterSize) * clusterSize);
  bytes.set(table);
  await image.file.write(offset, bytes);
}

/** Writes the refcount blocks as they will be, and the refcount table that points to them. Resolves with the clusters that become free. */
async function writeBlocks(
  image: Qcow2Image,
  deltas: RefcountDeltas,
  places: Places,
  blocks: readonly number[],
): Promise<ClusterIndex[]> {
  const { file, geometry, refcounts } = image;
  const freed: ClusterIndex[] = [];
  if (blocks.length === 0) return freed;
  const bytes = new Uint8Array(geometry.clusterSize);
  const table = refcounts.table.bytes.slice(0, refcounts.table.entries * POINTER_BYTES);
  const view = new DataView(table.buffer);
  for (const [i, index] of blocks.entries()) {
    await copyBlock(image, index, bytes, false);
    deltas.settle(index, new DataView(bytes.buffer), (cluster) => freed.push(cluster));
    await file.write(places.blocks[i], bytes);
    putPointer(view, index, places.blocks[i], false);
  }
  await writePadded(image, places.refcountTable, table);
  return freed;
}

/** Writes copies of the L2 tables `moved`, with the flags that they will have, and points the new L1 table to them. */
async function writeMoved(
  image: Qcow2Image,
  deltas: RefcountDeltas,
  l1: DataView<ArrayBuffer>,
  moved: readonly number[],
  places: readonly HostOffset[],
): Promise<void> {
  await rewriteTables(image, l1, moved, places, (table) => settleFlags(image, table, deltas));
  for (const [i, index] of moved.entries()) putPointer(l1, index, places[i], true);
}

/** Writes the header. Where that fails, it is in memory as it was, and the next commit writes that. */
async function writeHeader(image: Qcow2Image, { size, snapshots, l1 }: Target, places: Places): Promise<void> {
  const { header, committer, refcounts, geometry } = image;
  const before = { ...header };
  header.size = size;
  header.nbSnapshots = snapshots.length;
  header.snapshotsOffset = places.snapshots;
  if (l1 !== null) {
    header.l1TableOffset = places.l1;
    header.l1Size = l1.byteLength / POINTER_BYTES;
  }
  if (places.refcountTable !== 0) {
    header.refcountTableOffset = places.refcountTable;
    header.refcountTableClusters = Math.ceil((refcounts.table.entries * POINTER_BYTES) / geometry.clusterSize);
  }
  try {
    await committer.writeHeader();
  } catch (error) {
    Object.assign(header, before);
    throw error;
  }
}

// ---- in memory ----------------------------------------------------------------------------------------------------

function takeIntoUse(image: Qcow2Image, { l1, snapshots }: Target, places: Places, blocks: readonly number[]): void {
  const { mapping, refcounts } = image;
  const { table } = refcounts;
  if (blocks.length > 0) {
    for (const [i, index] of blocks.entries()) {
      refcounts.blocks.drop(index);
      putPointer(table.view, index, places.blocks[i], false);
    }
    table.replace(places.refcountTable, table.bytes, table.entries);
  }
  if (l1 !== null) {
    mapping.cache.clear();
    mapping.l1.replace(places.l1, new Uint8Array(l1.buffer), l1.byteLength / POINTER_BYTES);
  }
  image.snapshots = { list: snapshots, offset: places.snapshots, bytes: tableBytes(snapshots) };
}
