// Rate and time left, over a clock that the test moves.
import { expect } from 'chai';
import { Progress } from '../../src/jobs/progress.js';
import { FakeClock } from '../support/fake-clock.js';

describe('job progress', () => {
  it('tells the rate and the time that is left', async () => {
    const clock = new FakeClock();
    const progress = new Progress(clock);
    progress.setTotal(100_000);
    progress.resume();
    expect(progress.snapshot()).to.deep.equal({
      current: 0,
      total: 100_000,
      ratio: 0,
      moved: 0,
      bytesPerSecond: undefined,
      etaMs: undefined,
    });
    for (let i = 0; i < 100; i++) {
      await clock.advance(100);
      progress.advance(100);
    }
    const { bytesPerSecond, etaMs, ratio } = progress.snapshot();
    expect(bytesPerSecond).to.be.closeTo(1000, 50);
    expect(etaMs).to.be.closeTo(90_000, 5000);
    expect(ratio).to.equal(0.1);
  });

  it('follows a change of speed, but not at once', async () => {
    const clock = new FakeClock();
    const progress = new Progress(clock);
    progress.setTotal(1e9);
    progress.resume();
    const go = async (seconds: number, bytes: number): Promise<number> => {
      for (let i = 0; i < seconds * 4; i++) {
        await clock.advance(250);
        progress.advance(bytes / 4);
      }
      return progress.snapshot().bytesPerSecond ?? 0;
    };
    expect(await go(20, 1000)).to.be.closeTo(1000, 1);
    expect(await go(1, 9000)).to.be.within(1500, 4000);
    expect(await go(60, 9000)).to.be.closeTo(9000, 10);
  });

  it('does not carry the burst at the beginning of a limited job for long', async () => {
    const clock = new FakeClock();
    const progress = new Progress(clock);
    progress.setTotal(1e9);
    progress.resume();
    await clock.advance(250);
    progress.advance(1000);
    for (let i = 0; i < 16; i++) {
      await clock.advance(250);
      progress.advance(250);
    }
    // 5,000 bytes in 4.25 s.
    expect(progress.snapshot().bytesPerSecond).to.be.closeTo(5000 / 4.25, 30);
  });

  it('does not count the time of a pause', async () => {
    const clock = new FakeClock();
    const progress = new Progress(clock);
    progress.setTotal(4000);
    progress.resume();
    await clock.advance(1000);
    progress.advance(1000);
    progress.pause();
    await clock.advance(1_000_000);
    expect(progress.snapshot().bytesPerSecond).to.equal(1000);
    progress.resume();
    await clock.advance(1000);
    progress.advance(1000);
    expect(progress.snapshot()).to.deep.equal({
      current: 2000,
      total: 4000,
      ratio: 0.5,
      moved: 2000,
      bytesPerSecond: 1000,
      etaMs: 2000,
    });
  });

  it('counts what is passed over as done, and in no rate', async () => {
    const clock = new FakeClock();
    const progress = new Progress(clock);
    progress.setTotal(1_000_000);
    progress.resume();
    await clock.advance(250);
    progress.advance(400_000, 0);
    expect(progress.snapshot()).to.include({ current: 400_000, moved: 0, bytesPerSecond: undefined, etaMs: undefined });
    for (let i = 0; i < 10; i++) {
      await clock.advance(250);
      progress.advance(10_000, 2500);
    }
    const { current, moved, bytesPerSecond, etaMs } = progress.snapshot();
    expect({ current, moved }).to.deep.equal({ current: 500_000, moved: 25_000 });
    expect(bytesPerSecond).to.be.closeTo(10_000, 1);
    // As few of the other half are to be copied.
    expect(etaMs).to.be.closeTo(2500, 1);
  });

  it('keeps current within total, and an empty job is done', () => {
    const progress = new Progress(new FakeClock());
    expect(progress.snapshot()).to.include({ ratio: 1, etaMs: 0 });
    progress.setTotal(10);
    progress.advance(15);
    expect(progress.total).to.equal(15);
    progress.setTotal(3);
    expect(progress.total).to.equal(15);
    progress.setRemaining(5);
    progress.addTotal(10);
    expect(progress.total).to.equal(30);
  });
});
