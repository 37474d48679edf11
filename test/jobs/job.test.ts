// The life of one job: events in QEMU's order, its ends, errors, and listeners that misbehave.
import { expect } from 'chai';
import { JobManager } from '../../src/jobs/manager.js';
import { BlockError } from '../../src/util/errors.js';
import { FakeClock, settle } from '../support/fake-clock.js';
import { takeUnexpected } from '../support/unexpected.js';
import { codeOf, FakeDriver, fail, idle, idleWhenReady, makeWorld } from './fake-job.js';

describe('a job', () => {
  it('that succeeds goes through its states and leaves', async () => {
    const { add, log, manager } = makeWorld();
    const driver = new FakeDriver();
    const job = add(driver, { id: 'j' });
    job.start();
    await job.done;
    expect(log).to.deep.equal([
      'j created',
      'j running',
      'j waiting',
      'j pending',
      'j BLOCK_JOB_COMPLETED',
      'j concluded',
      'j null',
    ]);
    expect(driver.calls).to.deep.equal(['run', 'prepare', 'commit', 'clean']);
    expect(manager.query()).to.deep.equal([]);
    expect(await codeOf(() => manager.get('j'))).to.equal('not-found');
  });

  it('with a ready state tells of it, and is completed', async () => {
    const { add, log, events } = makeWorld();
    const job = add(
      new FakeDriver(async (ctx) => {
        ctx.progress.setTotal(1000);
        ctx.progress.advance(1000);
        ctx.ready();
        ctx.ready();
        await idle(ctx);
      }),
      { id: 'j', speed: 5 },
    );
    job.start();
    await settle();
    expect(log.slice(2)).to.deep.equal(['j ready', 'j BLOCK_JOB_READY']);
    expect(events[3].data).to.deep.equal({ type: 'mirror', device: 'j', len: 1000, offset: 1000, speed: 5 });
    await job.complete();
    await job.done;
    expect(log.slice(4)).to.deep.equal(['j waiting', 'j pending', 'j BLOCK_JOB_COMPLETED', 'j concluded', 'j null']);
  });

  it('tells why it failed in the same words everywhere: event, query-jobs and query-block-jobs', async () => {
    const manager = new JobManager(
      new FakeClock(),
      ({ code, message }, isBlockJob) => `${code}, ${message}, ${isBlockJob}`,
    );
    const told: unknown[] = [];
    manager.events.on('BLOCK_JOB_COMPLETED', ({ error }) => told.push(error));
    const job = manager.create({ driver: new FakeDriver(fail()), autoDismiss: false });
    job.start();
    expect(await codeOf(() => job.done)).to.equal('io');
    told.push(manager.query()[0].error, manager.queryBlock()[0].error);
    expect(told).to.deep.equal(Array(3).fill('io, the disk is gone, true'));
  });

  it('waits for finalize and dismiss where it is told to', async () => {
    const { add, log, manager } = makeWorld();
    const driver = new FakeDriver();
    const job = add(driver, { id: 'j', autoFinalize: false, autoDismiss: false });
    job.start();
    await settle();
    expect(log.at(-1)).to.equal('j BLOCK_JOB_PENDING');
    expect(driver.calls).to.deep.equal(['run']);
    await job.finalize();
    expect(job.status).to.equal('concluded');
    expect(manager.query()[0]).to.deep.equal({
      id: 'j',
      type: 'mirror',
      status: 'concluded',
      'current-progress': 0,
      'total-progress': 0,
    });
    job.dismiss();
    expect(manager.list()).to.deep.equal([]);
  });

  it('that fails aborts, and says why', async () => {
    const { add, log, events } = makeWorld();
    const driver = new FakeDriver(fail());
    const job = add(driver, { id: 'j', autoDismiss: false });
    job.start();
    expect(await codeOf(() => job.done)).to.equal('io');
    expect(log.slice(2)).to.deep.equal(['j aborting', 'j BLOCK_JOB_COMPLETED', 'j concluded']);
    expect(events.at(-2)?.data).to.include({ error: 'the disk is gone' });
    expect(job.info().error).to.equal('the disk is gone');
    expect(driver.calls).to.deep.equal(['run', 'abort', 'clean']);
  });

  it('whose driver throws what is no BlockError fails all the same', async () => {
    const { add } = makeWorld();
    const job = add(
      new FakeDriver(() => {
        throw new TypeError('oops');
      }),
    );
    job.start();
    expect(await codeOf(() => job.done)).to.equal('internal');
    expect(takeUnexpected().map(({ error }) => String(error))).to.deep.equal(['TypeError: oops']);
  });

  it('whose prepare fails aborts', async () => {
    const { add } = makeWorld();
    const driver = new FakeDriver();
    driver.prepareError = new BlockError('permission', 'no');
    const job = add(driver);
    job.start();
    expect(await codeOf(() => job.done)).to.equal('permission');
    expect(driver.calls).to.deep.equal(['run', 'prepare', 'abort', 'clean']);
  });

  it('whose commit fails does not report success', async () => {
    const { add, log } = makeWorld();
    const driver = new FakeDriver();
    driver.commitError = new BlockError('io', 'flush failed');
    const job = add(driver, { id: 'j' });
    job.start();
    expect(await codeOf(() => job.done)).to.equal('io');
    expect(log.slice(3)).to.deep.equal(['j pending', 'j aborting', 'j BLOCK_JOB_COMPLETED', 'j concluded', 'j null']);
    expect(driver.calls).to.deep.equal(['run', 'prepare', 'commit', 'clean']);
  });

  it('is cancelled while it runs', async () => {
    const { add, log } = makeWorld();
    const driver = new FakeDriver(idle);
    const job = add(driver, { id: 'j', autoDismiss: false });
    job.start();
    await settle();
    job.cancel();
    job.cancel();
    expect(await codeOf(() => job.done)).to.equal('cancelled');
    expect(job.info().error).to.equal('Operation canceled');
    expect(log.slice(2)).to.deep.equal(['j aborting', 'j BLOCK_JOB_CANCELLED', 'j concluded']);
    expect(driver.calls).to.deep.equal(['run', 'cancel false', 'abort', 'clean']);
  });

  it('is cancelled before it runs: no work, no block event, gone', async () => {
    const { add, log } = makeWorld();
    const driver = new FakeDriver();
    const job = add(driver, { id: 'j', autoDismiss: false });
    job.cancel();
    expect(await codeOf(() => job.done)).to.equal('cancelled');
    expect(log).to.deep.equal(['j created', 'j aborting', 'j concluded', 'j null']);
    expect(driver.calls).to.deep.equal(['abort', 'clean']);
  });

  it('is cancelled while it is paused: it is resumed for that', async () => {
    const { add, log } = makeWorld();
    const job = add(new FakeDriver(idle), { id: 'j' });
    job.start();
    job.pause();
    await settle();
    job.cancel();
    await settle();
    expect(log.slice(2)).to.deep.equal([
      'j paused',
      'j running',
      'j aborting',
      'j BLOCK_JOB_CANCELLED',
      'j concluded',
      'j null',
    ]);
  });

  it('is cancelled while it is pending', async () => {
    const { add, log } = makeWorld();
    const driver = new FakeDriver();
    const job = add(driver, { id: 'j', autoFinalize: false });
    job.start();
    await settle();
    job.cancel();
    expect(await codeOf(() => job.done)).to.equal('cancelled');
    expect(log.slice(5)).to.deep.equal(['j aborting', 'j BLOCK_JOB_CANCELLED', 'j concluded', 'j null']);
    expect(driver.calls).to.deep.equal(['run', 'cancel false', 'abort', 'clean']);
  });

  it('ends well by a soft cancel that its driver handles', async () => {
    const { add, log } = makeWorld();
    const driver = new FakeDriver(idleWhenReady);
    driver.softCancel = true;
    const job = add(driver, { id: 'j' });
    job.start();
    await settle();
    job.cancel();
    expect(await codeOf(() => job.complete())).to.equal('bad-state');
    await job.done;
    expect(log.slice(4)).to.deep.equal(['j waiting', 'j pending', 'j BLOCK_JOB_COMPLETED', 'j concluded', 'j null']);
    expect(driver.calls).to.deep.equal(['run', 'cancel false', 'prepare', 'commit', 'clean']);
  });

  it('ends badly by force, ready or not', async () => {
    const { add } = makeWorld();
    const driver = new FakeDriver(idleWhenReady);
    driver.softCancel = true;
    const job = add(driver);
    job.start();
    await settle();
    job.cancel(true);
    expect(await codeOf(() => job.done)).to.equal('cancelled');
  });

  it('cannot be cancelled once it commits', async () => {
    const { add } = makeWorld();
    let open: () => void = () => undefined;
    const job = add({
      type: 'commit',
      run: async () => undefined,
      commit: () =>
        new Promise((resolve) => {
          open = resolve;
        }),
    });
    job.start();
    await settle();
    expect(job.status).to.equal('pending');
    job.cancel(true);
    open();
    await job.done;
    expect(job.error).to.equal(undefined);
  });

  it('that is abandoned never was', async () => {
    const { add, log, manager } = makeWorld();
    const job = add(new FakeDriver(), { id: 'j' });
    job.abandon(new BlockError('busy', 'no room in the graph'));
    expect(await codeOf(() => job.done)).to.equal('busy');
    expect(log).to.deep.equal(['j created', 'j null']);
    expect(manager.list()).to.deep.equal([]);
  });

  it('is not harmed by listeners that throw or reject, nor are other listeners', async () => {
    const { add, log, manager } = makeWorld();
    const job = add(new FakeDriver(), { id: 'j' });
    job.on('JOB_STATUS_CHANGE', () => {
      throw new Error('listener');
    });
    job.on('JOB_STATUS_CHANGE', async () => {
      throw new Error('listener, later');
    });
    manager.events.on('BLOCK_JOB_COMPLETED', () => {
      throw new Error('listener above');
    });
    const seen: string[] = [];
    job.on('JOB_STATUS_CHANGE', ({ status }) => seen.push(status));
    job.start();
    await job.done;
    expect(seen).to.deep.equal(['running', 'waiting', 'pending', 'concluded', 'null']);
    expect(log).to.have.lengthOf(7);
    // The listener that rejects does so after the job's end.
    await new Promise((resolve) => setImmediate(resolve));
    const said = takeUnexpected().map(({ error }) => (error as Error).message);
    expect(new Set(said)).to.deep.equal(new Set(['listener', 'listener, later', 'listener above']));
  });

  it('takes a verb from a listener in the middle of its own change', async () => {
    const { add, log } = makeWorld();
    const job = add(new FakeDriver(idle), { id: 'j', autoDismiss: false });
    job.on('JOB_STATUS_CHANGE', ({ status }) => {
      if (status === 'paused') job.resume();
      if (status === 'concluded') job.dismiss();
    });
    job.start();
    job.pause();
    await settle();
    expect(log.slice(2)).to.deep.equal(['j paused', 'j running']);
    job.cancel();
    await settle();
    expect(log.slice(4)).to.deep.equal(['j aborting', 'j BLOCK_JOB_CANCELLED', 'j concluded', 'j null']);
  });

  it('tells of itself as a block job', async () => {
    const { add, manager } = makeWorld();
    const job = add(new FakeDriver(idleWhenReady), { id: 'j', speed: 7 });
    job.start();
    await settle();
    expect(manager.queryBlock()).to.deep.equal([
      {
        type: 'mirror',
        device: 'j',
        len: 0,
        offset: 0,
        busy: true,
        paused: false,
        speed: 7,
        'io-status': 'ok',
        ready: true,
        status: 'ready',
        'auto-finalize': true,
        'auto-dismiss': true,
      },
    ]);
    await manager.cancelAll();
    expect(manager.list()).to.deep.equal([]);
    expect(job.status).to.equal('null');
  });
});

describe('JobManager', () => {
  it('gives ids of its own', () => {
    const { add } = makeWorld();
    add(new FakeDriver(), { id: 'mirror1' });
    expect(add(new FakeDriver()).id).to.equal('mirror0');
    expect(add(new FakeDriver()).id).to.equal('mirror2');
  });

  it('refuses an id that is taken or malformed, and a bad speed', async () => {
    const { add, manager } = makeWorld();
    add(new FakeDriver(), { id: 'a' });
    expect(await codeOf(() => add(new FakeDriver(), { id: 'a' }))).to.equal('exists');
    for (const id of ['', '9x', '_x', 'a b', 'a/b', 'ä']) {
      expect(await codeOf(() => add(new FakeDriver(), { id })), id).to.equal('invalid-argument');
    }
    expect(await codeOf(() => add(new FakeDriver(), { speed: -1 }))).to.equal('invalid-argument');
    expect(await codeOf(() => manager.get('b'))).to.equal('not-found');
    expect(manager.list()).to.have.lengthOf(1);
  });
});
