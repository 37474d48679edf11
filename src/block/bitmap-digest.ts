// The digest of a dirty bitmap, for comparing bitmaps of two programs (QMP's `x-debug-block-dirty-bitmap-sha256`).
//
//   bit i: the piece from i * granularity on     byte i / 8, bit i % 8; zeroes up to whole words of 64 bits

import { sha256 } from '../host/digest.js';
import { BlockError } from '../util/errors.js';
import { roundUp } from '../util/numbers.js';
import type { DirtyBitmap } from './bitmap.js';

const WORD_BITS = 64;
/** Bits that are put together at a time. */
const PART_BITS = 8 * 65536;
/** 32 MiB, a tenth of a second: nobody else is served meanwhile. */
const MAX_BITS = 2 ** 28;

/** SHA-256 of the bits, in hexadecimal digits. Throws `limit` for a bitmap of more than 2^28 bits. */
export function bitmapDigest(bitmap: DirtyBitmap): string {
  const { size, granularity } = bitmap;
  const bits = Math.ceil(size / granularity);
  if (bits > MAX_BITS) throw new BlockError('limit', `a bitmap of ${bits} bits is too large for a digest`);
  const hash = sha256();
  for (let from = 0; from < bits; from += PART_BITS) {
    const count = Math.min(PART_BITS, bits - from);
    const bytes = new Uint8Array(roundUp(count, WORD_BITS) / 8);
    setBits(bitmap, from * granularity, Math.min(size, (from + count) * granularity), bytes);
    hash.update(bytes);
  }
  return hash.digest('hex');
}

/** Sets in `bytes` the bits of what is dirty in [start, end). */
function setBits(bitmap: DirtyBitmap, start: number, end: number, bytes: Uint8Array): void {
  const { granularity } = bitmap;
  const next = (from: number) => bitmap.nextDirtyRun(from, undefined, end);
  for (let run = next(start); run !== undefined; run = next(run.offset + run.length)) {
    const last = Math.ceil((run.offset + run.length - start) / granularity);
    let bit = Math.floor((run.offset - start) / granularity);
    for (; bit < last && bit % 8 !== 0; bit++) bytes[bit >> 3] |= 1 << (bit & 7);
    const whole = Math.max(bit, last - (last % 8));
    bytes.fill(0xff, bit >> 3, whole >> 3);
    for (bit = whole; bit < last; bit++) bytes[bit >> 3] |= 1 << (bit & 7);
  }
}
