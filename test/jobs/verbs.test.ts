// Every (state, verb) pair and every (state, state) pair, by table and on jobs that really are in that state.
import { expect } from 'chai';
import type { Job } from '../../src/jobs/job.js';
import { JobTransaction } from '../../src/jobs/transaction.js';
import { canGo, checkTransition, takesVerb } from '../../src/jobs/verbs.js';
import { TYPES } from '../../src/schema/generated/table.js';
import type { JobStatus, JobVerb } from '../../src/schema/generated/types.js';
import { settle } from '../support/fake-clock.js';
import { codeOf, errorOf, FakeDriver, fail, idle, idleWhenReady, makeWorld } from './fake-job.js';

const STATUSES: readonly JobStatus[] = TYPES.JobStatus.values;
const VERBS: readonly JobVerb[] = TYPES.JobVerb.values;

// The columns are: cancel pause resume set-speed complete dismiss finalize change
const TAKEN: Record<JobStatus, string> = {
  undefined: '........',
  created: 'yyyy....',
  running: 'yyyy...y',
  paused: 'yyyy...y',
  ready: 'yyyyy..y',
  standby: 'yyyyy..y',
  waiting: 'y.......',
  pending: 'y.....y.',
  aborting: '........',
  concluded: '.....y..',
  null: '........',
};

// The columns are the states in the order of STATUSES: undefined created running paused ready standby waiting pending aborting concluded null
const WAYS: Record<JobStatus, string> = {
  undefined: '.y.........',
  created: '..y.....y.y',
  running: '...yy.y.y..',
  paused: '..y........',
  ready: '.....yy.y..',
  standby: '....y......',
  waiting: '.......yy..',
  pending: '........yy.',
  aborting: '........yy.',
  concluded: '..........y',
  null: '...........',
};

/** A job that is in `status` now. */
async function jobIn(status: JobStatus): Promise<Job> {
  const world = makeWorld();
  const manual = { autoFinalize: false, autoDismiss: false };
  const started = async (driver: FakeDriver, options = {}): Promise<Job> => {
    const job = world.add(driver, { id: 'x', ...options });
    job.start();
    await settle();
    return job;
  };
  switch (status) {
    case 'created':
      return world.add(new FakeDriver(), { id: 'x' });
    case 'running':
      return started(new FakeDriver(idle));
    case 'ready':
      return started(new FakeDriver(idleWhenReady));
    case 'paused':
    case 'standby': {
      const job = await started(new FakeDriver(status === 'paused' ? idle : idleWhenReady));
      job.pause();
      await settle();
      return job;
    }
    case 'waiting': {
      const transaction = new JobTransaction();
      world.add(new FakeDriver(), { id: 'other', transaction });
      return started(new FakeDriver(), { transaction });
    }
    case 'pending':
      return started(new FakeDriver(), manual);
    case 'aborting': {
      const driver = new FakeDriver(fail());
      driver.abortGate = new Promise(() => undefined);
      return started(driver);
    }
    case 'concluded':
      return started(new FakeDriver(), { autoDismiss: false });
    default:
      return started(new FakeDriver());
  }
}

function apply(job: Job, verb: JobVerb): void | Promise<void> {
  switch (verb) {
    case 'cancel':
      return job.cancel();
    case 'pause':
      return job.pause();
    case 'resume':
      return job.resume();
    case 'set-speed':
      return job.setSpeed(1000);
    case 'complete':
      return job.complete();
    case 'dismiss':
      return job.dismiss();
    case 'finalize':
      return job.finalize();
    case 'change':
      return job.change({});
  }
}

