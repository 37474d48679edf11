// Arithmetic of sizes, at the edges of what a number holds.
import { expect } from 'chai';
import { isPowerOfTwo, roundDown, roundUp, SECTOR_BYTES } from '../../src/util/numbers.js';

describe('numbers', () => {
  it('are rounded up to whole sectors', () => {
    const rounded = [0, 1, 512, 513, 2 ** 52 + 1].map((size) => roundUp(size, SECTOR_BYTES));
    expect(rounded).to.deep.equal([0, 512, 512, 1024, 2 ** 52 + 512]);
  });

  it('are rounded down to whole sectors', () => {
    const rounded = [0, 1, 512, 1023, 2 ** 52 + 1].map((size) => roundDown(size, SECTOR_BYTES));
    expect(rounded).to.deep.equal([0, 0, 512, 512, 2 ** 52]);
  });

  it('are powers of two, or not', () => {
    for (let bit = 0; bit <= 53; bit++) expect(isPowerOfTwo(2 ** bit), `2^${bit}`).to.equal(true);
    for (const value of [-1, 0, 0.5, 3, 2 ** 31 - 1, 2 ** 52 + 1, 2 ** 53 - 1, Number.NaN]) {
      expect(isPowerOfTwo(value), String(value)).to.equal(false);
    }
  });
});
