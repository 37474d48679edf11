// The list of what a salvage could not read: bounded, and nothing is left out.

import { expect } from 'chai';
import { RangeLog } from '../../src/block/salvage.js';

describe('ranges that could not be read', () => {
  it('are joined where they are too many, whatever their reasons', () => {
    const log = new RangeLog();
    const count = 300_000;
    for (let i = 0; i < count; i++) log.add(i * 1024, 512, i % 2 === 0 ? 'bad-entry' : 'beyond-end', i * 512);
    const ranges = log.ranges();
    expect(ranges.length).to.be.below(count);
    let next = 0;
    for (const { offset, length } of ranges) {
      // A gap is where the disk was read.
      expect(offset - next).to.be.at.most(512);
      next = offset + length;
    }
    expect(next).to.equal((count - 1) * 1024 + 512);
  });
});
