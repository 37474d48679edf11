// A bit array for up to 2^45 bits that costs what is written to it, not what it could hold.
//
//   level 2   [ E | F | * | E ... ]           1024 slots of 2^25 bits each
//                       |
//   level 1           [ E | * | F ... ]       1024 slots of 2^15 bits each
//                           |
//   level 0               [ 1024 words ]      a leaf: 32768 bits, 4 KiB
//
// A slot is empty (E), full (F), or a node. A node whose bits are all equal is replaced by E or F, so a search skips
// terabytes of either in one step, and setting a terabyte writes a slot. Bits at or beyond `length` are always zero.

import { countWords, fillBits, findBit } from './bit-words.js';
import { viewOf } from './bytes.js';
import { BlockError } from './errors.js';

const FAN_OUT = 1024;
const LEAF_WORDS = 1024;
const LEAF_BITS = LEAF_WORDS * 32;
const MAX_LEVEL = 3;
/** Bits below one slot's node of a level. */
const SPAN: readonly number[] = Array.from({ length: MAX_LEVEL + 1 }, (_, level) => LEAF_BITS * FAN_OUT ** level);
/** What a leaf and a branch add to `memory`, in bytes. */
const LEAF_COST = LEAF_WORDS * 4 + 96;
const BRANCH_COST = FAN_OUT * 8 + 96;

/** Bits that a tree can hold. */
export const MAX_TREE_BITS = SPAN[MAX_LEVEL];

interface Leaf {
  count: number;
  words: Uint32Array;
}
interface Branch {
  count: number;
  slots: Slot[];
}
const EMPTY = 0;
const FULL = 1;
type Slot = typeof EMPTY | typeof FULL | Leaf | Branch;

function slotCount(slot: Slot, level: number): number {
  if (slot === EMPTY) return 0;
  return slot === FULL ? SPAN[level] : slot.count;
}

export class BitTree {
  #length = 0;
  #level = 0;
  #root: Slot = EMPTY;
  #memory = 0;
  readonly #memoryLimit: number;

  /** Throws `limit` for more than `MAX_TREE_BITS` bits. `memoryLimit`: bytes of nodes this tree may hold. */
  constructor(length: number, memoryLimit: number) {
    this.#memoryLimit = memoryLimit;
    this.resize(length);
  }

