// Arithmetic over whole tables: runs of L2 entries, and the refcounts and copied flags that a change of snapshots changes. Images have millions of entries, so that it
// is native code where the host has it (`TableCode`); what is written here says what that does, does the same where there is none, and does short pieces itself,
// for which a call of native code would cost more.

import type { Memory, TableCode } from '../../../host/host.js';
import { assert } from '../../../util/assert.js';
import { getRefcount, setRefcount } from './refcount-codec.js';

/** Items of a piece that is short. */
const FEW_ITEMS = 16;

/** What `settle` returns where no refcount was wrong: none has become 0, or some have. */
const SETTLED = -1;
export const SETTLED_FREED = -2;

/** By how much the refcounts of clusters are to change. */
export interface Changes {
  readonly changes: Int32Array;
  /** 1: the refcount becomes one. Says nothing where there is no change. */
  readonly ones: Uint8Array;
}

export class TableMath {
  readonly #code: TableCode | null;

  constructor(memory: Pick<Memory, 'tables'>) {
    this.#code = memory.tables;
  }

  /**
   * How many entries of 8 bytes, as numbers of 64 bits, are the one at byte `at` of `table`, plus `step`, plus twice `step`, and so on: from 1 to `most`. Two entries
   * of ordinary clusters differ by `step` where all their flags are the same, and the clusters are contiguous.
   */
  rising(table: DataView, at: number, most: number, step: number): number {
    const few = Math.min(most, FEW_ITEMS);
    const run = risingIn(table, at, few, step);
    if (run < few || few === most) return run;
    if (this.#code === null) return risingIn(table, at, most, step);
    return done(this.#code.rising(bytesOf(table), at, most, step));
  }

  /** How many entries of 8 bytes from byte `at` of `table` on, `most` at most, are zero. A small image has thousands of them for each one that is used. */
  zeroes(table: DataView, at: number, most: number): number {
    const few = Math.min(most, FEW_ITEMS);
    const run = zeroesIn(table, at, few);
    if (run < few || few === most) return run;
    if (this.#code === null) return zeroesIn(table, at, most);
    return done(this.#code.rising(bytesOf(table), at, most, 0));
  }

  /** Makes a run of `count` rising entries: those behind the first one, which is there. */
  rise(table: DataView, at: number, count: number, step: number): void {
    if (count > FEW_ITEMS && this.#code !== null) {
      done(this.#code.rise(bytesOf(table), at, count, step));
      return;
    }
    let high = table.getInt32(at);
    let low = table.getInt32(at + 4);
    for (let place = at + 8; place < at + count * 8; place += 8) {
      low = (low + step) | 0;
      // The carry.
      if (low >>> 0 < step) high = (high + 1) | 0;
      table.setInt32(place, high);
      table.setInt32(place + 4, low);
    }
  }

  /** Adds `change` to each of [from, to). */
  add({ changes }: Changes, from: number, to: number, change: number): void {
    if (to - from > FEW_ITEMS && this.#code !== null) done(this.#code.add(changes, from, to, change));
    else for (let slot = from; slot < to; slot++) changes[slot] += change;
  }

  /**
   * Changes the refcounts of 2^order bits from index `first` of `block` on by the changes [from, to), and notes which become one. Returns `SETTLED`, `SETTLED_FREED`,
   * or the index among the changes of one that cannot be made; those before it are made then. What somebody refers to is counted already, so that its refcount
   * is 1 or more.
   */
  settle(block: DataView, order: number, max: number, first: number, page: Changes, from: number, to: number): number {
    const { changes, ones } = page;
    if (this.#code !== null) {
      return done(this.#code.settle(bytesOf(block), order, max, first, changes, ones, from, to));
    }
    let result = SETTLED;
    for (let slot = from; slot < to; slot++) {
      const change = changes[slot];
      if (change === 0) continue;
      const index = first + slot - from;
      const was = getRefcount(block, order, index);
      const after = was + change;
      if (was === 0 || after < 0 || after > max) return slot;
      setRefcount(block, order, index, after);
      ones[slot] = after === 1 ? 1 : 0;
      if (after === 0) result = SETTLED_FREED;
    }
    return result;
  }

  /** The first index in [from, to) of a change that has made a refcount 0; `to` where there is none. The refcounts are as `settle` has left them. */
  nextFreed(block: DataView, order: number, first: number, { changes }: Changes, from: number, to: number): number {
    if (this.#code !== null) return done(this.#code.nextFreed(bytesOf(block), order, first, changes, from, to));
    let slot = from;
    while (slot < to && (changes[slot] >= 0 || getRefcount(block, order, first + slot - from) !== 0)) slot++;
    return slot;
  }

  /**
   * Sets the copied flags of entries, `stride` bytes each, from byte `at` of `table` on, whose clusters have the changes [from, to): those whose refcounts change. True
   * where one was not like that.
   */
  setFlags(table: DataView, at: number, stride: number, page: Changes, from: number, to: number): boolean {
    const { changes, ones } = page;
    if (to - from > FEW_ITEMS && this.#code !== null) {
      return done(this.#code.setFlags(bytesOf(table), at, stride, changes, ones, from, to)) === 1;
    }
    let differs = false;
    for (let slot = from; slot < to; slot++) {
      if (changes[slot] === 0) continue;
      const place = at + (slot - from) * stride;
      const was = table.getUint8(place);
      const flags = (was & 0x7f) | (ones[slot] << 7);
      differs ||= flags !== was;
      table.setUint8(place, flags);
    }
    return differs;
  }
}

/** Without native code, for what is made without a host. */
export const PLAIN_MATH = new TableMath({ tables: null });

function risingIn(table: DataView, at: number, most: number, step: number): number {
  let high = table.getInt32(at);
  let low = table.getInt32(at + 4);
  let count = 0;
  for (let place = at; count < most; place += 8) {
    if (table.getInt32(place + 4) !== low || table.getInt32(place) !== high) break;
    low = (low + step) | 0;
    // The carry.
    if (low >>> 0 < step) high = (high + 1) | 0;
    count++;
  }
  return count;
}

function zeroesIn(table: DataView, at: number, most: number): number {
  const end = at + most * 8;
  let place = at;
  while (place < end && table.getInt32(place + 4) === 0 && table.getInt32(place) === 0) place += 8;
  return (place - at) / 8;
}

/** What native code has returned. */
function done(result: number): number {
  assert(result >= SETTLED_FREED, 'tables are long enough');
  return result;
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
