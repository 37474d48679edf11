// By how much the refcounts of clusters are to change, before any of them is: a change of snapshots is counted as a whole first, and refused where a refcount
// cannot hold its result. Kept in pages, of which there are only those with clusters that change.
//
//   cluster   0 ......... 32767 | 32768 ...... 65535 | ...
//   page      +1 +1 0 -1 ...    | -                  |        counted by the walk over the tables (snapshot-walk.ts)
//   becomes one?  n  y  - n     | -                  |        once the stored refcounts were read (`settle`)

import type { BlockError } from '../../../util/errors.js';
import { PART_ITEMS } from '../../../util/parts.js';
import type { Qcow2Image } from './image.js';
import { fillRefcounts, getRefcount, setRefcount } from './refcount-codec.js';
import type { ClusterIndex } from './types.js';

const PAGE_CLUSTERS = 32768;
/** Memory is bounded: 640 MiB for 2^27 clusters, 8 TiB with clusters of 64 KiB. */
const MAX_PAGES = 2 ** 27 / PAGE_CLUSTERS;

interface Page {
  readonly changes: Int32Array;
  /** 1: the refcount becomes one. */
  readonly ones: Uint8Array;
}

/** The copied flags of the entries that point to `count` clusters from `cluster` on are to be set afterwards, or are not. */
type FlagVisitor = (cluster: ClusterIndex, count: number, copied: boolean) => void;

export class RefcountDeltas {
  readonly #image: Qcow2Image;
  readonly #pages = new Map<number, Page>();
  #pageIndex = -1;
  #page: Page | null = null;

  constructor(image: Qcow2Image) {
    this.#image = image;
  }

  /** Counts `change` for each of `count` clusters. Throws `limit` where too many clusters would be held in memory. */
  add(cluster: ClusterIndex, count: number, change: number): void {
    const end = cluster + count;
    for (let at: number = cluster; at < end; ) {
      const index = Math.floor(at / PAGE_CLUSTERS);
      const { changes } = this.#pageIndex === index && this.#page !== null ? this.#page : this.#makePage(index);
      const from = at - index * PAGE_CLUSTERS;
      const to = Math.min(PAGE_CLUSTERS, from + end - at);
      for (let slot = from; slot < to; slot += PART_ITEMS) {
        addTo(changes, slot, Math.min(to, slot + PART_ITEMS), change);
      }
      at += to - from;
    }
  }

  #makePage(index: number): Page {
    let page = this.#pages.get(index);
    if (page === undefined) {
      if (this.#pages.size >= MAX_PAGES) {
        throw this.#image.error('limit', 'The image has too many clusters for a change of its snapshots', 'snapshot');
      }
      page = { changes: new Int32Array(PAGE_CLUSTERS), ones: new Uint8Array(PAGE_CLUSTERS) };
      this.#pages.set(index, page);
    }
    this.#pageIndex = index;
    this.#page = page;
    return page;
  }

  /** Whether the copied flag of an entry that points to `cluster`, and is `copied` now, is to be set afterwards. To be called after `settle`. */
  copiedAfter(cluster: ClusterIndex, copied: boolean): boolean {
    const page = this.#pages.get(Math.floor(cluster / PAGE_CLUSTERS));
    const at = cluster % PAGE_CLUSTERS;
    return page === undefined || page.changes[at] === 0 ? copied : page.ones[at] === 1;
  }

  /**
   * As `copiedAfter`, of `count` entries that point to contiguous clusters and are all `copied` or not: visits the runs of those whose flags will be alike,
   * `count` from `cluster` on.
   */
  visitCopied(first: ClusterIndex, count: number, copied: boolean, visit: FlagVisitor): void {
    const end = first + count;
    for (let at: number = first; at < end; ) {
      const index = Math.floor(at / PAGE_CLUSTERS);
      const page = this.#pages.get(index);
      const from = at - index * PAGE_CLUSTERS;
      const to = Math.min(PAGE_CLUSTERS, from + end - at);
      if (page === undefined) visit(at as ClusterIndex, to - from, copied);
      else visitPage(page, index * PAGE_CLUSTERS, from, to, copied, visit);
      at += to - from;
    }
  }

  /** Indexes of the refcount blocks with refcounts that change, ascending. */
  blocks(): number[] {
    const { geometry, memory } = this.#image;
    const { blockEntries } = geometry;
    const found = new Set<number>();
    for (const index of this.#ascending()) {
      const { changes } = this.#pages.get(index)!;
      if (memory.isZero(bytesOf(changes))) continue;
      for (let at = firstChange(changes, 0); at < PAGE_CLUSTERS; ) {
        const block = Math.floor((index * PAGE_CLUSTERS + at) / blockEntries);
        found.add(block);
        at = firstChange(changes, Math.min(PAGE_CLUSTERS, (block + 1) * blockEntries - index * PAGE_CLUSTERS));
      }
    }
    return [...found];
  }

  #ascending(): number[] {
    return [...this.#pages.keys()].sort((a, b) => a - b);
  }

  /**
   * Changes the refcounts of block `index` in `view`, and notes which become one; `free` is called for each cluster whose refcount becomes 0. May be called
   * again on another copy of the block. Throws `limit` where a refcount cannot hold its new value, `corrupt-image` where it is too low already.
   */
  settle(index: number, view: DataView, free?: (cluster: ClusterIndex) => void): void {
    const { blockEntries, refcountOrder, refcountMax } = this.#image.geometry;
    const start = index * blockEntries;
    const end = start + blockEntries;
    for (let at = start; at < end; ) {
      const pageIndex = Math.floor(at / PAGE_CLUSTERS);
      const from = at - pageIndex * PAGE_CLUSTERS;
      const to = Math.min(PAGE_CLUSTERS, from + end - at);
      const page = this.#pages.get(pageIndex);
      const before = at - start - from;
      at += to - from;
      if (page === undefined) continue;
      for (let slot = from, end = from; slot < to; slot = end) {
        const alike = this.#alike(page.changes, slot, to, view, before);
        end = Math.min(to, slot + Math.max(alike, PART_ITEMS));
        // Where all have changed alike, and were alike, the first one tells.
        const part = alike > PART_ITEMS ? slot + 1 : end;
        const wrong = settlePart(page, view, refcountOrder, refcountMax, before, slot, part);
        if (wrong >= 0) {
          const refcount = getRefcount(view, refcountOrder, before + wrong);
          const cluster = start + before + wrong;
          throw page.changes[wrong] > 0 && refcount > 0 ? this.#overflow(cluster) : this.#tooLow(cluster, refcount);
        }
        if (part < end && page.changes[slot] !== 0) {
          const after = getRefcount(view, refcountOrder, before + slot);
          fillRefcounts(bytesOf(view), refcountOrder, before + slot, end - slot, after);
          page.ones.fill(page.ones[slot], slot, end);
        }
        const hasFreed = part === end || getRefcount(view, refcountOrder, before + slot) === 0;
        if (free !== undefined && hasFreed) freePart(page, view, refcountOrder, before, slot, end, start, free);
      }
    }
  }

  /** How many changes from `slot` on, before `to`, are alike, of refcounts that are. Not more than one where refcounts are narrower than a byte. */
  #alike(changes: Int32Array, slot: number, to: number, view: DataView, before: number): number {
    const { memory, geometry } = this.#image;
    if (geometry.refcountOrder < 3) return 1;
    const equal = (bytes: Uint8Array, from: number, end: number, width: number): number => {
      const tail = bytes.subarray((from + 1) * width, end * width);
      const differing = memory.firstDifference(bytes.subarray(from * width, (end - 1) * width), tail);
      return differing < 0 ? end - from : Math.floor(differing / width) + 1;
    };
    const count = equal(bytesOf(changes), slot, to, changes.BYTES_PER_ELEMENT);
    const first = before + slot;
    return count > PART_ITEMS ? equal(bytesOf(view), first, first + count, geometry.refcountBits / 8) : count;
  }

  #overflow(cluster: number): BlockError {
    const { refcountBits, clusterSize } = this.#image.geometry;
    const message = `The refcount of cluster ${cluster} would overflow: refcounts have ${refcountBits} bits`;
    return this.#image.error('limit', message, 'snapshot', cluster * clusterSize);
  }

  #tooLow(cluster: number, refcount: number): BlockError {
    const message = `The refcount ${refcount} of cluster ${cluster} is too low: the image needs a repair`;
    return this.#image.error('corrupt-image', message, 'snapshot', cluster * this.#image.geometry.clusterSize);
  }
}