  get length(): number {
    return this.#length;
  }
  /** Number of set bits. */
  get count(): number {
    return slotCount(this.#root, this.#level);
  }
  /** Bytes of memory that the nodes take. */
  get memory(): number {
    return this.#memory;
  }

  get(index: number): boolean {
    let slot = this.#root;
    let level = this.#level;
    let rest = index;
    while (slot !== EMPTY && slot !== FULL) {
      if ('words' in slot) return ((slot.words[rest >>> 5] >>> (rest & 31)) & 1) === 1;
      const span = SPAN[--level];
      const i = Math.floor(rest / span);
      rest -= i * span;
      slot = slot.slots[i];
    }
    return slot === FULL;
  }

  /** Sets bits [from, to) to `value`. Throws `limit`, having changed nothing, where that would need too much memory, unless `force`. */
  fill(from: number, to: number, value: boolean, force = false): void {
    if (from >= to) return;
    if (!force) this.#reserve(from, to, value);
    this.#root = this.#fill(this.#root, this.#level, from, to, value);
  }

  clear(): void {
    this.#root = EMPTY;
    this.#memory = 0;
  }

  /** First bit at or after `from` that is `value`; -1 where there is none below `length`. */
  find(from: number, value: boolean): number {
    if (from >= this.#length) return -1;
    const found = this.#find(this.#root, this.#level, from, value);
    return found < this.#length ? found : -1;
  }

  /**
   * Sets in `bytes` (a multiple of 4 of them) each bit that is set here from bit `from` (a multiple of 32) on: bit i of the tree is bit (i - from) % 8 of byte
   * (i - from) / 8.
   */
  orInto(from: number, bytes: Uint8Array): void {
    this.#orInto(this.#root, this.#level, -from, viewOf(bytes));
  }

  /** Changes the number of bits. New bits are zero; bits that are cut off are lost. Throws `limit` as the constructor. */
  resize(length: number): void {
    if (length > MAX_TREE_BITS) throw new BlockError('limit', `A bitmap cannot have more than ${MAX_TREE_BITS} bits`);
    // Cutting splits at most one path of nodes; a resize of the node underneath must not fail for that.
    if (length < this.#length) this.#root = this.#fill(this.#root, this.#level, length, this.#length, false);
    this.#length = length;
    this.#raise(length);
  }

  /** Sets each bit that is set in `other` (of the same length). Throws `limit`, having changed nothing, unless `force`. */
  or(other: BitTree, force = false): void {
    if (!force && this.#memory + other.#memory > this.#memoryLimit) this.#tooMuch();
    this.#raise(SPAN[other.#level]);
    let slot = other.#root;
    for (let level = other.#level; level < this.#level && slot !== EMPTY; level++) {
      // A view of the lower tree as tall as ours; its nodes are copied by #or, never shared.
      const slots = new Array<Slot>(FAN_OUT).fill(EMPTY);
      slots[0] = slot;
      slot = { count: slotCount(slot, level), slots };
    }
    this.#root = this.#or(this.#root, slot, this.#level);
  }

  clone(): BitTree {
    const copy = new BitTree(this.#length, this.#memoryLimit);
    copy.or(this, true);
    return copy;
  }

  #raise(length: number): void {
    while (SPAN[this.#level] < length) {
      const old = this.#root;
      const level = this.#level++;
      if (old !== EMPTY) this.#root = this.#branch(EMPTY, slotCount(old, level), old);
    }
  }

  #branch(all: typeof EMPTY | typeof FULL, count: number, first: Slot): Branch {
    this.#memory += BRANCH_COST;
    const slots = new Array<Slot>(FAN_OUT).fill(all);
    slots[0] = first;
    return { count, slots };
  }

  #split(slot: typeof EMPTY | typeof FULL, level: number): Leaf | Branch {
    const count = slotCount(slot, level);
    if (level > 0) return this.#branch(slot, count, slot);
    this.#memory += LEAF_COST;
    const words = new Uint32Array(LEAF_WORDS);
    if (slot === FULL) words.fill(0xffffffff);
    return { count, words };
  }

  #release(slot: Slot): void {
    if (slot === EMPTY || slot === FULL) return;
    if ('words' in slot) {
      this.#memory -= LEAF_COST;
      return;
    }
    this.#memory -= BRANCH_COST;
    for (const child of slot.slots) this.#release(child);
  }

  /** Replaces a node whose bits are all equal by EMPTY or FULL. */
  #settle(node: Leaf | Branch, level: number): Slot {
    if (node.count !== 0 && node.count !== SPAN[level]) return node;
    this.#release(node);
    return node.count === 0 ? EMPTY : FULL;
  }

  #fill(slot: Slot, level: number, from: number, to: number, value: boolean): Slot {
    const all = value ? FULL : EMPTY;
    if (slot === all) return slot;
    if (from === 0 && to === SPAN[level]) {
      this.#release(slot);
      return all;
    }
    const node = slot === EMPTY || slot === FULL ? this.#split(slot, level) : slot;
    if ('words' in node) {
      node.count += fillBits(node.words, from, to, value);
    } else {
      const below = level - 1;
      const span = SPAN[below];
      for (let i = Math.floor(from / span), start = i * span; start < to; i++, start += span) {
        const before = node.slots[i];
        const countBefore = slotCount(before, below);
        const after = this.#fill(before, below, Math.max(from - start, 0), Math.min(to - start, span), value);
        node.slots[i] = after;
        node.count += slotCount(after, below) - countBefore;
      }
    }
    return this.#settle(node, level);
  }

