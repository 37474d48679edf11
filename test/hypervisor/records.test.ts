// The judge of the guest tests, judged: which states of a worker's file it takes for one that can be.

import { expect } from 'chai';
import { BLOCK, checkRecords, placeOf, recordsIn } from './guest/records.js';

const SEED = 5;
const BLOCKS = 256;

/** The file after records 1 to `last`. */
function after(last: number): Uint32Array {
  const records = new Uint32Array(BLOCKS);
  for (let n = 1; n <= last; n++) {
    const { first, count } = placeOf(SEED, n, BLOCKS);
    records.fill(n, first, first + count);
  }
  return records;
}

function check(observed: Uint32Array, low: number, high: number, batch = 1): () => void {
  return () => checkRecords(observed, { seed: SEED, blocks: BLOCKS, batch, low, high });
}

/** A record of several blocks after `from`, all of which the later ones up to `to` leave alone. */
function wholeRecord(from: number, to: number): { n: number; first: number; count: number } {
  for (let n = from; ; n++) {
    const { first, count } = placeOf(SEED, n, BLOCKS);
    const state = after(to).subarray(first, first + count);
    if (count > 1 && state.every((at) => at === n)) return { n, first, count };
  }
}

describe('the check of a guest file', () => {
  it('takes every moment between what was durable and what was begun', () => {
    for (const last of [20, 25, 30]) expect(check(after(last), 20, 30)).not.to.throw();
  });

  it('takes a part of the last record, and of the last batch', () => {
    const { n, first } = wholeRecord(20, 20);
    const torn = after(n);
    torn[first] = after(n - 1)[first];
    expect(check(torn, n - 1, n)).not.to.throw();
    const batch = after(24);
    const { first: missing, count } = placeOf(SEED, 22, BLOCKS);
    batch.set(after(16).subarray(missing, missing + count), missing);
    expect(check(batch, 16, 24, 8)).not.to.throw();
  });

  it('misses a durable record, a block of one, and one before the last', () => {
    expect(check(after(19), 20, 30)).to.throw('holds record');
    const { n, first } = wholeRecord(10, 30);
    const lost = after(30);
    lost[first] = after(n - 1)[first];
    expect(check(lost, 30, 30)).to.throw(`block ${first} holds record`);
    expect(check(lost, n - 1, 30)).to.throw(`block ${first} holds record`);
  });

  it('finds what was begun after the moment', () => {
    expect(check(after(31), 20, 30)).to.throw('record 31 is there');
  });

  it('finds a block whose content is not whole', () => {
    const content = new Uint8Array(BLOCKS * BLOCK);
    expect(recordsIn(content, SEED, BLOCKS)).to.deep.equal(new Uint32Array(BLOCKS));
    content[3 * BLOCK + 100] = 1;
    expect(() => recordsIn(content, SEED, BLOCKS)).to.throw('block 3 holds neither');
  });
});
