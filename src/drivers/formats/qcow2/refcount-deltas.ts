// By how much the refcounts of clusters are to change, before any of them is: a change of snapshots is counted as a whole first, and refused where a refcount
// cannot hold its result. Kept in pages, of which there are only those with clusters that change.
//
//   cluster   0 ......... 32767 | 32768 ...... 65535 | ...
//   page      +1 +1 0 -1 ...    | -                  |        counted by the walk over the tables (snapshot-walk.ts)
//   becomes one?  n  y  - n     | -                  |        once the stored refcounts were read (`settle`)

import type { BlockError } from '../../../util/errors.js';
import type { Qcow2Image } from './image.js';
import { getRefcount } from './refcount-codec.js';
import { type Changes, SETTLED_FREED } from './table-math.js';
import type { ClusterIndex } from './types.js';

const PAGE_CLUSTERS = 32768;
/** Memory is bounded: 640 MiB for 2^27 clusters, 8 TiB with clusters of 64 KiB. */
const MAX_PAGES = 2 ** 27 / PAGE_CLUSTERS;

export class RefcountDeltas {
  readonly #image: Qcow2Image;
  readonly #pages = new Map<number, Changes>();
  #pageIndex = -1;
  #page: Changes | null = null;

  constructor(image: Qcow2Image) {
    this.#image = image;
  }

  /** Counts `change` for each of `count` clusters. Throws `limit` where too many clusters would be held in memory. */
  add(cluster: ClusterIndex, count: number, change: number): void {
    const end = cluster + count;
    for (let at: number = cluster; at < end; ) {
      const index = Math.floor(at / PAGE_CLUSTERS);
      const page = this.#pageIndex === index && this.#page !== null ? this.#page : this.#makePage(index);
      const from = at - index * PAGE_CLUSTERS;
      const to = Math.min(PAGE_CLUSTERS, from + end - at);
      this.#image.math.add(page, from, to, change);
      at += to - from;
    }
  }

  #makePage(index: number): Changes {
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
   * Sets the copied flags of `count` entries from `slot` on, which point to contiguous clusters from `first` on, to what they are to be afterwards. True where one was
   * not like that. To be called after `settle`.
   */
  setFlags(table: DataView, entryBytes: number, slot: number, first: ClusterIndex, count: number): boolean {
    const end = first + count;
    let differs = false;
    for (let at: number = first; at < end; ) {
      const index = Math.floor(at / PAGE_CLUSTERS);
      const page = this.#pages.get(index);
      const from = at - index * PAGE_CLUSTERS;
      const to = Math.min(PAGE_CLUSTERS, from + end - at);
      const place = (slot + at - first) * entryBytes;
      if (page !== undefined && this.#image.math.setFlags(table, place, entryBytes, page, from, to)) differs = true;
      at += to - from;
    }
    return differs;
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
    const { math, geometry } = this.#image;
    const { blockEntries, refcountOrder, refcountMax } = geometry;
    const start = index * blockEntries;
    const end = start + blockEntries;
    for (let at = start; at < end; ) {
      const pageIndex = Math.floor(at / PAGE_CLUSTERS);
      const from = at - pageIndex * PAGE_CLUSTERS;
      const to = Math.min(PAGE_CLUSTERS, from + end - at);
      const page = this.#pages.get(pageIndex);
      const first = at - start;
      at += to - from;
      if (page === undefined) continue;
      const settled = math.settle(view, refcountOrder, refcountMax, first, page, from, to);
      if (settled >= 0) {
        const refcount = getRefcount(view, refcountOrder, first + settled - from);
        const cluster = start + first + settled - from;
        throw page.changes[settled] > 0 && refcount > 0 ? this.#overflow(cluster) : this.#tooLow(cluster, refcount);
      }
      if (free === undefined || settled !== SETTLED_FREED) continue;
      for (let slot = from; ; slot++) {
        slot = math.nextFreed(view, refcountOrder, first + slot - from, page, slot, to);
        if (slot === to) break;
        free((start + first + slot - from) as ClusterIndex);
      }
    }
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

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
