// The index of an image's own metadata, so that nothing else is written over it (QEMU's overlap checks).
//
//   contiguous tables   header, L1 tables, refcount table, snapshot table, bitmap directory   each has an owner, which may move it
//   single clusters     L2 tables, refcount blocks, L2 tables of snapshots alone              many: one set of host offsets for each kind
//
// There may be several L1 tables, and they may point to the same L2 tables: a set counts the pointers to each cluster, so that a cluster is metadata until
// the last pointer is removed. Every write that is done in place is checked: one binary search for each set.

import type { OverlapKind } from './options.js';
import type { Geometry, HostOffset } from './types.js';

/** Metadata of single clusters, anywhere in the file. */
export type ScatteredKind = 'active-l2' | 'refcount-block' | 'inactive-l2';

const SCATTERED_KINDS: readonly ScatteredKind[] = ['active-l2', 'refcount-block', 'inactive-l2'];

/** What messages call each kind. */
const NAMES: Readonly<Record<OverlapKind, string>> = {
  'main-header': 'qcow2_header',
  'active-l1': 'active L1 table',
  'active-l2': 'active L2 table',
  'refcount-table': 'refcount table',
  'refcount-block': 'refcount block',
  'snapshot-table': 'snapshot table',
  'inactive-l1': 'inactive L1 table',
  'inactive-l2': 'inactive L2 table',
  'bitmap-directory': 'bitmap directory',
};

/** A contiguous table. */
interface FixedRange {
  kind: OverlapKind;
  start: number;
  end: number;
}

export class MetadataIndex {
  readonly #kinds: ReadonlySet<OverlapKind>;
  readonly #fixed = new Map<object, FixedRange>();
  /** The same by their start, with the largest end up to each; null where they have changed. */
  #byStart: { ranges: readonly FixedRange[]; ends: readonly number[] } | null = null;
  /** One set for each kind that is checked. */
  readonly #scattered: readonly { kind: ScatteredKind; clusters: ClusterSet }[];
  readonly #clusterSize: number;

