// BitTree against an array of booleans, and at sizes that no array holds.
import { expect } from 'chai';
import { BitTree, MAX_TREE_BITS } from '../../src/util/bit-tree.js';
import { countWords, fillBits, findBit, popcount } from '../../src/util/bit-words.js';
import { BlockError } from '../../src/util/errors.js';

const LIMIT = 1 << 30;

function codeOf(action: () => void): string {
  try {
    action();
  } catch (error) {
    return error instanceof BlockError ? error.code : String(error);
  }
  return 'none';
}

/** mulberry32 */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

describe('bit words', () => {
  it('counts the bits of a word', () => {
    for (const word of [0, 1, 0x80000000, 0xffffffff, 0x12345678, 0xaaaaaaaa]) {
      expect(popcount(word)).to.equal([...word.toString(2)].filter((c) => c === '1').length);
    }
  });

  it('fills each possible run of two and a half words', () => {
    for (let from = 0; from <= 80; from++) {
      for (let to = from; to <= 80; to++) {
        const words = new Uint32Array(3);
        expect(fillBits(words, from, to, true)).to.equal(to - from);
        expect(countWords(words)).to.equal(to - from);
        if (to > from) expect(findBit(words, 0, true)).to.equal(from);
        if (to > from) expect(findBit(words, from, false)).to.equal(to);
        expect(fillBits(words, 0, 96, false)).to.equal(from - to);
      }
    }
  });
});

describe('BitTree', () => {
  for (const length of [1, 31, 32768, 32769, 200000]) {
    it(`agrees with an array of ${length} bits through random fills, resizes and searches`, () => {
      const seed = 1000 + length;
      const random = generator(seed);
      let model = new Uint8Array(length);
      const tree = new BitTree(length, LIMIT);
      for (let step = 0; step < 300; step++) {
        const from = random(model.length);
        const to = from + random(random(3) === 0 ? model.length - from + 1 : Math.min(70, model.length - from + 1));
        const value = random(2) === 0;
        if (random(25) === 0) {
          const size = 1 + random(length * 2);
          const next = new Uint8Array(size);
          next.set(model.subarray(0, size));
          model = next;
          tree.resize(size);
        } else {
          model.fill(value ? 1 : 0, from, to);
          tree.fill(from, to, value);
        }
        const probe = random(model.length);
        const note = `seed ${seed} step ${step}`;
        expect(tree.count, note).to.equal(model.reduce((sum, bit) => sum + bit, 0));
        expect(tree.find(probe, true), note).to.equal(model.indexOf(1, probe));
        expect(tree.find(probe, false), note).to.equal(model.indexOf(0, probe));
        expect(tree.get(probe), note).to.equal(model[probe] === 1);
      }
    });
  }

  it('unites with another tree, also one of another height', () => {
    const random = generator(7);
    for (let round = 0; round < 40; round++) {
      const length = 40000 + random(100000);
      const a = new BitTree(round % 2 ? 10 : length, LIMIT);
      a.resize(length);
      const b = new BitTree(round % 3 ? length : 40_000_000, LIMIT);
      b.resize(length);
      const model = new Uint8Array(length);
      for (const tree of [a, b]) {
        for (let i = 0; i < 30; i++) {
          const from = random(length);
          const to = Math.min(length, from + random(i === 0 ? length : 3000));
          tree.fill(from, to, true);
          model.fill(1, from, to);
        }
      }
      const countB = b.count;
      a.or(b);
      expect(a.count, `round ${round}`).to.equal(model.reduce((sum, bit) => sum + bit, 0));
      b.clear();
      b.fill(0, length, true);
      a.fill(0, length, false);
      expect(countB).to.be.greaterThan(0);
      expect(a.count).to.equal(0);
      expect(b.count).to.equal(length);
    }
  });

  it('sets and searches 2^45 bits for the price of a few nodes', () => {
    const tree = new BitTree(MAX_TREE_BITS, LIMIT);
    tree.fill(0, MAX_TREE_BITS, true);
    expect(tree.memory).to.equal(0);
    tree.fill(2 ** 44 + 5, 2 ** 44 + 6, false);
    expect(tree.find(3, false)).to.equal(2 ** 44 + 5);
    expect(tree.find(2 ** 44 + 5, true)).to.equal(2 ** 44 + 6);
    expect(tree.count).to.equal(MAX_TREE_BITS - 1);
    expect(tree.memory).to.be.lessThan(64 * 1024);
  });

  it('gives memory back when runs become equal', () => {
    const tree = new BitTree(10_000_000, LIMIT);
    for (let i = 0; i < 10_000_000; i += 40_000) tree.fill(i, i + 1, true);
    expect(tree.memory).to.be.greaterThan(200 * 4096);
    tree.fill(0, 10_000_000, false);
    expect(tree.memory).to.equal(0);
  });

  it('refuses more memory than its limit and changes nothing then', () => {
    const tree = new BitTree(2 ** 30, 40_000);
    let failed = -1;
    for (let i = 0; failed < 0 && i < 2 ** 30; i += 2 ** 20) {
      const before = tree.count;
      if (codeOf(() => tree.fill(i, i + 1, true)) === 'limit') {
        failed = i;
        expect(tree.count).to.equal(before);
        expect(tree.get(i)).to.equal(false);
      }
    }
    expect(failed).to.be.greaterThan(2 ** 20);
    expect(tree.memory).to.be.at.most(40_000);
    tree.fill(1, 2, true);
    expect(tree.get(1), 'a node that is there can still be used').to.equal(true);
  });

  it('refuses more bits than it can address', () => {
    expect(codeOf(() => new BitTree(MAX_TREE_BITS + 1, LIMIT))).to.equal('limit');
  });
});
