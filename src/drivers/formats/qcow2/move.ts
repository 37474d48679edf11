// Places for data that the host's copy step writes (`BlockNode.prepareMove`): what a write does (write.ts), for whole clusters, in bulk.
//
//   lock the guest range, pin its L2 tables        as a write
//   look at the entries, in spans of equal ones    a cluster of its own: there; else from the run (intake.ts)
//   ... the host reads, tests and writes ...
//   publish                                        the entries of what was taken from the run, but for steps of zeroes, which keep theirs
//   release tables and range
//
// A failure before `publish` leaves the entries as they were.

import type { Located, MovePart, MovePlace } from '../../../block/types.js';
import { FROM_RUN, type Moved, moveSlice } from '../../../host/host.js';
import { assert } from '../../../util/assert.js';
import type { Qcow2Image } from './image.js';
import type { OpenRun } from './intake.js';
import { Kind, type L2Codec } from './l2-codec.js';
import type { Mapping } from './mapping.js';
import type { Table } from './table-cache.js';
import { type GuestExtent, type GuestOffset, type HostOffset, NO_HOST, plus } from './types.js';
import { freeOld, pinTables } from './write.js';

/** See `BlockNode.prepareMove`; null also where a part of a cluster would be written. */
export async function prepareMove(
  image: Qcow2Image,
  extents: readonly GuestExtent[],
  granule: number,
): Promise<MovePlace | null> {
  const { clusterSize } = image.geometry;
  if (granule % clusterSize !== 0 || moveSlice(granule, clusterSize) === 0 || image.data.isEncrypted) return null;
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
    if (image.data.isExternal) await image.data.makeRoom(last.offset as number as HostOffset, last.length);
    place = await findPlace(image, extents, tables, granule, release);
  } finally {
    if (place === null) release();
  }
  return place;
}

/** Neighbours in one L2 table that are alike. */
interface Span {
  table: Table;
  slot: number;
  /** Clusters. */
  count: number;
  /**
   * `place`: they are written where they are, one behind the other. `empty`: nothing is there. `other`: one cluster whose content is replaced by
   * one elsewhere.
   */
  kind: 'place' | 'empty' | 'other';
  /** For `place`: where the first one lies. */
  host: HostOffset;
  /** For `place`: the entries do not say yet that there is data: they have the zero flag, say. That changes when they are written. */
  zero: boolean;
}

async function findPlace(
  image: Qcow2Image,
  extents: readonly GuestExtent[],
  tables: readonly Table[],
  granule: number,
  release: () => void,
): Promise<MovePlace | null> {
  const { clusterSize } = image.geometry;
  const spans = spansOf(image, extents, tables);
  if (spans === null) return null;
  const parts = partsOf(spans, clusterSize);
  const fromRun = parts.reduce((sum, { length, to }) => (to === FROM_RUN ? sum + length : sum), 0);
  const slice = moveSlice(granule, clusterSize);
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
    target: into.file!,
    parts: located,
    run: run?.cursor ?? null,
    slice,
    done: (moved) => {
      try {
        if (moved !== null && moved.fault === null) new Publisher(image, granule, slice, moved).publish(spans);
      } finally {
        guard.release();
        try {
          if (run !== null) image.intake.leave(run, fromRun, moved);
        } finally {
          release();
        }
      }
    },
  };
}

/** What lies at the clusters of `extents`; null where a plain write must say what is wrong, or grow the file. */
function spansOf(image: Qcow2Image, extents: readonly GuestExtent[], tables: readonly Table[]): Span[] | null {
  const { mapping } = image;
  const { clusterSize, l2Entries } = image.geometry;
  const spans: Span[] = [];
  let tableAt = 0;
  for (const { offset, length } of extents) {
    let guest = offset / clusterSize;
    for (let left = length / clusterSize; left > 0; ) {
      const index = Math.floor(guest / l2Entries);
      while (tables[tableAt].index !== index) tableAt++;
      const slot = guest - index * l2Entries;
      const most = Math.min(left, l2Entries - slot);
      const span = image.data.isExternal
        ? externalSpanAt(image, tables[tableAt], slot, most)
        : spanAt(mapping, tables[tableAt], slot, most);
      if (span === null || (span.kind === 'place' && !isPlace(image, span))) return null;
      spans.push(span);
      guest += span.count;
      left -= span.count;
    }
  }
  return spans;
}

/** The span at `slot`, of `max` clusters at most; null where the entry is invalid. With subclusters, a place is one whatever of it is in use. */
function spanAt({ codec }: Mapping, table: Table, slot: number, max: number): Span | null {
  const empty = codec.emptyRun(table.view, slot, max);
  if (empty > 0) return { table, slot, count: empty, kind: 'empty', host: NO_HOST, zero: false };
  const { kind, host, copied } = codec.decode(table.view, slot);
  if (kind === Kind.bad) return null;
  const zero = kind !== Kind.normal;
  if (!copied || host === 0 || kind === Kind.compressed) {
    return { table, slot, count: 1, kind: 'other', host: NO_HOST, zero };
  }
  let count = wholeRun(codec, table.view, slot, max);
  for (let i = 1; i < count; i++) if (!codec.copied(table.view, slot + i)) count = i;
  return { table, slot, count, kind: 'place', host, zero };
}

