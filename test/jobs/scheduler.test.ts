// Jobs per disk, by priority.
import { expect } from 'chai';
import { JobScheduler } from '../../src/jobs/scheduler.js';
import { codeOf, FakeDriver, idle, makeWorld } from './fake-job.js';

/** Resolves when `condition` holds; the scheduler keeps its own time. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => setImmediate(resolve));
}

describe('JobScheduler', () => {
  it('runs one job at a time on a disk, the most urgent first', async () => {
    const { add, log } = makeWorld();
    const scheduler = new JobScheduler();
    const first = add(new FakeDriver(idle), { id: 'first' });
    const runs = [scheduler.run(first, { disks: ['sda'] })];
    await until(() => first.status === 'running');
    for (const [id, priority] of [
      ['late', 9],
      ['normal', 5],
      ['urgent', 0],
    ] as const) {
      runs.push(scheduler.run(add(new FakeDriver(), { id }), { disks: ['sda'], priority }));
    }
    const other = scheduler.run(add(new FakeDriver(), { id: 'other' }), { disks: ['sdb'] });
    await other;
    await until(() => scheduler.waiting().get('sda') === 3);
    expect(log.filter((line) => line.endsWith('running'))).to.deep.equal(['first running', 'other running']);
    first.cancel();
    const results = await Promise.allSettled(runs);
    expect(results.map((result) => result.status)).to.deep.equal(['rejected', 'fulfilled', 'fulfilled', 'fulfilled']);
    expect(log.filter((line) => line.endsWith('running')).slice(2)).to.deep.equal([
      'urgent running',
      'normal running',
      'late running',
    ]);
    await until(() => scheduler.waiting().size === 0);
  });

  it('lets jobs over the same two disks, named in any order, all end', async () => {
    const { add } = makeWorld();
    const scheduler = new JobScheduler();
    await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        scheduler.run(add(new FakeDriver()), { disks: i % 2 ? ['a', 'b'] : ['b', 'a', 'b'] }),
      ),
    );
  });

  it('forgets a job that is cancelled while it waits', async () => {
    const { add } = makeWorld();
    const scheduler = new JobScheduler();
    const first = add(new FakeDriver(idle));
    const running = scheduler.run(first, { disks: ['a'] });
    await until(() => first.status === 'running');
    const driver = new FakeDriver();
    const second = add(driver);
    const waiting = scheduler.run(second, { disks: ['a'] });
    second.cancel();
    expect(await codeOf(() => waiting)).to.equal('cancelled');
    first.cancel();
    expect(await codeOf(() => running)).to.equal('cancelled');
    await until(() => scheduler.waiting().size === 0);
    expect(driver.calls).to.not.include('run');
  });

  it('refuses a priority or a number of jobs that cannot be', async () => {
    const { add } = makeWorld();
    for (const priority of [-1, 10, 0.5]) {
      const job = add(new FakeDriver());
      expect(await codeOf(() => new JobScheduler().run(job, { disks: [], priority }))).to.equal('invalid-argument');
    }
    for (const perDisk of [0, -1, 1.5]) {
      expect(await codeOf(() => new JobScheduler({ perDisk }))).to.equal('invalid-argument');
    }
  });
});
