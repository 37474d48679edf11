// The two sides that a qcow2 check compares, for one window of host clusters: the number of references to each cluster, counted by the walk over the
// tables, and its refcount, read from the refcount blocks. Both take one byte for each cluster.
//
//   clusters   0 ......... |start ....... start + size| .........
//                          references[]   stored[]

import type { Child } from '../../../block/child.js';
import { type Exact, exact } from '../../../block/finding.js';
import { viewOf } from '../../../util/bytes.js';
import { toBlockError } from '../../../util/errors.js';
import { blockPointerHex, blockPointerTarget, isBlockPointerUnreadable, POINTER_BYTES } from './pointer-codec.js';
import { fillRefcounts, getRefcount } from './refcount-codec.js';
import { type ClusterIndex, type HostOffset, NO_HOST } from './types.js';

/** `stored`: the refcount is this or more. */
export const STORED_MANY = 254;
/** `stored`: the block that holds the refcount cannot be read. */
export const STORED_UNREADABLE = 255;
/** `references`: the count is in `many`. */
const REFERENCED_MANY = 255;

const LOAD_BYTES = 4 << 20;

/** Where the refcounts are stored. */
export interface RefcountLayout {
  clusterBytes: number;
  /** log2 of the width of a refcount in bits. */
  refcountOrder: number;
  /** The raw refcount table, big-endian. */
  table: DataView;
}

/** Reads `buffer.length` bytes at `offset`; bytes beyond the end of the file are zeroes. */
export async function readPadded(file: Child, offset: number, buffer: Uint8Array): Promise<void> {
  const inside = Math.max(0, Math.min(buffer.length, file.length - offset));
  if (inside < buffer.length) buffer.fill(0, inside);
  if (inside > 0) await file.read(offset, inside === buffer.length ? buffer : buffer.subarray(0, inside));
}

export class RefcountTally {
  readonly start: number;
  readonly size: number;
  readonly references: Uint8Array;
  readonly stored: Uint8Array;
  readonly #many = new Map<number, number>();
  readonly #file: Child;
  readonly #layout: RefcountLayout;
  /** Refcounts of one block. */
  readonly perBlock: number;
  /** Blocks of the window that cannot be read, by their index. */
  readonly unreadable: number[] = [];
  /** `stored` has each refcount as it is. */
  isExact = true;
  #onesBlock: Uint8Array | null = null;
  #block: { index: number; bytes: Uint8Array; readable: boolean } | null = null;

  constructor(file: Child, layout: RefcountLayout, start: number, size: number) {
    this.#file = file;
    this.#layout = layout;
    this.perBlock = (layout.clusterBytes * 8) / 2 ** layout.refcountOrder;
    this.start = start;
    this.size = size;
    this.references = new Uint8Array(size);
    this.stored = new Uint8Array(size);
  }

