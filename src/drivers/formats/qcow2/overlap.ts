// Where the image's own metadata lies, so that nothing is written over it (QEMU's overlap checks `constant` and `cached`: header, L1
// table, refcount table, L2 tables and refcount blocks).

import type { OverlapKind } from './options.js';
import type { Geometry } from './types.js';

/** What lies anywhere, one cluster each. */
export type ScatteredKind = 'active-l2' | 'refcount-block';

/** Clusters of metadata: those found at open in a sorted array, changes since in sets. */
export class MetadataClusters {
  readonly #clusterSize: number;
  #sorted = new Float64Array(0);
  readonly #added = new Set<number>();
  readonly #removed = new Set<number>();
  /** Contiguous tables: header, L1, refcount table. */
  #fixed: { name: OverlapKind; start: number; end: number }[] = [];
  readonly #kinds: ReadonlySet<OverlapKind>;
  /** L2 tables and refcount blocks, as far as they are checked, are looked at together. */
  readonly #checksClusters: boolean;

  constructor(geometry: Geometry, kinds: ReadonlySet<OverlapKind>) {
    this.#clusterSize = geometry.clusterSize;
    this.#kinds = kinds;
    this.#checksClusters = kinds.has('active-l2') || kinds.has('refcount-block');
  }

  /** Names a contiguous table, or moves it. Bytes. */
  setFixed(name: OverlapKind, start: number, length: number): void {
    this.#fixed = this.#fixed.filter((range) => range.name !== name);
    if (length > 0 && this.#kinds.has(name)) this.#fixed.push({ name, start, end: start + length });
  }

  /** Are these clusters looked at? What is said of others is nothing to this. */
  checks(kind: ScatteredKind): boolean {
    return this.#kinds.has(kind);
  }

  /** Takes the host offsets of all L2 tables and refcount blocks that are checked. */
  setAll(offsets: Float64Array<ArrayBuffer>): void {
    this.#sorted = offsets.sort();
    this.#added.clear();
    this.#removed.clear();
  }

  add(kind: ScatteredKind, offset: number): void {
    if (!this.#kinds.has(kind)) return;
    if (!this.#removed.delete(offset)) this.#added.add(offset);
  }

  remove(kind: ScatteredKind, offset: number): void {
    if (!this.#kinds.has(kind)) return;
    if (!this.#added.delete(offset)) this.#removed.add(offset);
  }

  /** What [start, end) would overwrite, or null. */
  overlap(start: number, end: number): string | null {
    for (const range of this.#fixed) if (range.start < end && start < range.end) return range.name;
    if (!this.#checksClusters) return null;
    const size = this.#clusterSize;
    const from = start - (start % size);
    for (let at = this.#lowerBound(from); at < this.#sorted.length && this.#sorted[at] < end; at++) {
      if (!this.#removed.has(this.#sorted[at])) return 'L2 table or refcount block';
    }
    if (this.#added.size === 0) return null;
    if ((end - from) / size > this.#added.size) {
      for (const offset of this.#added) if (offset < end && offset >= from) return 'L2 table or refcount block';
      return null;
    }
    for (let offset = from; offset < end; offset += size) {
      if (this.#added.has(offset)) return 'L2 table or refcount block';
    }
    return null;
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

/** QEMU's words for a write that would hit metadata. */
export function overlapMessage(offset: number, what: string): string {
  return `Preventing invalid write on metadata (overlaps with ${what}) at offset ${offset}`;
}
