// Pauses that really quiesce, drains, the speed limit while running, and the error policy.
import { expect } from 'chai';
import type { JobContext } from '../../src/jobs/driver.js';
import type { BlockdevOnError } from '../../src/schema/generated/types.js';
import { BlockError } from '../../src/util/errors.js';
import { settle } from '../support/fake-clock.js';
import { codeOf, FakeDriver, makeWorld } from './fake-job.js';

/** `workers` copy chunks of a second each; `state.inFlight` counts those under way. */
function copier(workers: number, chunks: number, state = { inFlight: 0, most: 0, done: 0 }) {
  const run = async (ctx: JobContext): Promise<void> => {
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < chunks) {
        next++;
        await ctx.throttle(1000);
        await ctx.enterIo();
        state.inFlight++;
        state.most = Math.max(state.most, state.inFlight);
        await new Promise<void>((resolve) => ctx.clock.timer(1000, resolve));
        state.inFlight--;
        ctx.leaveIo();
        state.done++;
        ctx.progress.advance(1000);
      }
    };
    await Promise.all(Array.from({ length: workers }, work));
  };
  return { run, state };
}

describe('a paused job', () => {
  it('is paused only when nothing is in flight, and starts nothing until it is resumed', async () => {
    const { add, clock, log } = makeWorld();
    const { run, state } = copier(4, 40);
    const job = add(new FakeDriver(run), { id: 'j' });
    let inFlightWhenPaused = -1;
    job.on('JOB_STATUS_CHANGE', ({ status }) => {
      if (status === 'paused') inFlightWhenPaused = state.inFlight;
    });
    job.start();
    await clock.advance(2500);
    job.pause();
    await settle();
    expect(job.status).to.equal('running');
    expect(state.inFlight).to.equal(4);
    await clock.advance(500);
    expect(job.status).to.equal('paused');
    expect(inFlightWhenPaused).to.equal(0);
    await clock.advance(100_000);
    expect(state.done).to.equal(12);
    job.resume();
    expect(job.status).to.equal('running');
    await clock.advance(100_000);
    expect(log.at(-1)).to.equal('j null');
    expect(state).to.include({ done: 40, most: 4 });
  });

  it('counts I/O that waited for the end of a pause and began with it', async () => {
    const { add, clock } = makeWorld();
    const job = add(
      new FakeDriver(async (ctx) => {
        await ctx.changed();
        await ctx.enterIo();
        await new Promise<void>((resolve) => ctx.clock.timer(1000, resolve));
        ctx.leaveIo();
        await ctx.pausePoint();
      }),
    );
    job.start();
    await settle();
    job.pause();
    await settle();
    expect(job.status).to.equal('paused');
    job.resume();
    job.pause();
    await clock.advance(999);
    expect(job.status).to.equal('running');
    await clock.advance(1);
    expect(job.status).to.equal('paused');
    job.resume();
    await job.done;
  });

  it('that is paused before its start does no work', async () => {
    const { add, log } = makeWorld();
    const driver = new FakeDriver();
    const job = add(driver, { id: 'j' });
    job.pause();
    job.start();
    await settle();
    expect(log).to.deep.equal(['j created', 'j running', 'j paused']);
    expect(driver.calls).to.deep.equal([]);
    job.resume();
    await job.done;
  });

  it('keeps sleeping in its pause when a drain begins and ends meanwhile', async () => {
    const { add, clock } = makeWorld();
    const job = add(new FakeDriver(copier(2, 10).run));
    job.start();
    job.pause();
    await clock.advance(1000);
    job.drainBegin();
    await job.drained();
    job.drainEnd();
    await clock.advance(5000);
    expect(job.status).to.equal('paused');
    job.resume();
    await clock.advance(20_000);
    await job.done;
  });

  it('is not resumed by a user while a drain lasts', async () => {
    const { add, clock } = makeWorld();
    const job = add(new FakeDriver(copier(2, 10).run));
    job.start();
    await clock.advance(100);
    job.drainBegin();
    job.drainBegin();
    expect(await codeOf(() => job.resume()), 'no user paused it').to.equal('bad-state');
    let quiet = false;
    void job.drained().then(() => {
      quiet = true;
    });
    await settle();
    expect(quiet).to.equal(false);
    await clock.advance(1000);
    expect(quiet).to.equal(true);
    job.drainEnd();
    expect(job.status).to.equal('paused');
    job.drainEnd();
    expect(job.status).to.equal('running');
    await clock.advance(20_000);
    await job.done;
  });

  it('does not end while it is paused: finalization waits', async () => {
    const { add, clock, log } = makeWorld();
    const driver = new FakeDriver(copier(2, 2).run);
    const job = add(driver, { id: 'j' });
    job.start();
    await clock.advance(500);
    job.pause();
    await clock.advance(5000);
    expect(job.status).to.equal('paused');
    expect(driver.calls).to.deep.equal(['run']);
    job.resume();
    await job.done;
    expect(log.slice(2, 5)).to.deep.equal(['j paused', 'j running', 'j waiting']);
  });

  it('that drains its own nodes counts as quiet', async () => {
    const { add } = makeWorld();
    const job = add(
      new FakeDriver((ctx) =>
        ctx.drainedSection(async () => {
          job.drainBegin();
          await job.drained();
          job.drainEnd();
        }),
      ),
    );
    job.start();
    await job.done;
  });

  it('waits for what its workers have in flight when one of them failed', async () => {
    const { add, clock, log } = makeWorld();
    const state = { inFlight: 0, most: 0, done: 0 };
    const slow = copier(1, 100, state);
    const job = add(
      new FakeDriver(async (ctx) => {
        await Promise.all([
          slow.run(ctx),
          (async () => {
            await ctx.sleep(2500);
            throw new BlockError('io', 'broken');
          })(),
        ]);
      }),
      { id: 'j' },
    );
    job.start();
    await clock.advance(2900);
    expect(job.status).to.equal('running');
    await clock.advance(200);
    expect(log.at(-1)).to.equal('j null');
    expect(await codeOf(() => job.done)).to.equal('io');
    await clock.advance(10_000);
    expect(state).to.include({ done: 3, inFlight: 0 });
  });

  it('cannot leave I/O that it never began', async () => {
    const { add } = makeWorld();
    const job = add(new FakeDriver(async (ctx) => ctx.leaveIo()));
    job.start();
    expect(await codeOf(() => job.done)).to.equal('internal');
  });
});

