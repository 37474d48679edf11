// Runs of bits in a Uint32Array: set, clear, count, find. Bit i is bit (i & 31) of word (i >>> 5).

export function popcount(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return (Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24) | 0;
}

export function countWords(words: Uint32Array): number {
  let count = 0;
  for (let i = 0; i < words.length; i++) count += popcount(words[i]);
  return count;
}

/** Bits `low`..31 of a word. */
const fromBit = (low: number): number => -1 << low;
/** Bits 0..`high` - 1 of a word, 1 <= high <= 32. */
const belowBit = (high: number): number => -1 >>> (32 - high);

/** Sets bits [from, to) to `value`; returns by how much the number of set bits changed. */
export function fillBits(words: Uint32Array, from: number, to: number, value: boolean): number {
  if (from >= to) return 0;
  const first = from >>> 5;
  const last = (to - 1) >>> 5;
  let change = 0;
  for (let i = first; i <= last; i++) {
    let mask = -1;
    if (i === first) mask &= fromBit(from & 31);
    if (i === last) mask &= belowBit(((to - 1) & 31) + 1);
    const before = words[i];
    const after = value ? before | mask : before & ~mask;
    words[i] = after;
    change += popcount(after) - popcount(before);
  }
  return change;
}

/** First bit at or after `from` that is `value`, -1 where there is none. */
export function findBit(words: Uint32Array, from: number, value: boolean): number {
  const flip = value ? 0 : -1;
  let i = from >>> 5;
  if (i >= words.length) return -1;
  let word = (words[i] ^ flip) & fromBit(from & 31);
  while (word === 0) {
    if (++i === words.length) return -1;
    word = words[i] ^ flip;
  }
  return i * 32 + 31 - Math.clz32(word & -word);
}
