// Repairs the table of internal snapshots. Entries cannot be changed in place, so there is a new table, in unused space:
//
//   header --> | old table |     ...     | new table |   flush, then the header's first sector points to the new one, flush
//
//   an entry that cannot be read, and those behind it     are left out: nothing says where they begin
//   too much extra data                                   is cut to the limit; fields that the version demands are added
//   an L1 table that begins nowhere (not aligned, in the header, behind the end of the file)     leaves nothing of a snapshot: it is left out
//   one that is too large, or ends behind the end of the file      is cut to what the disk and the machine's state need, where the file has that much
//   one whose clusters are used for something else, too            is copied to a new place: it may be changed then
//
// Clusters of what was left out are free once the refcounts are corrected.

import type { CheckedSnapshot, CheckState } from './check-state.js';
import { l1FaultOf } from './check-tables.js';
import { patchSnapshotTable } from './header-patch.js';
import { POINTER_BYTES } from './pointer-codec.js';
import type { RepairSpace } from './repair-space.js';
import { completed, encodeSnapshotTable, isComplete, labelOf, type Snapshot, tableBytes } from './snapshot-table.js';
import { type HostOffset, NO_HOST } from './types.js';

/** The snapshots of an image, as far as they could be read. */
export interface SnapshotsToMend {
  list: readonly Snapshot[];
  /** What could not be read is to be given up: the table is written anew in any case. */
  gaveUp: boolean;
}

/** Indexes of the snapshots whose L1 tables lie in clusters of the window that are used for something else, too. */
export function* sharedL1Tables({ tally, l1Tables, clusterBytes }: CheckState): Generator<number> {
  for (const { offset, view, snapshot } of l1Tables) {
    if (snapshot === null) continue;
    const first = offset / clusterBytes - tally.start;
    const end = (offset + view.byteLength) / clusterBytes - tally.start;
    for (let at = Math.max(0, first); at < Math.min(end, tally.size); at++) {
      if (tally.references[at] <= 1) continue;
      yield snapshot;
      break;
    }
  }
}

/**
 * Mends the snapshots, which are those of `state.layout`; `shared`: see `sharedL1Tables`. Resolves with those that are left, and changes the layout; null:
 * there was nothing to mend. Rejects with `io`, `no-space`, `limit`; the image has its old table then.
 */
export async function mendSnapshots(
  state: CheckState,
  space: RepairSpace,
  { list, gaveUp }: SnapshotsToMend,
  shared: ReadonlySet<number>,
): Promise<Snapshot[] | null> {
  const { file, layout, clusterBytes } = state;
  const mended: Snapshot[] = [];
  let changed = gaveUp;
  for (const [index, snapshot] of list.entries()) {
    // Entries lie side by side: behind zeroes there is no more of the table.
    if (isNothing(snapshot)) {
      changed = true;
      break;
    }
    let kept: Snapshot | null = mendL1(state, index, snapshot);
    if (kept !== null && !isComplete(kept, layout.version)) kept = completed(kept);
    if (kept === snapshot && shared.has(index)) kept = await moveL1(state, space, index, snapshot);
    if (kept !== snapshot) changed = true;
    if (kept !== null) mended.push(kept);
  }
  if (!changed) return null;
  let offset = NO_HOST;
  const length = tableBytes(mended);
  if (mended.length > 0) {
    offset = ((await space.take(Math.ceil(length / clusterBytes))) * clusterBytes) as HostOffset;
    await file.write(offset, encodeSnapshotTable(mended, file.filename));
    await space.settle();
  }
  await patchSnapshotTable(file, offset, mended.length);
  layout.snapshotTable = { offset, length };
  layout.snapshots = checkedSnapshots(mended, layout.version);
  return mended;
}

/** Zeroes, where an entry should be. */
function isNothing({ id, name, l1Offset, l1Size }: Snapshot): boolean {
  return id === '' && name === '' && l1Offset === 0 && l1Size === 0;
}

/** The snapshot with an L1 table that can be read; the same where it is so already, null where nothing of it can be read. */
function mendL1(state: CheckState, index: number, snapshot: Snapshot): Snapshot | null {
  if (l1FaultOf(state, index) === null) return snapshot;
  const { l1Offset, diskSize, vmStateSize } = snapshot;
  const { clusterBytes, fileLength, codec } = state;
  const span = (clusterBytes / codec.entryBytes) * clusterBytes;
  const needed = Math.ceil(diskSize / span) + Math.ceil(vmStateSize / span);
  if (l1Offset % clusterBytes !== 0 || l1Offset === 0 || needed >= snapshot.l1Size) return null;
  return l1Offset + needed * POINTER_BYTES <= fileLength ? { ...snapshot, l1Size: needed } : null;
}

/** Copies the L1 table of a snapshot; resolves with the snapshot that has the copy. */
async function moveL1(state: CheckState, space: RepairSpace, index: number, snapshot: Snapshot): Promise<Snapshot> {
  const { file, clusterBytes, l1Tables } = state;
  const { view } = l1Tables.find((l1) => l1.snapshot === index)!;
  const l1Offset = ((await space.take(Math.ceil(view.byteLength / clusterBytes))) * clusterBytes) as HostOffset;
  await file.write(l1Offset, new Uint8Array(view.buffer));
  return { ...snapshot, l1Offset };
}

/** What the check needs to know of these snapshots. */
export function checkedSnapshots(list: readonly Snapshot[], version: 2 | 3): CheckedSnapshot[] {
  return list.map((one) => ({
    offset: one.l1Offset,
    entries: one.l1Size,
    label: labelOf(one),
    complete: isComplete(one, version),
  }));
}
