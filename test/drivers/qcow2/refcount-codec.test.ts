import { expect } from 'chai';
import {
  countRefcounts,
  fillRefcounts,
  getRefcount,
  scanRefcounts,
  setRefcount,
} from '../../../src/drivers/formats/qcow2/refcount-codec.js';
import { viewOf } from '../../../src/util/bytes.js';

const BYTES = 512;

describe('qcow2: refcounts in a block', () => {
  for (let order = 0; order <= 6; order++) {
    const entries = (BYTES * 8) / 2 ** order;

    it(`of ${2 ** order} bits are set, found and counted`, () => {
      const block = new Uint8Array(BYTES);
      const view = viewOf(block);
      const max = order >= 5 ? 2 ** 31 : 2 ** (2 ** order) - 1;
      setRefcount(view, order, 3, max);
      fillRefcounts(block, order, 10, 5, 1);
      setRefcount(view, order, entries - 1, 1);
      expect([2, 3, 4, 10, 14, 15, entries - 1].map((index) => getRefcount(view, order, index))).to.deep.equal([
        0,
        max,
        0,
        1,
        1,
        0,
        1,
      ]);
      expect(scanRefcounts(view, order, 0, entries, false)).to.equal(3);
      expect(scanRefcounts(view, order, 10, entries, true)).to.equal(15);
      expect([0, 3, 4, 12, entries - 1, entries].map((count) => countRefcounts(block, order, count))).to.deep.equal([
        0, 0, 1, 3, 6, 7,
      ]);
    });
  }
});