  /** Counts one more reference to `cluster` (within the window) and returns the new count. */
  addReference(cluster: ClusterIndex): number {
    const index = cluster - this.start;
    const count = this.references[index] + 1;
    if (count < REFERENCED_MANY) {
      this.references[index] = count;
      return count;
    }
    const many = (this.#many.get(index) ?? REFERENCED_MANY - 1) + 1;
    this.references[index] = REFERENCED_MANY;
    this.#many.set(index, many);
    return many;
  }

  referencesOf(cluster: ClusterIndex): number {
    const count = this.references[cluster - this.start];
    return count < REFERENCED_MANY ? count : this.#many.get(cluster - this.start)!;
  }

  /** Host offset of the refcount block of `cluster`, from the refcount table; 0 for none. */
  blockOffset(cluster: ClusterIndex): HostOffset {
    const index = Math.floor(cluster / this.perBlock);
    const { table } = this.#layout;
    return index * POINTER_BYTES >= table.byteLength ? NO_HOST : blockPointerTarget(table, index);
  }

  /** `blockOffset`, exactly, for a cluster that has a block. */
  exactBlockOffset(cluster: ClusterIndex): Exact {
    return exact(blockPointerHex(this.#layout.table, this.blockIndex(cluster)));
  }

  blockIndex(cluster: ClusterIndex): number {
    return Math.floor(cluster / this.perBlock);
  }

  /** Fills `stored` from the refcount blocks of the window. */
  async load(): Promise<void> {
    const { clusterBytes } = this.#layout;
    const perRound = Math.max(1, Math.floor(LOAD_BYTES / clusterBytes));
    const end = this.start + this.size;
    const first = Math.floor(this.start / this.perBlock);
    const last = Math.min(Math.ceil(end / this.perBlock), this.#layout.table.byteLength / POINTER_BYTES);
    const buffers: Uint8Array[] = [];
    for (let round = first; round < last; ) {
      const blocks: number[] = [];
      for (; round < last && blocks.length < perRound; round++) {
        const offset = this.blockOffset((round * this.perBlock) as ClusterIndex);
        if (offset === 0) continue;
        if (isBlockPointerUnreadable(this.#layout.table, round, clusterBytes)) this.#markUnreadable(round);
        else if (offset < this.#file.length) blocks.push(round);
      }
      const readable = await Promise.all(
        blocks.map((block, slot) => {
          buffers[slot] ??= new Uint8Array(clusterBytes);
          return this.#readBlock(block, buffers[slot]);
        }),
      );
      for (const [slot, block] of blocks.entries()) {
        if (readable[slot]) this.#decode(block, buffers[slot]);
        else this.#markUnreadable(block);
      }
    }
  }

  /** True for a cluster of the window whose refcount cannot be read. */
  isUnreadable(cluster: ClusterIndex): boolean {
    const index = cluster - this.start;
    return index >= 0 && index < this.size && this.stored[index] === STORED_UNREADABLE;
  }

  /** The exact refcount of any cluster; null where its block cannot be read. */
  async exactRefcount(cluster: ClusterIndex): Promise<Exact | null> {
    const index = cluster - this.start;
    const inside = index >= 0 && index < this.size;
    if (inside && this.stored[index] < STORED_MANY) return this.stored[index];
    if (inside && this.stored[index] === STORED_UNREADABLE) return null;
    const block = this.blockIndex(cluster);
    const offset = this.blockOffset(cluster);
    if (offset === 0) return 0;
    if (isBlockPointerUnreadable(this.#layout.table, block, this.#layout.clusterBytes)) return null;
    if (this.#block?.index !== block) {
      const bytes = this.#block?.bytes ?? new Uint8Array(this.#layout.clusterBytes);
      this.#block = { index: block, bytes, readable: await this.#readBlock(block, bytes) };
    }
    if (!this.#block.readable) return null;
    return exactAt(this.#block.bytes, cluster % this.perBlock, this.#layout.refcountOrder);
  }

  /** Fills `bytes` from refcount block `block`. Resolves with false where that is an I/O error. */
  async #readBlock(block: number, bytes: Uint8Array): Promise<boolean> {
    try {
      await readPadded(this.#file, this.blockOffset((block * this.perBlock) as ClusterIndex), bytes);
      return true;
    } catch (error) {
      if (toBlockError(error).code !== 'io') throw error;
      return false;
    }
  }

  #markUnreadable(block: number): void {
    this.unreadable.push(block);
    this.isExact = false;
    const from = Math.max(0, block * this.perBlock - this.start);
    this.stored.fill(STORED_UNREADABLE, from, Math.min(this.size, (block + 1) * this.perBlock - this.start));
  }

  #decode(block: number, bytes: Uint8Array): void {
    const base = block * this.perBlock - this.start;
    const to = Math.min(this.perBlock, this.size - base);
    let from = Math.max(0, -base);
    const { stored } = this;
    const order = this.#layout.refcountOrder;
    // Most refcounts are one: where all are, up to some place, nothing is decoded.
    const differing = this.#file.node.host.memory.firstDifference(bytes, this.#ones());
    const equal = differing < 0 ? to : Math.min(to, Math.floor((differing * 8) / 2 ** order));
    if (equal > from) {
      stored.fill(1, base + from, base + equal);
      from = equal;
    }
    const view = viewOf(bytes);
    let highest = 0;
    for (let index = from; index < to; index++) {
      const value = getRefcount(view, order, index);
      stored[base + index] = Math.min(value, STORED_MANY);
      if (value > highest) highest = value;
    }
    if (highest >= STORED_MANY) this.isExact = false;
  }

  /** A refcount block in which all are one. */
  #ones(): Uint8Array {
    if (this.#onesBlock === null) {
      this.#onesBlock = new Uint8Array(this.#layout.clusterBytes);
      fillRefcounts(this.#onesBlock, this.#layout.refcountOrder, 0, this.perBlock, 1);
    }
    return this.#onesBlock;
  }
}

/** The refcount at `index` of a block, exact even beyond 2^53. */
function exactAt(block: Uint8Array, index: number, order: number): Exact {
  const view = viewOf(block);
  const value = getRefcount(view, order, index);
  return Number.isSafeInteger(value) ? value : `0x${view.getBigUint64(index * 8).toString(16)}`;
}
