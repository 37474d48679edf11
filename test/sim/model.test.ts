import { expect } from 'chai';
import { decodeSectors, encodeSectors, GuestModel } from './model.js';

describe('guest model of the simulation', () => {
  it('allows old and new while a write is in flight, and the new one only when it is answered', () => {
    const model = new GuestModel([1, 1]);
    const write = model.begin(0, [2]);
    expect(model.allowedNow(0)).to.deep.equal([1, 2]);
    model.end(write, 'sure');
    expect(model.allowedNow(0)).to.deep.equal([2]);
    expect(model.allowedAfterCrash(0)).to.deep.equal([1, 2]);
    expect(model.allowedAfterCrash(1)).to.deep.equal([1]);
  });

  it('a flush settles what was answered before it was issued, and no more', () => {
    const model = new GuestModel([1, 1]);
    model.end(model.begin(0, [2]), 'sure');
    const flush = model.beginFlush();
    model.end(model.begin(0, [3]), 'sure');
    model.end(model.begin(1, [4]), 'sure');
    model.endFlush(flush);
    expect(model.allowedAfterCrash(0)).to.deep.equal([2, 3]);
    expect(model.allowedAfterCrash(1)).to.deep.equal([1, 4]);
  });

  it('a failed write stays uncertain until something sure is flushed', () => {
    const model = new GuestModel([1]);
    model.end(model.begin(0, [2]), 'maybe');
    model.endFlush(model.beginFlush());
    expect(model.allowedNow(0)).to.deep.equal([1, 2]);
    expect(model.allowedAfterCrash(0)).to.deep.equal([1, 2]);
    model.end(model.begin(0, [3]), 'sure');
    expect(model.allowedNow(0)).to.deep.equal([3]);
    model.endFlush(model.beginFlush());
    expect(model.allowedAfterCrash(0)).to.deep.equal([3]);
  });

  it('encodes sectors and finds torn ones', () => {
    const content = encodeSectors([7, 0, 9]);
    expect(decodeSectors(content)).to.deep.equal([7, 0, 9]);
    content[600] = 1;
    expect(decodeSectors(content)).to.deep.equal([7, -1, 9]);
  });
});
