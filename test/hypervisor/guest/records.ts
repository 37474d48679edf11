// The workload's records: which blocks record N of a seed covers and what is in them (as `agent.c` has it), and what a file may hold
// when records up to some number are known to be durable.
//
//   durable          in flight           not begun
//   1 ........ low | low+1 ....... high | ...
//
// Records are written in order, in batches; a batch is begun when the one before it is durable. So whatever the moment, a file holds
// all records of some whole batches, and of the next batch any blocks, and nothing later: the file is checked for that, which is more
// than that nothing acknowledged is lost.

export const BLOCK = 4096;
const LONGEST = 16;
const MAGIC = 0x44575254;

function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The blocks [first, first + count) of record `n`. */
export function placeOf(seed: number, n: number, blocks: number): { first: number; count: number } {
  const a = mix(seed ^ mix(n));
  const first = a % blocks;
  return { first, count: Math.min(1 + (mix(a) % LONGEST), blocks - first) };
}

function fill(words: Uint32Array, seed: number, block: number, n: number): void {
  let x = mix(seed ^ mix(block ^ mix(n))) | 1;
  words.set([MAGIC, seed, block, n]);
  for (let i = 4; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
}

/** Which record each block of a file's content holds, 0 for none. Throws where a block holds what no record has put there. */
export function recordsIn(content: Uint8Array, seed: number, blocks: number): Uint32Array {
  const records = new Uint32Array(blocks);
  const expected = new Uint32Array(BLOCK / 4);
  const bytes = new Uint8Array(expected.buffer);
  const padded = new Uint8Array(BLOCK);
  for (let block = 0; block < blocks; block++) {
    padded.fill(0);
    padded.set(content.subarray(block * BLOCK, (block + 1) * BLOCK));
    const n = new DataView(padded.buffer).getUint32(12, true);
    if (n === 0) expected.fill(0);
    else fill(expected, seed, block, n);
    if (Buffer.compare(padded, bytes) !== 0) throw new Error(`block ${block} holds neither zeroes nor a record`);
    records[block] = n;
  }
  return records;
}

/** What must be true of a file's records: all up to `low` are there, none after `high`, and they are those of one moment. */
export interface Window {
  seed: number;
  blocks: number;
  /** Records in a batch. */
  batch: number;
  low: number;
  high: number;
}

/** Throws, with the first block that tells, where `observed` is not a state that the file can have had within the window. */
export function checkRecords(observed: Uint32Array, { seed, blocks, batch, low, high }: Window): void {
  let last = 0;
  for (const n of observed) last = Math.max(last, n);
  if (last > high) throw new Error(`record ${last} is there, and ${high} was the last to be begun`);
  // All before the batch that the last record is in must be there.
  const whole = Math.max(low, Math.floor((last - 1) / batch) * batch);
  const must = new Uint32Array(blocks);
  for (let n = 1; n <= whole; n++) {
    const { first, count } = placeOf(seed, n, blocks);
    must.fill(n, first, first + count);
  }
  const may = new Map<number, Set<number>>();
  for (let n = whole + 1; n <= last; n++) {
    const { first, count } = placeOf(seed, n, blocks);
    for (let block = first; block < first + count; block++) may.set(block, (may.get(block) ?? new Set()).add(n));
  }
  for (let block = 0; block < blocks; block++) {
    const n = observed[block];
    if (n === must[block] || may.get(block)?.has(n)) continue;
    throw new Error(
      `block ${block} holds record ${n}, not ${must[block]}; durable up to ${low}, last seen ${last}, last begun ${high}`,
    );
  }
}
