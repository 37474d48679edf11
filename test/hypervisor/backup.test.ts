// Backups of a running guest: both disks at one moment, first whole, then what has changed since. What was restored boots, and holds
// what the guest had synced at that moment, and nothing of later.

import { DISK_NAMES, type DiskName, Lab, requireGuest } from './guest/lab.js';
import { DATA_BYTES, ROOT_BYTES } from './guest/parts.js';

const SOME = 24;
const SLOW = 2 * 1024 ** 2;
const SIZES: Record<DiskName, number> = { root: ROOT_BYTES, data: DATA_BYTES };

describe('backups of a guest at work', function () {
  this.timeout(300_000);
  let lab: Lab;

  before(function () {
    requireGuest(this);
  });
  afterEach(async () => {
    await lab?.close();
  });

  it('a full one and an increment by bitmap: the restored guest boots with the records of that moment', async () => {
    lab = await Lab.create();
    await lab.serveBoth();
    const machine = await lab.work();
    const { workspace, images, all } = lab;

    for (const name of DISK_NAMES) {
      await workspace.create(lab.path(`${name}.full`), { driver: 'qcow2', size: SIZES[name] });
      images[name].addBitmap('changes');
    }
    const first = { from: await lab.moment(machine), to: new Map(), running: true };
    const full = await workspace.backups(
      DISK_NAMES.map((name) => ({
        image: images[name],
        target: lab.path(`${name}.full`),
        format: 'qcow2',
        sync: 'full' as const,
        speed: SLOW,
      })),
    );
    first.to = new Map(await lab.moment(machine));
    await machine.agent.progress(all, SOME);
    for (const job of full) if (job.status === 'running') job.setSpeed(0);
    for (const job of full) await job.done;
    await machine.agent.progress(all, SOME);
    lab.checkFiles({ root: lab.path('root.full'), data: lab.path('data.full') }, first);

    for (const name of DISK_NAMES) await lab.overlay(`${name}.full`, `${name}.increment`, SIZES[name]);
    const from = await lab.moment(machine);
    const increments = await workspace.backups(
      DISK_NAMES.map((name) => ({
        image: images[name],
        target: lab.path(`${name}.increment`),
        format: 'qcow2',
        sync: 'incremental' as const,
        bitmap: 'changes',
        speed: SLOW,
      })),
    );
    const to = await lab.moment(machine);
    await machine.agent.progress(all, SOME);
    for (const job of increments) if (job.status === 'running') job.setSpeed(0);
    for (const job of increments) await job.done;
    await machine.agent.progress(all, SOME);
    await lab.finish(machine);
    const restored = { root: lab.path('root.increment'), data: lab.path('data.increment') };
    lab.checkFiles(restored, { from, to, running: true });

    await lab.serveBoth({ root: 'root.increment', data: 'data.increment' });
    const again = await lab.boot(DISK_NAMES.map((name) => lab.disk(name)));
    for (const worker of all) {
      worker.resume(await again.agent.records(worker), from.get(worker), (to.get(worker) as number) + worker.batch);
    }
    await again.agent.start(...all);
    await again.agent.progress(all, SOME);
    await lab.finish(again);
  });
});
