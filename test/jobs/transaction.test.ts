// Jobs that end together, or not at all.
import { expect } from 'chai';
import type { Job } from '../../src/jobs/job.js';
import { JobTransaction } from '../../src/jobs/transaction.js';
import { BlockError } from '../../src/util/errors.js';
import { settle } from '../support/fake-clock.js';
import { codeOf, FakeDriver, idle, makeWorld, type World } from './fake-job.js';

interface Trio {
  world: World;
  jobs: Job[];
  drivers: FakeDriver[];
  statuses(): string[];
  /** Lets the work of one job end, well or with an error. */
  end(i: number, error?: Error): Promise<void>;
}

function trio(mode: 'grouped' | 'individual' = 'grouped', options: { autoFinalize?: boolean } = {}): Trio {
  const world = makeWorld();
  const transaction = new JobTransaction(mode);
  const ends: ((error?: Error) => void)[] = [];
  const drivers = [0, 1, 2].map(
    (i) =>
      new FakeDriver(async (ctx) => {
        let over: { error?: Error } | undefined;
        ends[i] = (error) => {
          over = { error };
          ctx.wake();
        };
        while (over === undefined) await ctx.sleep(Number.POSITIVE_INFINITY);
        if (over.error) throw over.error;
      }),
  );
  const jobs = drivers.map((driver, i) =>
    world.add(driver, { id: `j${i}`, transaction, autoDismiss: false, ...options }),
  );
  for (const job of jobs) job.start();
  return {
    world,
    jobs,
    drivers,
    statuses: () => jobs.map((job) => job.status),
    end: async (i, error) => {
      await settle();
      ends[i](error);
      await settle();
    },
  };
}

const io = (): BlockError => new BlockError('io', 'broken');

