// The bits of a dirty bitmap as formats store them: one for each granule, the lowest bit of a byte first.

import type { DirtyBitmap } from './bitmap.js';

/** Marks the granules whose bits are set: the first bit is that of `offset`, and bits beyond the end of the disk are ignored. Throws `busy` while frozen. */
export function markBits(bitmap: DirtyBitmap, offset: number, bytes: Uint8Array): void {
  const { granularity } = bitmap;
  const bits = bytes.length * 8;
  let from = -1;
  for (let bit = 0; bit < bits; ) {
    const byte = bytes[bit >>> 3];
    if ((bit & 7) === 0 && (byte === 0 || byte === 0xff) && (byte === 0xff) === from >= 0) {
      bit += 8;
      continue;
    }
    const isSet = ((byte >>> (bit & 7)) & 1) !== 0;
    if (isSet && from < 0) from = bit;
    else if (!isSet && from >= 0) {
      markRange(bitmap, offset + from * granularity, (bit - from) * granularity);
      from = -1;
    }
    bit++;
  }
  if (from >= 0) markRange(bitmap, offset + from * granularity, (bits - from) * granularity);
}

/** Marks the part of the range that is on the disk. Throws `busy` while frozen. */
export function markRange(bitmap: DirtyBitmap, offset: number, length: number): void {
  const end = Math.min(offset + length, bitmap.size);
  if (offset < end) bitmap.set(offset, end - offset);
}
