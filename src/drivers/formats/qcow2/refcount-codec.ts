// Refcounts in a block, for every width from 1 to 64 bits (specification: "Refcount block entry"). Widths below a byte count from the
// least significant bit; wider ones are big endian.

import { assert } from '../../../util/assert.js';
import { putViewBe64, viewBe64, viewOf } from '../../../util/bytes.js';

/** The largest refcount of each width. */
const MOST = [0, 1, 2, 3, 4, 5, 6].map((order) => 2 ** (2 ** order) - 1);

/** The refcount at `index`. Of 64-bit refcounts the value may lose precision above 2^53. */
export function getRefcount(view: DataView, order: number, index: number): number {
  switch (order) {
    case 4:
      return view.getUint16(index * 2);
    case 3:
      return view.getUint8(index);
    case 5:
      return view.getUint32(index * 4);
    case 6:
      return viewBe64(view, index * 8);
    default: {
      const bits = 1 << order;
      const perByte = 8 >> order;
      return (view.getUint8(Math.floor(index / perByte)) >> ((index % perByte) * bits)) & ((1 << bits) - 1);
    }
  }
}

/** `value` fits into the width, which `order` is the logarithm of. */
export function setRefcount(view: DataView, order: number, index: number, value: number): void {
  assert(value <= MOST[order], 'a refcount fits into its width');
  switch (order) {
    case 4:
      view.setUint16(index * 2, value);
      return;
    case 3:
      view.setUint8(index, value);
      return;
    case 5:
      view.setUint32(index * 4, value);
      return;
    case 6:
      putViewBe64(view, index * 8, value);
      return;
    default: {
      const bits = 1 << order;
      const perByte = 8 >> order;
      const at = Math.floor(index / perByte);
      const shift = (index % perByte) * bits;
      const mask = ((1 << bits) - 1) << shift;
      view.setUint8(at, (view.getUint8(at) & ~mask) | (value << shift));
    }
  }
}

/** Sets `count` refcounts from `start` on to `value`. */
export function fillRefcounts(block: Uint8Array, order: number, start: number, count: number, value: number): void {
  const view = viewOf(block);
  if (order < 3) {
    for (let i = start; i < start + count; i++) setRefcount(view, order, i, value);
    return;
  }
  if (count === 0) return;
  setRefcount(view, order, start, value);
  const bytes = 1 << (order - 3);
  for (let done = 1; done < count; done *= 2) {
    const end = start + Math.min(done, count - done);
    block.copyWithin((start + done) * bytes, start * bytes, end * bytes);
  }
}

/** Refcounts that are looked at one by one; more are searched by code of the engine, which takes a call to set up. */
const FEW_REFCOUNTS = 32;

/** First index in [from, limit) whose refcount is zero (`free`) or is not (`!free`); `limit` where there is none. */
export function scanRefcounts(view: DataView, order: number, from: number, limit: number, free: boolean): number {
  const few = free ? Math.min(limit, from + FEW_REFCOUNTS) : limit;
  for (let i = from; i < few; i++) if ((getRefcount(view, order, i) === 0) === free) return i;
  if (few === limit) return limit;
  // Zero is zero in any byte order.
  const numbers = numbersIn(view, order, limit);
  if (numbers !== null) {
    const found = numbers.indexOf(0, few);
    return found < 0 ? limit : found;
  }
  for (let i = few; i < limit; i++) if (getRefcount(view, order, i) === 0) return i;
  return limit;
}

/** The first `count` refcounts of 1 to 4 bytes, in the machine's byte order; null for other widths, and for tables that are not aligned. */
function numbersIn(view: DataView, order: number, count: number): Uint8Array | Uint16Array | Uint32Array | null {
  const { buffer, byteOffset } = view;
  if (order === 3) return new Uint8Array(buffer, byteOffset, count);
  if (order === 4 && byteOffset % 2 === 0) return new Uint16Array(buffer, byteOffset, count);
  return order === 5 && byteOffset % 4 === 0 ? new Uint32Array(buffer, byteOffset, count) : null;
}

/** The number of refcounts that are not zero, of the first `count` in a block. */
export function countRefcounts(block: Uint8Array, order: number, count: number): number {
  let used = 0;
  const view = viewOf(block);
  const numbers = numbersIn(view, order, count);
  if (numbers !== null) {
    for (let i = 0; i < count; i++) if (numbers[i] !== 0) used++;
    return used;
  }
  for (let i = 0; i < count; i++) if (getRefcount(view, order, i) !== 0) used++;
  return used;
}

/** Bytes [from, to) that hold the refcounts [start, start + count). */
export function refcountByteRange(order: number, start: number, count: number): [number, number] {
  const bits = 1 << order;
  return [Math.floor((start * bits) / 8), Math.ceil(((start + count) * bits) / 8)];
}