  #find(slot: Slot, level: number, from: number, value: boolean): number {
    if (slot === EMPTY || slot === FULL) return (slot === FULL) === value ? from : -1;
    if ('words' in slot) return findBit(slot.words, from, value);
    const span = SPAN[level - 1];
    let rest = from % span;
    for (let i = Math.floor(from / span); i < FAN_OUT; i++, rest = 0) {
      const found = this.#find(slot.slots[i], level - 1, rest, value);
      if (found >= 0) return i * span + found;
    }
    return -1;
  }

  /** `start`: where the first bit of `slot` lies in `view`, in bits; may be negative. */
  #orInto(slot: Slot, level: number, start: number, view: DataView): void {
    const from = Math.max(start, 0);
    const to = Math.min(start + SPAN[level], view.byteLength * 8);
    if (slot === EMPTY || from >= to) return;
    if (slot !== FULL && 'slots' in slot) {
      const span = SPAN[level - 1];
      const end = Math.ceil((to - start) / span);
      for (let i = Math.floor((from - start) / span); i < end; i++) {
        this.#orInto(slot.slots[i], level - 1, start + i * span, view);
      }
      return;
    }
    for (let at = from; at < to; at += 32) {
      const word = slot === FULL ? -1 : slot.words[(at - start) >>> 5];
      view.setUint32(at / 8, view.getUint32(at / 8, true) | word, true);
    }
  }

  #or(mine: Slot, other: Slot, level: number): Slot {
    if (other === EMPTY || mine === FULL) return mine;
    if (other === FULL) {
      this.#release(mine);
      return FULL;
    }
    const node = mine === EMPTY ? this.#split(EMPTY, level) : mine;
    if ('words' in node && 'words' in other) {
      for (let i = 0; i < LEAF_WORDS; i++) node.words[i] |= other.words[i];
      node.count = countWords(node.words);
    } else if ('slots' in node && 'slots' in other) {
      let count = 0;
      for (let i = 0; i < FAN_OUT; i++) {
        const merged = this.#or(node.slots[i], other.slots[i], level - 1);
        node.slots[i] = merged;
        count += slotCount(merged, level - 1);
      }
      node.count = count;
    }
    return this.#settle(node, level);
  }

  /** A fill makes nodes only on the paths to its two ends. Throws `limit`, before anything is changed, where there is no memory for them. */
  #reserve(from: number, to: number, value: boolean): void {
    const worst = 2 * (LEAF_COST + this.#level * BRANCH_COST);
    if (this.#memory + worst <= this.#memoryLimit) return;
    const needed = this.#missing(this.#root, this.#level, from, to, value);
    if (needed > 0 && this.#memory + needed > this.#memoryLimit) this.#tooMuch();
  }

  #missing(slot: Slot, level: number, from: number, to: number, value: boolean): number {
    if (slot === (value ? FULL : EMPTY) || (from === 0 && to === SPAN[level])) return 0;
    const node = slot === EMPTY || slot === FULL ? undefined : slot;
    if (level === 0) return node === undefined ? LEAF_COST : 0;
    const span = SPAN[level - 1];
    const childAt = (i: number): Slot => (node !== undefined && 'slots' in node ? node.slots[i] : slot);
    const first = Math.floor(from / span);
    const last = Math.floor((to - 1) / span);
    const stop = Math.min(to - first * span, span);
    let cost = node === undefined ? BRANCH_COST : 0;
    cost += this.#missing(childAt(first), level - 1, from - first * span, stop, value);
    if (last > first) cost += this.#missing(childAt(last), level - 1, 0, to - last * span, value);
    return cost;
  }

  #tooMuch(): never {
    throw new BlockError('limit', `A bitmap would take more than its limit of ${this.#memoryLimit} bytes of memory`);
  }
}