/** Clusters from `slot` on, `max` at most, that are all of one kind, one behind the other where they have places; at least one. */
function wholeRun(codec: L2Codec, view: DataView, slot: number, max: number): number {
  const { subclusters } = codec;
  return Math.max(1, Math.floor(codec.run(view, slot * subclusters, max * subclusters) / subclusters));
}

/** The same in an external data file, where each cluster has its place already. */
function externalSpanAt({ mapping, geometry }: Qcow2Image, table: Table, slot: number, max: number): Span | null {
  const { codec } = mapping;
  const { clusterSize, l2Span } = geometry;
  const guest = (table.index * l2Span + slot * clusterSize) as GuestOffset;
  const entry = codec.decode(table.view, slot);
  if (!mapping.isValidEntry(entry, guest)) return null;
  const { kind, copied } = entry;
  let count = wholeRun(codec, table.view, slot, max);
  for (let i = 1; i < count; i++) if (codec.copied(table.view, slot + i) !== copied) count = i;
  const zero = kind !== Kind.normal || !copied;
  return { table, slot, count, kind: 'place', host: guest as number as HostOffset, zero };
}

/** Data may be written there: it lies within the file, and is no metadata. */
function isPlace({ besideContent, data, geometry }: Qcow2Image, { host, count }: Span): boolean {
  const end = plus(host, count * geometry.clusterSize);
  return end <= data.length && besideContent.overlap(host, end) === null;
}

/** Where the spans are to be written, by host offset. */
function partsOf(spans: readonly Span[], clusterSize: number): MovePart[] {
  const parts: MovePart[] = [];
  for (const { kind, host, count } of spans) {
    const to = kind === 'place' ? host : FROM_RUN;
    const length = count * clusterSize;
    const before = parts.at(-1);
    if (before !== undefined && (before.to === FROM_RUN ? FROM_RUN : before.to + before.length) === to) {
      before.length += length;
    } else parts.push({ length, to });
  }
  return parts;
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

/** Points the entries of what was written to where it lies, and frees what they pointed to. Steps of zeroes keep their entries. */
class Publisher {
  readonly #image: Qcow2Image;
  readonly #granule: number;
  readonly #slice: number;
  readonly #moved: Moved;
  /** Bytes of what each slice took from the run that have their entries. */
  readonly #used: Float64Array;

  constructor(image: Qcow2Image, granule: number, slice: number, moved: Moved) {
    this.#image = image;
    this.#granule = granule;
    this.#slice = slice;
    this.#moved = moved;
    this.#used = new Float64Array(moved.slices.length);
  }

  publish(spans: readonly Span[]): void {
    const { clusterSize } = this.#image.geometry;
    let done = 0;
    for (const span of spans) {
      const end = done + span.count * clusterSize;
      for (let at = done; at < end; ) {
        const length = this.#writtenAt(at, end);
        const slot = span.slot + (at - done) / clusterSize;
        if (length > 0) this.#set(span, slot, length / clusterSize, at);
        at = length > 0 ? at + length : Math.min(end, this.#nextStep(at));
      }
      done = end;
    }
    const used = this.#used;
    const whole = this.#moved.slices.every(({ taken }, slice) => taken === used[slice]);
    assert(whole, 'a slice takes as many clusters from the run as it has steps with data');
  }

  #nextStep(at: number): number {
    return at - (at % this.#granule) + this.#granule;
  }

  /** Bytes from `at` on, to `end` or the end of a slice at most, that were written. */
  #writtenAt(at: number, end: number): number {
    const stop = Math.min(end, at - (at % this.#slice) + this.#slice);
    if (this.#granule === 0) return stop - at;
    const { map } = this.#moved;
    let to = at;
    while (to < stop && map[Math.floor(to / this.#granule)] === 0) to = this.#nextStep(to);
    return Math.min(to, stop) - at;
  }

  #set({ table, kind, zero, host: place, slot: first }: Span, slot: number, count: number, at: number): void {
    const image = this.#image;
    const { mapping } = image;
    if (kind === 'place') {
      const host = plus(place, (slot - first) * image.geometry.clusterSize);
      if (zero) mapping.setNormalRun(table, slot, count, host);
      return;
    }
    const slice = Math.floor(at / this.#slice);
    const host = (this.#moved.slices[slice].start + this.#used[slice]) as HostOffset;
    this.#used[slice] += count * image.geometry.clusterSize;
    const old = kind === 'other' ? mapping.codec.decode(table.view, slot) : null;
    mapping.setNormalRun(table, slot, count, host);
    if (old !== null) freeOld(image, old, image.discards.other);
  }
}
