// Range locks: overlapping requests wait in order, others pass.

import { expect } from 'chai';
import { LockedRange, RangeLock } from '../../src/util/range-lock.js';

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

describe('RangeLock, shared', () => {
  /** Acquires, and says by a flag when it is held. */
  function asked(lock: RangeLock, start: number, end: number, mode: 'exclusive' | 'shared') {
    const request = { held: false, done: lock.acquire(start, end, mode) };
    request.done.then(() => {
      request.held = true;
    });
    return request;
  }

  it('lets shared ranges overlap', async () => {
    const lock = new RangeLock();
    const a = await lock.acquire(0, 10, 'shared');
    const b = await lock.acquire(5, 15, 'shared');
    expect(lock.size).to.equal(2);
    lock.release(a);
    lock.release(b);
    expect(lock.free(0, 15)).to.equal(true);
  });

  it('makes an exclusive range wait for every shared one that it overlaps', async () => {
    const lock = new RangeLock();
    const a = await lock.acquire(0, 10, 'shared');
    const b = await lock.acquire(5, 15, 'shared');
    const alone = asked(lock, 8, 9, 'exclusive');
    await settle();
    expect(alone.held).to.equal(false);
    lock.release(a);
    await settle();
    expect(alone.held).to.equal(false);
    lock.release(b);
    await settle();
    expect(alone.held).to.equal(true);
  });

  it('does not let shared ranges overtake an exclusive one that waits', async () => {
    const lock = new RangeLock();
    const first = await lock.acquire(0, 10, 'shared');
    const alone = asked(lock, 0, 10, 'exclusive');
    const late = asked(lock, 2, 4, 'shared');
    await settle();
    expect([alone.held, late.held]).to.deep.equal([false, false]);
    expect(lock.tryShare(new LockedRange(2, 4, true))).to.equal(false);
    lock.release(first);
    lock.release(await alone.done);
    await settle();
    expect(late.held).to.equal(true);
  });

  it('takes a shared range at once where no exclusive one is', async () => {
    const lock = new RangeLock();
    await lock.acquire(0, 10);
    const range = new LockedRange(10, 20, true);
    expect(lock.tryShare(range)).to.equal(true);
    lock.release(range);
    range.start = 9;
    expect(lock.tryShare(range)).to.equal(false);
    expect(lock.size).to.equal(1);
  });

  it('gives an empty range to anybody', async () => {
    const lock = new RangeLock();
    await lock.acquire(0, 10);
    const empty = await lock.acquire(5, 5);
    lock.release(empty);
    expect(lock.free(5, 5)).to.equal(true);
  });

  it('keeps what a model allows, in the order of asking (seeded)', async () => {
    const lock = new RangeLock();
    let seed = 20261126;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    const active: { id: number; start: number; end: number; shared: boolean; held: boolean }[] = [];
    const clash = (a: (typeof active)[0], b: (typeof active)[0]) =>
      !(a.shared && b.shared) && a.start < b.end && b.start < a.end;
    const requests = Array.from({ length: 1000 }, async (_, id) => {
      for (let i = random(50); i > 0; i--) await null;
      const start = random(60);
      const end = start + 1 + random(random(4) === 0 ? 30 : 4);
      const mine = { id, start, end, shared: random(2) === 0, held: false };
      active.push(mine);
      const range = await lock.acquire(start, end, mine.shared ? 'shared' : 'exclusive');
      mine.held = true;
      const earlier = active.slice(0, active.indexOf(mine)).find((other) => clash(other, mine));
      expect(earlier, `request ${id} overtakes`).to.equal(undefined);
      for (let i = random(6); i > 0; i--) await null;
      const inside = active.find((other) => other !== mine && other.held && clash(other, mine));
      expect(inside, `request ${id} is not alone`).to.equal(undefined);
      active.splice(active.indexOf(mine), 1);
      lock.release(range);
    });
    await Promise.all(requests);
    expect(lock.size).to.equal(0);
    expect(lock.free(0, 100)).to.equal(true);
  });

  it('grants many requests for one range without looking at each of them again', async () => {
    const lock = new RangeLock();
    const order: number[] = [];
    const all = Array.from({ length: 20_000 }, (_, id) => lock.with(0, 8, async () => void order.push(id)));
    await Promise.all(all);
    expect(order).to.deep.equal(order.slice().sort((a, b) => a - b));
    expect(lock.size).to.equal(0);
  }).timeout(5000);
});