describe('a sleeping job', () => {
  it('wakes at a verb, at wake() and at its time', async () => {
    const { add, clock } = makeWorld();
    const woken: number[] = [];
    let context: JobContext | undefined;
    const job = add(
      new FakeDriver(async (ctx) => {
        context = ctx;
        for (let i = 0; i < 3; i++) {
          await ctx.sleep(1000);
          woken.push(ctx.clock.now());
        }
      }),
    );
    job.start();
    await clock.advance(100);
    job.setSpeed(5);
    await clock.advance(100);
    context?.wake();
    await clock.advance(5000);
    await job.done;
    expect(woken).to.deep.equal([100, 200, 1200]);
    expect(clock.pending).to.equal(0);
  });

  it('tells by changed() that a verb was taken', async () => {
    const { add } = makeWorld();
    const seen: string[] = [];
    const job = add(
      new FakeDriver(async (ctx) => {
        await ctx.changed();
        seen.push(`pause ${ctx.pauseRequested}`);
        await ctx.pausePoint();
      }),
    );
    job.start();
    await settle();
    job.pause();
    await settle();
    expect(seen).to.deep.equal(['pause true']);
    expect(job.status).to.equal('paused');
    job.resume();
    await job.done;
  });
});

describe('the speed of a job', () => {
  it('holds, and changes while it waits', async () => {
    const { add, clock } = makeWorld();
    const job = add(
      new FakeDriver(async (ctx) => {
        for (let i = 0; i < 1000; i++) {
          await ctx.throttle(1000);
          ctx.progress.advance(1000);
        }
      }),
      { speed: 10_000 },
    );
    job.start();
    await clock.advance(10_000);
    expect(job.progress.current).to.be.within(100_000, 102_000);
    job.setSpeed(100);
    await clock.advance(10_000);
    expect(job.progress.current).to.be.within(101_000, 104_000);
    job.setSpeed(100_000);
    await clock.advance(1000);
    expect(job.progress.current).to.be.within(195_000, 215_000);
    job.setSpeed(0);
    await clock.advance(0);
    await settle();
    for (let i = 0; i < 60; i++) await settle();
    expect(job.progress.current).to.equal(1_000_000);
    expect(job.status).to.equal('null');
  });

  it('does not keep a throttled job from pausing or being cancelled', async () => {
    const { add, clock } = makeWorld();
    const job = add(
      new FakeDriver(async (ctx) => {
        for (;;) await ctx.throttle(1_000_000);
      }),
      { speed: 1 },
    );
    job.start();
    await clock.advance(10);
    job.pause();
    await settle();
    expect(job.status).to.equal('paused');
    expect(clock.pending).to.equal(0);
    job.resume();
    await settle();
    job.cancel();
    expect(await codeOf(() => job.done)).to.equal('cancelled');
    expect(clock.pending).to.equal(0);
  });
});

