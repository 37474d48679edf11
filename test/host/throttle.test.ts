// Leaky buckets: rates, bursts, fairness, and QEMU's rules for the parameters.
import { expect } from 'chai';
import { RateLimit } from '../../src/host/rate-limit.js';
import { ThrottleGroup } from '../../src/host/throttle.js';
import { parseThrottleLimits, type ThrottleLimits } from '../../src/host/throttle-config.js';
import { BlockError } from '../../src/util/errors.js';
import { FakeClock } from '../support/fake-clock.js';

function failure(action: () => void): BlockError | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof BlockError) return error;
    throw error;
  }
  return undefined;
}

/** Admits requests back to back for `seconds`; returns how many went. */
async function drive(limits: ThrottleLimits, isWrite: boolean, bytes: number, seconds: number): Promise<number> {
  const clock = new FakeClock();
  const member = new ThrottleGroup(clock, limits).join();
  let count = 0;
  let stop = false;
  const work = (async () => {
    while (!stop) {
      const wait = member.admit(isWrite, bytes);
      if (wait !== undefined) await wait;
      count++;
    }
  })();
  await clock.advance(seconds * 1000);
  stop = true;
  const total = count;
  await clock.advance(100_000);
  await work;
  return total;
}

describe('throttle parameters', () => {
  const refused: [string, ThrottleLimits, string][] = [
    ['total with read', { 'bps-total': 10, 'bps-read': 5 }, 'cannot be used at the same time'],
    ['total with write, maxima', { 'iops-total': 1, 'iops-total-max': 10, 'iops-write-max': 5 }, 'cannot be used at'],
    ['a size without a rate', { 'iops-size': 4096 }, 'iops size requires an iops value to be set'],
    ['a rate too high', { 'bps-total': 10 ** 16 }, 'must be within [0, 1000000000000000]'],
    ['a negative rate', { 'iops-read': -1 }, 'must be within'],
    ['a fraction', { 'iops-read': 1.5 }, 'must be within'],
    ['a length without a burst', { 'bps-total': 10, 'bps-total-max-length': 5 }, 'burst length set without burst rate'],
    ['a burst without a rate', { 'bps-total-max': 5 }, 'bps_max/iops_max require corresponding bps/iops values'],
    ['a burst below the rate', { 'bps-read': 10, 'bps-read-max': 5 }, 'cannot be lower than bps/iops'],
    ['a burst of no length', { 'bps-read': 1, 'bps-read-max': 5, 'bps-read-max-length': 0 }, 'length cannot be 0'],
    [
      'a burst too large',
      { 'bps-total': 10, 'bps-total-max': 10 ** 12, 'bps-total-max-length': 100_000 },
      'burst length too high for this burst rate',
    ],
    ['a length too long', { 'bps-read': 1, 'bps-read-max': 5, 'bps-read-max-length': 2 ** 32 }, '[0, 4294967295]'],
  ];
  for (const [name, limits, message] of refused) {
    it(`refuse ${name}`, () => {
      const error = failure(() => parseThrottleLimits(limits));
      expect(error?.code).to.equal('invalid-argument');
      expect(error?.message).to.contain(message);
    });
  }

  it('that are refused leave the old ones in force', () => {
    const group = new ThrottleGroup(new FakeClock(), { 'bps-total': 10 });
    expect(failure(() => group.config({ 'bps-total-max': 5 }))?.code).to.equal('invalid-argument');
    expect(group.limits).to.deep.equal({ 'bps-total': 10 });
  });
});

describe('ThrottleGroup', () => {
  it('keeps an average of operations, with 100 ms of slack', async () => {
    expect(await drive({ 'iops-total': 100 }, false, 4096, 10)).to.be.within(1000, 1012);
  });

  it('keeps an average of bytes', async () => {
    expect(await drive({ 'bps-write': 1_000_000 }, true, 10_000, 5)).to.be.within(500, 512);
  });

  it('does not limit the other direction', () => {
    const member = new ThrottleGroup(new FakeClock(), { 'bps-write': 1000 }).join();
    for (let i = 0; i < 1000; i++) expect(member.admit(false, 1 << 20)).to.equal(undefined);
  });

  it('counts a large request as several operations', async () => {
    expect(await drive({ 'iops-total': 100, 'iops-size': 4096 }, false, 8192, 10)).to.be.within(500, 507);
    expect(await drive({ 'iops-total': 100, 'iops-size': 4096 }, false, 512, 10)).to.be.within(1000, 1012);
  });

  it('lets a burst of one second through at once, then keeps the average', async () => {
    expect(await drive({ 'iops-total': 100, 'iops-total-max': 2000 }, false, 1, 10)).to.be.within(3000, 3002);
  });

  it('holds a long burst to its rate (the numbers of throttle.txt, a tenth as large)', async () => {
    const limits = { 'iops-total': 10, 'iops-total-max': 200, 'iops-total-max-length': 60 };
    expect(await drive(limits, false, 1, 30)).to.be.within(6000, 6022);
    expect(await drive(limits, false, 1, 120)).to.be.within(12_000 + 1200, 12_000 + 1202);
  });

  it('forgets a burst after a pause long enough', async () => {
    const clock = new FakeClock();
    const group = new ThrottleGroup(clock, { 'iops-total': 10, 'iops-total-max': 100 });
    for (let i = 0; i < 101; i++) expect(group.tryAdmit(true, 1)).to.equal(true);
    expect(group.delayMs(true)).to.be.closeTo(100, 0.01);
    await clock.advance(10_000);
    for (let i = 0; i < 100; i++) {
      expect(group.delayMs(true)).to.equal(0);
      expect(group.tryAdmit(true, 1)).to.equal(true);
    }
  });

  it('keeps the order of one member and shares evenly between members', async () => {
    const clock = new FakeClock();
    const group = new ThrottleGroup(clock, { 'iops-total': 10 });
    const [a, b] = [group.join(), group.join()];
    const order: string[] = [];
    const ask = (name: string, member: typeof a): void => {
      const wait = member.admit(false, 1);
      if (wait === undefined) order.push(name);
      else void wait.then(() => order.push(name));
    };
    for (let i = 0; i < 6; i++) ask(`a${i}`, a);
    for (let i = 0; i < 3; i++) ask(`b${i}`, b);
    await clock.advance(2000);
    expect(order.join(' ')).to.equal('a0 a1 a2 b0 a3 b1 a4 b2 a5');
    expect(clock.pending).to.equal(0);
  });

  it('lets go who waits when limits are lifted', async () => {
    const clock = new FakeClock();
    const group = new ThrottleGroup(clock, { 'bps-total': 1 });
    const member = group.join();
    member.admit(true, 1_000_000);
    const wait = member.admit(true, 1);
    expect(wait).to.be.instanceOf(Promise);
    group.config({});
    await wait;
    expect(clock.pending).to.equal(0);
    expect(group.enabled).to.equal(false);
  });

  it('lets everything pass of a member that leaves', async () => {
    const clock = new FakeClock();
    const group = new ThrottleGroup(clock, { 'iops-total': 1 });
    const member = group.join();
    while (member.admit(true, 1) === undefined);
    const wait = member.admit(true, 1);
    expect(wait).to.be.instanceOf(Promise);
    member.close();
    await wait;
    expect(member.admit(true, 1)).to.equal(undefined);
    expect(clock.pending).to.equal(0);
  });
});

