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

/** First index in [from, limit) whose refcount is zero (`free`) or is not (`!free`); `limit` where there is none. */
export function scanRefcounts(view: DataView, order: number, from: number, limit: number, free: boolean): number {
  if (order === 4) {
    for (let i = from; i < limit; i++) if ((view.getUint16(i * 2) === 0) === free) return i;
    return limit;
  }
  for (let i = from; i < limit; i++) if ((getRefcount(view, order, i) === 0) === free) return i;
  return limit;
}

/** The number of refcounts that are not zero, of the first `count` in a block. */
export function countRefcounts(block: Uint8Array, order: number, count: number): number {
  let used = 0;
  if (order === 4 && block.byteOffset % 2 === 0) {
    // Zero is zero in any byte order.
    const refcounts = new Uint16Array(block.buffer, block.byteOffset, count);
    for (let i = 0; i < count; i++) if (refcounts[i] !== 0) used++;
    return used;
  }
  const view = viewOf(block);
  for (let i = 0; i < count; i++) if (getRefcount(view, order, i) !== 0) used++;
  return used;
}

/** Bytes [from, to) that hold the refcounts [start, start + count). */
export function refcountByteRange(order: number, start: number, count: number): [number, number] {
  const bits = 1 << order;
  return [Math.floor((start * bits) / 8), Math.ceil(((start + count) * bits) / 8)];
}
