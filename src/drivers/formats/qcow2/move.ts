// Places for data that the host's copy step writes (`BlockNode.prepareMove`): what a write does (write.ts), for whole clusters, in bulk.
//
//   lock the guest range, pin its L2 tables        as a write
//   look at each entry                             a cluster of its own: there; else from the run (intake.ts)
//   ... the host reads, tests and writes ...
//   publish                                        the entries of what was taken from the run, but for steps of zeroes, which keep theirs
//   release tables and range
//
// A failure before `publish` leaves the entries as they were.

import type { Located, MovePart, MovePlace } from '../../../block/types.js';
import { FROM_RUN, MOVE_SLICE_BYTES, type Moved } from '../../../host/host.js';
import { assert } from '../../../util/assert.js';
import type { Qcow2Image } from './image.js';
import type { OpenRun } from './intake.js';
import { Kind, type L2Entry } from './l2-codec.js';
import type { Table } from './table-cache.js';
import { type GuestExtent, type HostOffset, plus } from './types.js';
import { freeOld, pinTables } from './write.js';

/** See `BlockNode.prepareMove`; null also where a part of a cluster would be written. */
export async function prepareMove(
  image: Qcow2Image,
  extents: readonly GuestExtent[],
  granule: number,
): Promise<MovePlace | null> {
  const { clusterSize } = image.geometry;
  if (granule % clusterSize !== 0) return null;
  for (const { offset, length } of extents) if (offset % clusterSize !== 0 || length % clusterSize !== 0) return null;
  const last = extents[extents.length - 1];
  const held = await image.locks.acquire(extents[0].offset, plus(last.offset, last.length));
  const tables: Table[] = [];
  let place: MovePlace | null = null;
  const release = (): void => {
    for (const table of tables) table.pins--;
    image.locks.release(held);
  };
  try {
    image.checkUsable();
    await pinTables(image, extents, tables);
    place = await findPlace(image, extents, tables, granule, release);
  } finally {
    if (place === null) release();
  }
  return place;
}

async function findPlace(
  image: Qcow2Image,
  extents: readonly GuestExtent[],
  tables: readonly Table[],
  granule: number,
  release: () => void,
): Promise<MovePlace | null> {
  const parts = partsOf(image, extents, tables);
  if (parts === null) return null;
  const fromRun = parts.reduce((sum, { length, to }) => (to === FROM_RUN ? sum + length : sum), 0);
  const slice = Math.max(MOVE_SLICE_BYTES, granule, image.geometry.clusterSize);
  const run = fromRun === 0 ? null : await image.intake.enter(fromRun);
  if (run === null && fromRun > 0) return null;
  const into: Located = { file: null, offset: 0, guard: null };
  const located = locateParts(image, parts, run, into);
  if (located === null) {
    if (run !== null) image.intake.leave(run, fromRun, null);
    return null;
  }
  // What is written in place may be unmapped by nobody meanwhile; and the guard notes that the file is to be flushed.
  const guard = image.reclamation.guardWrite();
  return {
    file: into.file!,
    parts: located,
    run: run?.cursor ?? null,
    slice,
    done: (moved) => {
      try {
        if (moved !== null && moved.fault === null) publish(image, extents, tables, parts, granule, moved, slice);
      } finally {
        guard.release();
        if (run !== null) image.intake.leave(run, fromRun, moved);
        release();
      }
    },
  };
}

/** Where each part is to be written, by host offset; null where a plain write must do it. */
function partsOf(image: Qcow2Image, extents: readonly GuestExtent[], tables: readonly Table[]): MovePart[] | null {
  const { mapping, metadata } = image;
  const { clusterSize } = image.geometry;
  const parts: MovePart[] = [];
  let possible = true;
  forEachCluster(image, extents, tables, (table, slot) => {
    const old = mapping.codec.decode(table.view, slot);
    let to: number = FROM_RUN;
    if (ownsPlace(old)) {
      to = old.host;
      if (metadata.overlap(old.host, plus(old.host, clusterSize)) !== null) possible = false;
      if (to + clusterSize > image.data.length) possible = false;
    }
    if (old.kind === Kind.bad) possible = false;
    const before = parts.at(-1);
    if (before !== undefined && (before.to === FROM_RUN ? FROM_RUN : before.to + before.length) === to) {
      before.length += clusterSize;
    } else parts.push({ length: clusterSize, to });
  });
  return possible ? parts : null;
}

/** Calls `visit` with the table and the slot of each cluster of `extents`; `done`: bytes of the clusters before it. */
function forEachCluster(
  { mapping, geometry: { clusterSize, l2Entries } }: Qcow2Image,
  extents: readonly GuestExtent[],
  tables: readonly Table[],
  visit: (table: Table, slot: number, done: number) => void,
): void {
  let tableAt = 0;
  let done = 0;
  for (const { offset, length } of extents) {
    for (let at = offset; at < offset + length; at = plus(at, clusterSize), done += clusterSize) {
      const index = mapping.indexOf(at);
      while (tables[tableAt].index !== index) tableAt++;
      visit(tables[tableAt], (at / clusterSize) % l2Entries, done);
    }
  }
}

/** `parts` by offset in the host file, which `into` gets; null where what lies below the image does not say that it is there as it is. */
function locateParts(
  image: Qcow2Image,
  parts: readonly MovePart[],
  run: OpenRun | null,
  into: Located,
): MovePart[] | null {
  const located: MovePart[] = [];
  let file: Located['file'] = null;
  for (const { length, to } of parts) {
    const host = to === FROM_RUN ? run!.start : (to as HostOffset);
    const bytes = to === FROM_RUN ? run!.bound - run!.start : length;
    if (!image.data.locate(host, bytes, true, into)) return null;
    // A file within another image, or at another offset (a window of a file): a plain write finds its way.
    const plain = into.guard === null && into.offset === host && into.file?.movable === true;
    into.guard?.release();
    if (!plain || (file !== null && file !== into.file)) return null;
    file = into.file;
    located.push({ length, to });
  }
  return located;
}

/** The cluster that the entry points to belongs to it alone: it is written in place. */
function ownsPlace({ kind, copied }: L2Entry): boolean {
  return copied && (kind === Kind.normal || kind === Kind.zeroAllocated);
}

/** Points the entries of what was taken from the run to where it lies, and frees what they pointed to. */
function publish(
  image: Qcow2Image,
  extents: readonly GuestExtent[],
  tables: readonly Table[],
  parts: readonly MovePart[],
  granule: number,
  { slices, map }: Moved,
  sliceBytes: number,
): void {
  const { mapping } = image;
  const { clusterSize } = image.geometry;
  const used = new Float64Array(slices.length);
  let partAt = 0;
  let partEnd = parts[0].length;
  forEachCluster(image, extents, tables, (table, slot, done) => {
    while (done >= partEnd) partEnd += parts[++partAt].length;
    if (granule > 0 && map[Math.floor(done / granule)] === 1) return;
    const old = mapping.codec.decode(table.view, slot);
    if (parts[partAt].to !== FROM_RUN) {
      assert(ownsPlace(old), 'an L2 entry stays as it is while its range is locked');
      if (old.kind === Kind.zeroAllocated) mapping.setNormal(table, slot, old.host);
      return;
    }
    const slice = Math.floor(done / sliceBytes);
    mapping.setNormal(table, slot, (slices[slice].start + used[slice]) as HostOffset);
    freeOld(image, old, image.discards.other);
    used[slice] += clusterSize;
  });
  const whole = slices.every(({ taken }, slice) => taken === used[slice]);
  assert(whole, 'a slice takes as many clusters from the run as it has steps with data');
}
