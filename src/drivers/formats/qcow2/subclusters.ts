// Bitmaps of subclusters: unsigned 32-bit numbers, bit n stands for subcluster n of a cluster.

import { SUBCLUSTERS } from './types.js';

/** The bits [first, first + count). */
export function bitsOf(first: number, count: number): number {
  return (count >= SUBCLUSTERS ? 0xffff_ffff : ((1 << count) - 1) << first) >>> 0;
}

/** Number of set bits from bit `first` on, up to the first one that is clear. */
export function setFrom(bits: number, first: number): number {
  const clear = ~(bits >>> first);
  return clear === 0 ? SUBCLUSTERS : 31 - Math.clz32(clear & -clear);
}

/** Number of clear bits from bit `first` on, below `end`. */
export function clearFrom(bits: number, first: number, end: number): number {
  const rest = bits >>> first;
  return rest === 0 ? end - first : Math.min(end - first, 31 - Math.clz32(rest & -rest));
}
