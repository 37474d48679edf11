// Integers of fields: what is written is what is read, and what a view reads.

import { expect } from 'chai';
import {
  getBe16,
  getBe32,
  getBe64,
  HIGH_WORD,
  putBe16,
  putBe32,
  putBe64,
  putViewBe64,
  putViewLe64,
  viewBe64,
  viewLe64,
  viewOf,
} from '../../src/util/bytes.js';

const VALUES_64 = [0, 1, 0xffff_ffff, HIGH_WORD, HIGH_WORD + 1, 2 ** 40 + 12345, Number.MAX_SAFE_INTEGER];

describe('big-endian fields', () => {
  it('of 16 bits are those of a view', () => {
    for (const value of [0, 1, 0x8000, 0xffff]) {
      const bytes = new Uint8Array(4);
      putBe16(bytes, 1, value);
      expect(getBe16(bytes, 1)).to.equal(value);
      expect(viewOf(bytes).getUint16(1)).to.equal(value);
    }
  });

  it('of 32 bits are those of a view, and never negative', () => {
    for (const value of [0, 1, 0x8000_0000, 0xffff_ffff]) {
      const bytes = new Uint8Array(8);
      putBe32(bytes, 3, value);
      expect(getBe32(bytes, 3)).to.equal(value);
      expect(viewOf(bytes).getUint32(3)).to.equal(value);
    }
  });

  it('of 64 bits are exact up to the largest safe integer', () => {
    for (const value of VALUES_64) {
      const bytes = new Uint8Array(10);
      putBe64(bytes, 2, value);
      expect(getBe64(bytes, 2)).to.equal(value);
      expect(viewOf(bytes).getBigUint64(2)).to.equal(BigInt(value));
      const other = new Uint8Array(10);
      putViewBe64(viewOf(other), 2, value);
      expect(other).to.deep.equal(bytes);
      expect(viewBe64(viewOf(bytes), 2)).to.equal(value);
      putViewLe64(viewOf(other), 1, value);
      expect(viewOf(other).getBigUint64(1, true)).to.equal(BigInt(value));
      expect(viewLe64(viewOf(other), 1)).to.equal(value);
    }
  });

  it('that no number holds are not safe integers', () => {
    const bytes = new Uint8Array(8).fill(0xff);
    expect(Number.isSafeInteger(getBe64(bytes, 0))).to.equal(false);
  });

  it('of a part of a buffer are counted from its beginning', () => {
    const whole = Uint8Array.of(9, 9, 0, 0, 1, 2);
    expect(viewOf(whole.subarray(2)).getUint32(0)).to.equal(0x0102);
    expect(viewOf(whole.subarray(2)).byteLength).to.equal(4);
  });
});
