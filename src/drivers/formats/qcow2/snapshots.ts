// Internal snapshots of an image: create, apply, delete, and show one in the image's place. What changes is worked out as a whole first (`RefcountDeltas`), and
// then switched to at once (snapshot-switch.ts).
//
//                      refcounts of what ... refers to      L1 tables                        L2 tables
//   create             the disk        +1                   the disk's is the snapshot's     those with copied flags: copies for the disk; others are shared
//                                                           now, the disk gets a copy
//   apply              the disk -1, the snapshot +1         a copy of the snapshot's         the snapshot's are shared
//   delete             the snapshot    -1                   freed                            of the disk: copies of those whose copied flags change
//
// To be called while no other request of the image is under way.

import { bestEffort } from '../../../util/best-effort.js';
import type { Run } from './allocation.js';
import { dropFrom } from './empty.js';
import type { Qcow2Image } from './image.js';
import { POINTER_BYTES, pointerCopied, pointerTarget, putPointer } from './pointer-codec.js';
import { RefcountDeltas } from './refcount-deltas.js';
import { settleDeltas, switchTables } from './snapshot-switch.js';
import { type NewSnapshot, nameOf, newSnapshot, type Snapshot } from './snapshot-table.js';
import { countReferences, readSnapshotL1, rewriteTables, settleFlags, visitRuns, walkTables } from './snapshot-walk.js';
import {
  type ClusterIndex,
  clusterAt,
  type GuestOffset,
  type HostOffset,
  l1EntriesFor,
  MAX_L1_BYTES,
  SECTOR,
} from './types.js';
import { vmStateStart } from './vm-state.js';

/** The snapshots of an image, and where their table lies. */
export interface SnapshotTable {
  list: readonly Snapshot[];
  offset: HostOffset;
  /** Bytes; 0 where there is no table. */
  bytes: number;
}

/** Keeps the disk as it is now as a snapshot. Rejects with `limit` (a refcount would overflow), `unsupported`, `corrupt-image`, `no-space`, `io`. */
export async function createSnapshot(
  image: Qcow2Image,
  fields: Omit<NewSnapshot, 'l1Offset' | 'l1Size' | 'diskSize'>,
): Promise<Snapshot> {
  checkSupported(image);
  await image.quiet();
  const { header, mapping } = image;
  const deltas = new RefcountDeltas(image);
  const l1 = activeL1(image);
  const moved: number[] = [];
  await countReferences(image, l1, deltas, 1, (index, flagged) => {
    // The snapshot gets this one, the disk a copy.
    if (flagged) moved.push(index);
    return !flagged;
  });
  await settleDeltas(image, deltas);
  for (let index = 0; index < mapping.l1.entries; index++) putPointer(l1, index, pointerTarget(l1, index), false);
  const snapshot = newSnapshot({
    ...fields,
    l1Offset: header.l1TableOffset,
    l1Size: header.l1Size,
    diskSize: header.size,
  });
  await switchTables(image, {
    deltas,
    l1: l1.byteLength > 0 ? l1 : null,
    moved,
    snapshots: [...image.snapshots.list, snapshot],
    size: header.size,
    oldTables: 'kept',
    unused: [],
  });
  await dropVmState(image).catch(bestEffort('dropping the state of the machine'));
  return snapshot;
}

/** Makes the disk what it was at `snapshot`, its size included. Rejects as `createSnapshot`. */
export async function applySnapshot(image: Qcow2Image, snapshot: Snapshot): Promise<void> {
  checkDiskSize(image, snapshot);
  checkSupported(image);
  await image.quiet();
  const { geometry } = image;
  const old = activeL1(image);
  const source = await readSnapshotL1(image, snapshot);
  const deltas = new RefcountDeltas(image);
  const flagged: number[] = [];
  await countReferences(image, old, deltas, -1);
  await countReferences(image, source, deltas, 1, (index, hasFlags) => {
    if (hasFlags) flagged.push(index);
    return true;
  });
  await settleDeltas(image, deltas, true);
  // One at least, so that the disk gets another table in any case.
  const entries = Math.max(1, snapshot.l1Size, l1EntriesFor(geometry, snapshot.diskSize));
  const l1 = new DataView(new ArrayBuffer(entries * POINTER_BYTES));
  for (let index = 0; index < snapshot.l1Size; index++) putPointer(l1, index, pointerTarget(source, index), false);
  await clearFlags(image, source, flagged);
  await switchTables(image, {
    deltas,
    l1,
    moved: [],
    snapshots: image.snapshots.list,
    size: snapshot.diskSize,
    oldTables: 'unused',
    unused: [],
  });
}

/** Removes `snapshot`; what it alone refers to is free afterwards. Rejects as `createSnapshot`. */
export async function deleteSnapshot(image: Qcow2Image, snapshot: Snapshot): Promise<void> {
  checkSupported(image);
  await image.quiet();
  const deltas = new RefcountDeltas(image);
  await countReferences(image, await readSnapshotL1(image, snapshot), deltas, -1);
  const unused = runsOf(image, snapshot.l1Offset, snapshot.l1Size);
  const snapshots = image.snapshots.list.filter((other) => other !== snapshot);
  await dropReferences(image, deltas, snapshots, unused, (first, count) => {
    if (!unused.some((run) => run.cluster < first + count && first < run.cluster + run.count)) return;
    const message = `Snapshot L1 table overlaps with data of the disk (${nameOf(snapshot)})`;
    throw image.error('corrupt-image', message, 'snapshot', snapshot.l1Offset);
  });
}