describe('job verbs', () => {
  for (const status of STATUSES) {
    for (const [column, verb] of VERBS.entries()) {
      const taken = TAKEN[status][column] === 'y';
      it(`${verb} in state ${status} is ${taken ? 'taken' : 'refused'}`, async () => {
        expect(takesVerb(status, verb)).to.equal(taken);
        if (status === 'undefined') return;
        const job = await jobIn(status);
        expect(job.status).to.equal(status);
        const error = await errorOf(() => apply(job, verb));
        const refusal = `Job 'x' in state '${status}' cannot accept command verb '${verb}'`;
        if (taken) {
          expect(error?.message).to.not.equal(refusal);
        } else {
          // A job that nobody paused is not resumed in any state: that is said first, as in QEMU.
          expect(error?.message).to.equal(verb === 'resume' ? "Can't resume a job that was not paused" : refusal);
          expect(error?.code).to.equal('bad-state');
          expect(job.status).to.equal(status);
        }
      });
    }
  }

  it('start and abandon are taken in state created only', async () => {
    for (const status of STATUSES) {
      if (status === 'undefined' || status === 'created') continue;
      const job = await jobIn(status);
      expect(await codeOf(() => job.start()), status).to.equal('bad-state');
    }
  });
});

describe('job states', () => {
  for (const from of STATUSES) {
    for (const [column, to] of STATUSES.entries()) {
      const legal = WAYS[from][column] === 'y';
      it(`${from} ${legal ? 'may' : 'may not'} become ${to}`, async () => {
        expect(canGo(from, to)).to.equal(legal);
        expect(await codeOf(() => checkTransition('x', from, to))).to.equal(legal ? 'none' : 'internal');
      });
    }
  }
});

describe('job verbs in detail', () => {
  it('pause twice, and resume without pause, are refused in QEMU words', async () => {
    const job = await jobIn('paused');
    expect((await errorOf(() => job.pause()))?.message).to.equal('Job is already paused');
    job.resume();
    expect(job.status).to.equal('running');
    expect((await errorOf(() => job.resume()))?.message).to.equal("Can't resume a job that was not paused");
  });

  it('complete needs a driver that can, and no cancel before', async () => {
    const world = makeWorld();
    const job = world.add({ type: 'commit', run: idleWhenReady });
    job.start();
    await settle();
    const error = await errorOf(() => job.complete());
    expect(error?.message).to.equal("The active block job 'commit0' cannot be completed");
    job.cancel(true);
    await settle();
    expect(job.status).to.equal('null');
  });

  it('complete that the driver refuses leaves the job ready', async () => {
    const world = makeWorld();
    const driver = new FakeDriver(idleWhenReady);
    let refuse = true;
    const job = world.add({
      type: 'mirror',
      run: (ctx) => driver.run(ctx),
      complete: async () => {
        if (refuse) throw new Error('not yet');
      },
    });
    job.start();
    await settle();
    let message = '';
    await job.complete().catch((error: Error) => {
      message = error.message;
    });
    expect(message).to.equal('not yet');
    await settle();
    expect(job.status).to.equal('ready');
    refuse = false;
    await job.complete();
    await job.done;
  });

  it('complete in standby takes effect after resume', async () => {
    const job = await jobIn('standby');
    await job.complete();
    await settle();
    expect(job.status).to.equal('standby');
    job.resume();
    await job.done;
    expect(job.status).to.equal('null');
  });

  it('change is refused where a type has nothing to change', async () => {
    const world = makeWorld();
    const job = world.add({ type: 'stream', run: idle });
    job.start();
    const error = await errorOf(() => job.change({}));
    expect(error?.code).to.equal('unsupported');
    expect(error?.message).to.equal('Job type does not support change');
    job.cancel();
  });

  it('change reaches the driver', async () => {
    const world = makeWorld();
    const driver = new FakeDriver(idle);
    const job = world.add(driver);
    job.start();
    job.change({ 'copy-mode': 'write-blocking' });
    expect(driver.calls).to.include('change {"copy-mode":"write-blocking"}');
    job.cancel();
  });

  it('set-speed refuses what is no speed', async () => {
    const job = await jobIn('running');
    expect(await codeOf(() => job.setSpeed(-1))).to.equal('invalid-argument');
    expect(job.speed).to.equal(0);
  });
});