  constructor(geometry: Pick<Geometry, 'clusterSize'>, kinds: ReadonlySet<OverlapKind>) {
    this.#kinds = kinds;
    this.#clusterSize = geometry.clusterSize;
    this.#scattered = SCATTERED_KINDS.filter((kind) => kinds.has(kind)).map((kind) => ({
      kind,
      clusters: new ClusterSet(geometry.clusterSize),
    }));
  }

  /** An index of the same kinds, with nothing in it. */
  empty(): MetadataIndex {
    return new MetadataIndex({ clusterSize: this.#clusterSize }, this.#kinds);
  }

  /** Notes that the table of `owner` is at `start`, with `length` bytes, from now on, and not at its old place any more. */
  setFixed(kind: OverlapKind, owner: object, start: HostOffset, length: number): void {
    this.#byStart = null;
    if (length > 0 && this.#kinds.has(kind)) this.#fixed.set(owner, { kind, start, end: start + length });
    else this.#fixed.delete(owner);
  }

  /** Whether this kind of metadata is checked. Changes of other kinds need not be noted. */
  checks(kind: OverlapKind): boolean {
    return this.#kinds.has(kind);
  }

  /** Whether these kinds are checked, and no others. */
  checksJust(kinds: ReadonlySet<OverlapKind>): boolean {
    return kinds.size === this.#kinds.size && [...kinds].every((kind) => this.#kinds.has(kind));
  }

  /** Replaces the set of this kind by `offsets`, the host offsets in all pointers to its clusters. */
  setAll(kind: ScatteredKind, offsets: Float64Array<ArrayBuffer>): void {
    this.#setOf(kind)?.setAll(offsets);
  }

  /** Adds one pointer to the cluster at `offset`. */
  add(kind: ScatteredKind, offset: HostOffset): void {
    this.#setOf(kind)?.add(offset);
  }

  /** Removes one pointer to the cluster at `offset`. */
  remove(kind: ScatteredKind, offset: HostOffset): void {
    this.#setOf(kind)?.remove(offset);
  }

  #sorted(): { ranges: readonly FixedRange[]; ends: readonly number[] } {
    if (this.#byStart !== null) return this.#byStart;
    const ranges = [...this.#fixed.values()].sort((a, b) => a.start - b.start);
    let most = 0;
    const ends = ranges.map(({ end }) => {
      most = Math.max(most, end);
      return most;
    });
    this.#byStart = { ranges, ends };
    return this.#byStart;
  }

  #setOf(kind: ScatteredKind): ClusterSet | undefined {
    return this.#scattered.find((scattered) => scattered.kind === kind)?.clusters;
  }

  /** The kind of metadata that a write of [start, end) would overwrite, or null. For a write of a table itself, its own kind is `ignored`. */
  overlap(start: HostOffset, end: number, ignored: OverlapKind | null = null): OverlapKind | null {
    const { ranges, ends } = this.#sorted();
    // There may be one L1 table for each of 65,536 snapshots; of a damaged image, they may lie over each other.
    for (let at = firstFrom(ranges, end) - 1; at >= 0 && ends[at] > start; at--) {
      const range = ranges[at];
      if (start < range.end && range.kind !== ignored) return range.kind;
    }
    const from = start - (start % this.#clusterSize);
    for (const { kind, clusters } of this.#scattered) {
      if (kind !== ignored && clusters.overlaps(from, end)) return kind;
    }
    return null;
  }
}

/** Index of the first range that begins at `offset` or behind it. */
function firstFrom(ranges: readonly FixedRange[], offset: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle].start < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Host offsets of clusters, with the number of pointers to each: those found at open in a sorted array, changes since in maps. */
class ClusterSet {
  readonly #clusterSize: number;
  /** An offset occurs once for each pointer. */
  #sorted = new Float64Array(0);
  readonly #added = new Map<number, number>();
  readonly #removed = new Map<number, number>();

  constructor(clusterSize: number) {
    this.#clusterSize = clusterSize;
  }

  setAll(offsets: Float64Array<ArrayBuffer>): void {
    this.#sorted = offsets.sort();
    this.#added.clear();
    this.#removed.clear();
  }

  add(offset: number): void {
    if (!takeOne(this.#removed, offset)) addOne(this.#added, offset);
  }

  remove(offset: number): void {
    if (!takeOne(this.#added, offset)) addOne(this.#removed, offset);
  }

  /** True where a cluster of the set is in [from, end); `from` is the start of a cluster. */
  overlaps(from: number, end: number): boolean {
    const sorted = this.#sorted;
    for (let at = this.#lowerBound(from); at < sorted.length && sorted[at] < end; ) {
      const offset = sorted[at];
      let left = -(this.#removed.get(offset) ?? 0);
      for (; at < sorted.length && sorted[at] === offset; at++) left++;
      if (left > 0) return true;
    }
    if (this.#added.size === 0) return false;
    if ((end - from) / this.#clusterSize > this.#added.size) {
      for (const offset of this.#added.keys()) if (offset < end && offset >= from) return true;
      return false;
    }
    for (let offset = from; offset < end; offset += this.#clusterSize) if (this.#added.has(offset)) return true;
    return false;
  }

  #lowerBound(value: number): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sorted[middle] < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function addOne(counts: Map<number, number>, key: number): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** Subtracts one; false where the count is 0. */
function takeOne(counts: Map<number, number>, key: number): boolean {
  const count = counts.get(key);
  if (count === undefined) return false;
  if (count === 1) counts.delete(key);
  else counts.set(key, count - 1);
  return true;
}

/** The message for a write that would destroy metadata. */
export function overlapMessage(kind: OverlapKind): string {
  return `Preventing invalid write on metadata (overlaps with ${NAMES[kind]})`;
}