/** Index of the first change from `from` on; `PAGE_CLUSTERS` for none. */
function firstChange(changes: Int32Array, from: number): number {
  let at = from;
  while (at < PAGE_CLUSTERS && changes[at] === 0) at++;
  return at;
}

function visitPage(
  { changes, ones }: Page,
  start: number,
  from: number,
  to: number,
  copied: boolean,
  visit: FlagVisitor,
): void {
  const isCopied = copied ? 1 : 0;
  for (let at = from; at < to; ) {
    const after = changes[at] === 0 ? isCopied : ones[at];
    let end = at;
    for (let part = end; end === part && part < to; part = Math.min(to, part + PART_ITEMS)) {
      end = alikeUntil(changes, ones, part, Math.min(to, part + PART_ITEMS), isCopied, after);
    }
    visit((start + at) as ClusterIndex, end - at, after === 1);
    at = end;
  }
}

function addTo(changes: Int32Array, from: number, to: number, change: number): void {
  for (let slot = from; slot < to; slot++) changes[slot] += change;
}

/**
 * Changes the refcounts of [from, to) in a page, of which the first one is `before` entries behind that of the block, which may be negative. Returns the index of one that
 * cannot be changed, -1 for none. What somebody refers to is counted already, so that its refcount is 1 or more.
 */
function settlePart(
  { changes, ones }: Page,
  view: DataView,
  order: number,
  max: number,
  before: number,
  from: number,
  to: number,
): number {
  for (let slot = from; slot < to; slot++) {
    const change = changes[slot];
    if (change === 0) continue;
    const was = getRefcount(view, order, before + slot);
    const after = was + change;
    if (was === 0 || after < 0 || after > max) return slot;
    setRefcount(view, order, before + slot, after);
    ones[slot] = after === 1 ? 1 : 0;
  }
  return -1;
}

/** Calls `free` for those of [from, to) that have changed to 0; `start`: the first cluster of the block. */
function freePart(
  { changes }: Page,
  view: DataView,
  order: number,
  before: number,
  from: number,
  to: number,
  start: number,
  free: (cluster: ClusterIndex) => void,
): void {
  for (let slot = from; slot < to; slot++) {
    if (changes[slot] >= 0 || getRefcount(view, order, before + slot) !== 0) continue;
    free((start + before + slot) as ClusterIndex);
  }
}

/** The end of the flags from `from` on, up to `to`, that are `after`. */
function alikeUntil(
  changes: Int32Array,
  ones: Uint8Array,
  from: number,
  to: number,
  isCopied: number,
  after: number,
): number {
  let at = from;
  while (at < to && (changes[at] === 0 ? isCopied : ones[at]) === after) at++;
  return at;
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