describe('the error policy of a job', () => {
  const cases: [BlockdevOnError, 'io' | 'no-space', string][] = [
    ['report', 'io', 'report'],
    ['report', 'no-space', 'report'],
    ['ignore', 'io', 'ignore'],
    ['stop', 'io', 'retry'],
    ['enospc', 'io', 'report'],
    ['enospc', 'no-space', 'retry'],
    ['auto', 'io', 'report'],
    ['auto', 'no-space', 'retry'],
  ];
  for (const isRead of [true, false]) {
    for (const [policy, code, decision] of cases) {
      it(`${policy}: ${code} of a ${isRead ? 'read' : 'write'} leads to ${decision}`, async () => {
        const { add, events, manager } = makeWorld();
        const decisions: string[] = [];
        const job = add(
          new FakeDriver(async (ctx) => {
            decisions.push(await ctx.handleError(new BlockError(code, 'x'), isRead));
          }),
          { id: 'j', onSourceError: isRead ? policy : 'report', onTargetError: isRead ? 'report' : policy },
        );
        job.start();
        await settle();
        if (decision === 'retry') {
          expect(job.status).to.equal('paused');
          expect(job.userPaused).to.equal(true);
          expect(manager.queryBlock()[0]['io-status']).to.equal(code === 'io' ? 'failed' : 'nospace');
          job.resume();
          expect(job.blockInfo()['io-status']).to.equal('ok');
        }
        await job.done;
        expect(decisions).to.deep.equal([decision]);
        expect(events.find((event) => event.event === 'BLOCK_JOB_ERROR')?.data).to.deep.equal({
          device: 'j',
          operation: isRead ? 'read' : 'write',
          action: decision === 'retry' ? 'stop' : decision,
        });
      });
    }
  }

  it('stops once for two workers that fail at the same time', async () => {
    const { add, log } = makeWorld();
    const job = add(
      new FakeDriver(async (ctx) => {
        const error = new BlockError('io', 'x');
        await Promise.all([ctx.handleError(error, false), ctx.handleError(error, false)]);
      }),
      { id: 'j', onTargetError: 'stop' },
    );
    job.start();
    await settle();
    job.resume();
    await job.done;
    expect(log.filter((line) => line === 'j paused')).to.have.lengthOf(1);
    expect(log.filter((line) => line === 'j BLOCK_JOB_ERROR')).to.have.lengthOf(2);
  });

  it('does not stop a job that is cancelled meanwhile', async () => {
    const { add, log } = makeWorld();
    const job = add(
      new FakeDriver(async (ctx) => {
        await ctx.handleError(new BlockError('io', 'x'), false);
      }),
      { id: 'j', onTargetError: 'stop' },
    );
    job.start();
    await settle();
    job.cancel();
    expect(await codeOf(() => job.done)).to.equal('cancelled');
    expect(log.at(-2)).to.equal('j concluded');
  });

  it('is not asked about a cancellation', async () => {
    const { add, log } = makeWorld();
    let decision = '';
    const job = add(
      new FakeDriver(async (ctx) => {
        decision = await ctx.handleError(new BlockError('cancelled', 'x'), false);
      }),
      { id: 'j', onTargetError: 'stop' },
    );
    job.start();
    await job.done;
    expect(decision).to.equal('report');
    expect(log).to.not.include('j BLOCK_JOB_ERROR');
  });
});
