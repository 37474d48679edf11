// Range locks: overlapping requests wait in order, others pass.

import { expect } from 'chai';
import { RangeLock } from '../../src/block/range-lock.js';

/** Runs `start..end` through the lock; the log gets `+name` when it is inside, `-name` when it leaves. */
function visitor(lock: RangeLock, log: string[], name: string, start: number, end: number) {
  let leave: () => void = () => {};
  const stay = new Promise<void>((resolve) => {
    leave = resolve;
  });
  const done = lock.with(start, end, async () => {
    log.push(`+${name}`);
    await stay;
    log.push(`-${name}`);
  });
  return { leave, done };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await null;
}

describe('RangeLock', () => {
  it('lets ranges that only touch pass each other', async () => {
    const lock = new RangeLock();
    const log: string[] = [];
    const a = visitor(lock, log, 'a', 0, 10);
    const b = visitor(lock, log, 'b', 10, 20);
    await settle();
    expect(log).to.deep.equal(['+a', '+b']);
    a.leave();
    b.leave();
    await Promise.all([a.done, b.done]);
  });

  it('makes an overlapping range wait', async () => {
    const lock = new RangeLock();
    const log: string[] = [];
    const a = visitor(lock, log, 'a', 0, 10);
    const b = visitor(lock, log, 'b', 9, 11);
    await settle();
    expect(log).to.deep.equal(['+a']);
    a.leave();
    await settle();
    expect(log).to.deep.equal(['+a', '-a', '+b']);
    b.leave();
    await b.done;
    expect(lock.size).to.equal(0);
  });

  it('does not let a later request overtake an earlier one that it overlaps', async () => {
    const lock = new RangeLock();
    const log: string[] = [];
    const a = visitor(lock, log, 'a', 0, 10);
    const wide = visitor(lock, log, 'wide', 5, 30);
    const late = visitor(lock, log, 'late', 20, 25);
    await settle();
    expect(log).to.deep.equal(['+a']);
    for (const one of [a, wide, late]) one.leave();
    await Promise.all([a.done, wide.done, late.done]);
    expect(log.indexOf('+wide')).to.be.below(log.indexOf('+late'));
  });

  it('releases the range when the action fails', async () => {
    const lock = new RangeLock();
    const failure = await lock.with(0, 1, () => Promise.reject(new Error('no'))).catch((error: Error) => error.message);
    expect(failure).to.equal('no');
    expect(lock.free(0, 1)).to.equal(true);
  });

  it('never has two holders of one byte (seeded)', async () => {
    const lock = new RangeLock();
    const held = new Uint8Array(64);
    let seed = 20261120;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    const visits = Array.from({ length: 500 }, async () => {
      const start = random(60);
      const end = start + 1 + random(4);
      await lock.with(start, end, async () => {
        for (let i = start; i < end; i++) expect(held[i]++, `byte ${i}`).to.equal(0);
        for (let i = random(5); i >= 0; i--) await null;
        for (let i = start; i < end; i++) held[i]--;
      });
    });
    await Promise.all(visits);
    expect(lock.size).to.equal(0);
  });
});