/**
 * Lowers refcounts by `deltas`, for references that `snapshots` do not have any more, and sets the disk's copied flags by that. `unused`: clusters of their tables.
 * `visit` is called with all that the disk refers to: it may throw. The image is quiet. Rejects as `createSnapshot`.
 */
export async function dropReferences(
  image: Qcow2Image,
  deltas: RefcountDeltas,
  snapshots: readonly Snapshot[],
  unused: readonly Run[],
  visit: (first: ClusterIndex, clusters: number) => void,
): Promise<void> {
  await settleDeltas(image, deltas);
  const l1 = activeL1(image);
  const moved = await tablesWithOtherFlags(image, l1, deltas, visit);
  const changes = setPointerFlags(image, l1, deltas, new Set(moved)) || moved.length > 0;
  await switchTables(image, {
    deltas,
    l1: changes ? l1 : null,
    moved,
    snapshots,
    size: image.header.size,
    oldTables: 'unused',
    unused,
  });
}

/**
 * Shows `snapshot` in place of the disk, with its own size, which is returned. For an image that is read-only, before its first request. Rejects with
 * `corrupt-image`, `io`.
 */
export async function showSnapshot(image: Qcow2Image, snapshot: Snapshot): Promise<number> {
  checkDiskSize(image, snapshot);
  const { geometry, mapping } = image;
  const source = await readSnapshotL1(image, snapshot);
  const entries = Math.max(snapshot.l1Size, l1EntriesFor(geometry, snapshot.diskSize));
  const content = new Uint8Array(entries * POINTER_BYTES);
  content.set(new Uint8Array(source.buffer));
  mapping.cache.clear();
  mapping.l1.replace(snapshot.l1Offset, content, entries);
  return snapshot.diskSize;
}

/** Throws `unsupported`: content in another file has no refcounts. */
export function checkSupported(image: Qcow2Image): void {
  if (!image.data.isExternal) return;
  throw image.error('unsupported', 'Internal snapshots are not supported with an external data file', 'snapshot');
}

/** A copy of the L1 table of the disk. */
function activeL1({ mapping: { l1 } }: Qcow2Image): DataView<ArrayBuffer> {
  return new DataView(l1.bytes.slice(0, l1.entries * POINTER_BYTES).buffer as ArrayBuffer);
}

/** Clears the copied flags in L2 tables of a snapshot, where they mean nothing, before the disk shares these tables. */
async function clearFlags(image: Qcow2Image, l1: DataView, indexes: readonly number[]): Promise<void> {
  const { codec } = image.mapping;
  const places = indexes.map((index) => pointerTarget(l1, index));
  await rewriteTables(image, l1, indexes, places, (table) => {
    visitRuns(image, table, ({ slot, count, copied }) => {
      if (copied === true) codec.putCopiedRun(table.view, slot, count, false);
    });
  });
}

/** Indexes of the disk's L2 tables in which a copied flag will change. `visit` is called with all that the disk refers to: it may throw. */
async function tablesWithOtherFlags(
  image: Qcow2Image,
  l1: DataView,
  deltas: RefcountDeltas,
  visit: (first: ClusterIndex, clusters: number) => void,
): Promise<number[]> {
  const found: number[] = [];
  await walkTables(image, l1, (table) => {
    visit(clusterAt(table.offset, image.geometry), 1);
    visitRuns(image, table, ({ first, clusters }) => visit(first, clusters));
    if (settleFlags(image, table, deltas)) found.push(table.index);
  });
  return found;
}

/** Sets the flags of the L1 entries as the refcounts will be, but for tables that move. True where one changes. */
function setPointerFlags(image: Qcow2Image, l1: DataView, deltas: RefcountDeltas, moved: ReadonlySet<number>): boolean {
  let changes = false;
  for (let index = 0; index < l1.byteLength / POINTER_BYTES; index++) {
    const target = pointerTarget(l1, index);
    if (target === 0 || moved.has(index)) continue;
    const copied = pointerCopied(l1, index);
    const after = deltas.copiedAfter(clusterAt(target, image.geometry), copied);
    if (after === copied) continue;
    putPointer(l1, index, target, after);
    changes = true;
  }
  return changes;
}

/** The clusters of an L1 table. */
function runsOf({ geometry }: Qcow2Image, offset: HostOffset, entries: number): Run[] {
  const count = Math.ceil((entries * POINTER_BYTES) / geometry.clusterSize);
  return count === 0 ? [] : [{ cluster: clusterAt(offset, geometry), count }];
}

/** The snapshot has the machine's state now; for the disk it would only cost copies. */
async function dropVmState(image: Qcow2Image): Promise<void> {
  const { mapping, geometry, header } = image;
  const start = vmStateStart(geometry, header.size as GuestOffset);
  for (let index = mapping.indexOf(start); index < mapping.l1.entries; index++) {
    if (mapping.l1.target(index) === 0) continue;
    await dropFrom(image, start);
    return;
  }
}

function checkDiskSize(image: Qcow2Image, { diskSize, name, id }: Snapshot): void {
  const sound = Number.isSafeInteger(diskSize) && diskSize % SECTOR === 0;
  if (sound && l1EntriesFor(image.geometry, diskSize) * POINTER_BYTES <= MAX_L1_BYTES) return;
  throw image.error('corrupt-image', `The disk size is invalid (${nameOf({ id, name })})`, 'snapshot');
}