describe('a grouped transaction', () => {
  it('waits for all, then prepares all, then commits all', async () => {
    const { jobs, drivers, statuses, end, world } = trio();
    const order: string[] = [];
    for (const [i, driver] of drivers.entries()) {
      const push = driver.calls.push.bind(driver.calls);
      driver.calls.push = (call: string) => {
        order.push(`${call}${i}`);
        return push(call);
      };
    }
    await end(1);
    await end(0);
    expect(statuses()).to.deep.equal(['waiting', 'waiting', 'running']);
    await end(2);
    expect(statuses()).to.deep.equal(['concluded', 'concluded', 'concluded']);
    await Promise.all(jobs.map((job) => job.done));
    expect(order.filter((call) => !call.startsWith('run'))).to.deep.equal(
      'prepare0 prepare1 prepare2 commit0 clean0 commit1 clean1 commit2 clean2'.split(' '),
    );
    expect(world.log.filter((line) => line.endsWith('pending'))).to.have.lengthOf(3);
  });

  it('cancels the others when one fails', async () => {
    const { jobs, drivers, statuses, end, world } = trio();
    await end(0);
    await end(1, io());
    expect(statuses()).to.deep.equal(['concluded', 'concluded', 'concluded']);
    expect(await Promise.all(jobs.map((job) => codeOf(() => job.done)))).to.deep.equal([
      'cancelled',
      'io',
      'cancelled',
    ]);
    for (const driver of drivers) {
      expect(driver.calls).to.include('abort');
      expect(driver.calls).to.not.include('commit');
    }
    expect(world.log).to.include.members([
      'j0 BLOCK_JOB_CANCELLED',
      'j1 BLOCK_JOB_COMPLETED',
      'j2 BLOCK_JOB_CANCELLED',
    ]);
  });

  it('aborts none before all have ended', async () => {
    const { world, statuses, end, drivers } = trio();
    let open: () => void = () => undefined;
    const slow = world.add(
      new FakeDriver(async (ctx) => {
        await ctx.enterIo();
        await new Promise<void>((resolve) => {
          open = resolve;
        });
        ctx.leaveIo();
      }),
      { id: 'slow', transaction: new JobTransaction() },
    );
    slow.start();
    await settle();
    slow.cancel();
    await settle();
    expect(slow.status).to.equal('running');
    open();
    await settle();
    expect(slow.status).to.equal('null');
    await end(0, io());
    expect(statuses()).to.deep.equal(['concluded', 'concluded', 'concluded']);
    expect(drivers[2].calls).to.deep.equal(['run', 'cancel true', 'abort', 'clean']);
  });

  it('is cancelled as a whole when one job is, at work or waiting', async () => {
    for (const waiting of [false, true]) {
      const { jobs, statuses, end } = trio();
      await end(0);
      jobs[waiting ? 0 : 2].cancel();
      await settle();
      expect(statuses()).to.deep.equal(['concluded', 'concluded', 'concluded']);
      expect(await Promise.all(jobs.map((job) => codeOf(() => job.done)))).to.deep.equal(Array(3).fill('cancelled'));
    }
  });

  it('resumes a paused job to abort it', async () => {
    const { jobs, statuses, end } = trio();
    jobs[2].pause();
    await settle();
    expect(jobs[2].status).to.equal('paused');
    await end(0, io());
    expect(statuses()).to.deep.equal(['concluded', 'concluded', 'concluded']);
  });

  it('is finalized as a whole through any of its jobs', async () => {
    const { jobs, statuses, end, world } = trio('grouped', { autoFinalize: false });
    for (const i of [2, 0, 1]) await end(i);
    expect(statuses()).to.deep.equal(['pending', 'pending', 'pending']);
    expect(world.log.filter((line) => line.endsWith('BLOCK_JOB_PENDING'))).to.have.lengthOf(3);
    await Promise.all([jobs[1].finalize(), jobs[2].finalize()]);
    expect(statuses()).to.deep.equal(['concluded', 'concluded', 'concluded']);
  });

  it('waits for a user when only one of its jobs is finalized by hand', async () => {
    const world = makeWorld();
    const transaction = new JobTransaction();
    const a = world.add(new FakeDriver(), { transaction, autoFinalize: false });
    const b = world.add(new FakeDriver(), { transaction });
    a.start();
    b.start();
    await settle();
    expect([a.status, b.status]).to.deep.equal(['pending', 'pending']);
    await b.finalize();
    expect([a.status, b.status]).to.deep.equal(['null', 'null']);
  });

  it('aborts all when one cannot prepare', async () => {
    const { jobs, drivers, statuses, end } = trio();
    drivers[1].prepareError = io();
    for (const i of [0, 1, 2]) await end(i);
    expect(statuses()).to.deep.equal(['concluded', 'concluded', 'concluded']);
    expect(drivers[0].calls).to.deep.equal(['run', 'prepare', 'cancel true', 'abort', 'clean']);
    expect(drivers[2].calls).to.deep.equal(['run', 'cancel true', 'abort', 'clean']);
    expect(await Promise.all(jobs.map((job) => codeOf(() => job.done)))).to.deep.equal([
      'cancelled',
      'io',
      'cancelled',
    ]);
  });

  it('commits the others when one cannot commit: it is too late', async () => {
    const { jobs, drivers, end } = trio();
    drivers[0].commitError = io();
    for (const i of [0, 1, 2]) await end(i);
    expect(await Promise.all(jobs.map((job) => codeOf(() => job.done)))).to.deep.equal(['io', 'none', 'none']);
    expect(drivers[2].calls).to.include('commit');
  });

  it('is cancelled while it prepares', async () => {
    const world = makeWorld();
    const transaction = new JobTransaction();
    let open: () => void = () => undefined;
    const calls: string[] = [];
    const a = world.add(
      {
        type: 'backup',
        run: async () => undefined,
        prepare: () =>
          new Promise((resolve) => {
            open = resolve;
          }),
        commit: async () => {
          calls.push('commit');
        },
        abort: async () => {
          calls.push('abort');
        },
      },
      { transaction },
    );
    const b = world.add(new FakeDriver(), { transaction });
    a.start();
    b.start();
    await settle();
    b.cancel();
    await settle();
    expect(calls).to.deep.equal([]);
    open();
    await settle();
    expect(calls).to.deep.equal(['abort']);
    expect(await codeOf(() => a.done)).to.equal('cancelled');
    expect([a.status, b.status]).to.deep.equal(['null', 'null']);
  });

  it('aborts jobs that were never started', async () => {
    const world = makeWorld();
    const transaction = new JobTransaction();
    const a = world.add(new FakeDriver(idle), { id: 'a', transaction });
    const b = world.add(new FakeDriver(), { id: 'b', transaction });
    a.start();
    await settle();
    a.cancel();
    await settle();
    expect(b.status).to.equal('null');
    expect(world.log).to.not.include('b BLOCK_JOB_CANCELLED');
  });

  it('goes on without a job that was abandoned', async () => {
    const world = makeWorld();
    const transaction = new JobTransaction();
    const a = world.add(new FakeDriver(), { transaction });
    const b = world.add(new FakeDriver(), { transaction });
    b.abandon(io());
    a.start();
    await a.done;
  });
});

describe('an individual transaction', () => {
  it('lets each job end by itself', async () => {
    const { jobs, statuses, end } = trio('individual');
    await end(0);
    expect(statuses()).to.deep.equal(['concluded', 'running', 'running']);
    await end(1, io());
    expect(statuses()).to.deep.equal(['concluded', 'concluded', 'running']);
    await end(2);
    expect(await Promise.all(jobs.map((job) => codeOf(() => job.done)))).to.deep.equal(['none', 'io', 'none']);
  });
});
