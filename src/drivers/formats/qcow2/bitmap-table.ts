// The table of a stored bitmap (specification: "Bitmap table"): where the bits lie, one cluster of them for each entry.
//
//   bit  63 .... 56   55 .......... 9   8 .... 1   0
//        reserved   | host offset     | reserved | all ones: only where the offset is 0

import { HIGH_WORD } from '../../../util/bytes.js';
import { POINTER_BYTES, pointerTarget } from './pointer-codec.js';
import type { HostOffset } from './types.js';

/** Reserved bits of an entry, high and low word. */
const RESERVED_HIGH = 0xff00_0000;
const RESERVED_LOW = 0x1fe;
const ALL_ONES = 1;

/** In place of the offset of bits that are all set, and so are not stored. */
export const ALL_SET = -1;
/** In place of the offset of bits of which none is set. */
export const NONE_SET = 0;

/** Host offset of the bits of each entry, or one of the constants. Null where an entry is none that the format has. */
export function decodePlaces(view: DataView, clusterSize: number): Float64Array | null {
  const places = new Float64Array(view.byteLength / POINTER_BYTES);
  for (let entry = 0; entry < places.length; entry++) {
    const high = view.getUint32(entry * POINTER_BYTES);
    const low = view.getUint32(entry * POINTER_BYTES + 4);
    const offset = pointerTarget(view, entry);
    const ones = (low & ALL_ONES) !== 0;
    const isReserved = (high & RESERVED_HIGH) !== 0 || (low & RESERVED_LOW) !== 0;
    if (isReserved || (ones && offset !== 0) || offset % clusterSize !== 0) return null;
    places[entry] = ones ? ALL_SET : offset;
  }
  return places;
}

/** Writes entries [from, to) of `places` into `bytes`, from its start on. */
export function encodePlaces(places: Float64Array, from: number, to: number, view: DataView): void {
  for (let entry = from; entry < to; entry++) {
    const place = places[entry];
    const at = (entry - from) * POINTER_BYTES;
    const offset = place === ALL_SET ? 0 : place;
    view.setUint32(at, Math.floor(offset / HIGH_WORD));
    view.setUint32(at + 4, place === ALL_SET ? ALL_ONES : offset % HIGH_WORD);
  }
}

/** The offsets in a table, without the entries that have none. */
export function offsetsIn(places: Float64Array): HostOffset[] {
  return [...places].filter((place) => place > 0) as HostOffset[];
}