describe('RateLimit', () => {
  /** Chunks that go in `seconds`. */
  async function run(clock: FakeClock, limit: RateLimit, chunk: number, seconds: number): Promise<number> {
    const end = clock.now() + seconds * 1000;
    let count = 0;
    while (clock.now() < end) {
      const delay = limit.delayMs();
      if (delay > 0) {
        await clock.advance(delay);
        continue;
      }
      limit.charge(chunk);
      count++;
    }
    return count;
  }

  for (const [speed, chunk] of [
    [1_000_000, 1000],
    [1_000_000, 65536],
    [1_000_000, 4_000_000],
    [3, 10],
  ]) {
    it(`keeps ${speed} bytes/s with chunks of ${chunk}`, async () => {
      const seconds = 100;
      const clock = new FakeClock();
      const sent = (await run(clock, new RateLimit(clock, speed), chunk, seconds)) * chunk;
      expect(sent).to.be.within(speed * seconds * 0.99, speed * seconds * 1.02 + chunk);
    });
  }

  it('keeps the rate where every timer comes late', async () => {
    const clock = new FakeClock();
    const limit = new RateLimit(clock, 1_000_000);
    let sent = 0;
    while (clock.now() < 100_000) {
      const delay = limit.delayMs();
      if (delay > 0) {
        await clock.advance(delay + 7);
        continue;
      }
      limit.charge(50_000);
      sent += 50_000;
    }
    expect(sent).to.be.within(99_500_000, 100_500_000);
  });

  it('lets no more than two slices in at once after a late timer', async () => {
    const clock = new FakeClock();
    const limit = new RateLimit(clock, 1_000_000);
    limit.charge(100_000);
    await clock.advance(199);
    let sent = 0;
    for (; limit.delayMs() === 0; sent += 50_000) limit.charge(50_000);
    expect(sent).to.be.within(100_000, 200_000);
  });

  it('never waits without a speed', () => {
    const limit = new RateLimit(new FakeClock());
    for (let i = 0; i < 10; i++) limit.charge(1e9);
    expect(limit.delayMs()).to.equal(0);
  });

  it('pays what it owes at the new speed', async () => {
    const clock = new FakeClock();
    const limit = new RateLimit(clock, 1000);
    limit.charge(10_000);
    await clock.advance(1000);
    expect(limit.delayMs()).to.be.closeTo(9000, 0.01);
    limit.setSpeed(9000);
    expect(limit.delayMs()).to.be.closeTo(1000, 0.01);
    limit.setSpeed(0);
    expect(limit.delayMs()).to.equal(0);
  });

  it('lets in when it was paid for, and an aborted one at once, uncharged', async () => {
    const clock = new FakeClock();
    const limit = new RateLimit(clock, 1000);
    await limit.admit(5000);
    const order: string[] = [];
    const stop = new AbortController();
    const aborted = limit.admit(7000, stop.signal).then(() => order.push('aborted'));
    stop.abort();
    await aborted;
    const paid = limit.admit(1000).then(() => order.push('paid'));
    await clock.advance(5001);
    await paid;
    expect(order).to.deep.equal(['aborted', 'paid']);
    expect(limit.delayMs()).to.be.closeTo(1000, 2);
  });

  it('does not save up what was not used', async () => {
    const clock = new FakeClock();
    const limit = new RateLimit(clock, 1000);
    await clock.advance(60_000);
    limit.charge(100);
    expect(limit.delayMs()).to.be.closeTo(100, 0.01);
  });

  it('refuses what is no speed', () => {
    for (const speed of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(failure(() => new RateLimit(new FakeClock(), speed))?.code).to.equal('invalid-argument');
      expect(failure(() => new RateLimit(new FakeClock()).setSpeed(speed))?.code).to.equal('invalid-argument');
    }
  });
});
