// A guest writes, syncs and never stops while the images under it change: snapshot, mirror, commit, stream.
// And what it trims meanwhile is free.

import { statSync } from 'node:fs';
import { expect } from 'chai';
import type { Job } from '../../src/index.js';
import { DISK_NAMES, Lab, requireGuest } from './guest/lab.js';
import type { Machine } from './guest/machine.js';
import { DATA_BYTES } from './guest/parts.js';

/** Records that each worker writes before and after a step. */
const SOME = 24;
/** Bytes a second at which a job begins, so that the guest writes while it copies. */
const SLOW = 512 * 1024;

/** No limit any more, where it has not ended already. */
function hurry(job: Job): void {
  if (job.status === 'running') job.setSpeed(0);
}

describe('a guest on served images', function () {
  this.timeout(300_000);
  let lab: Lab;
  let machine: Machine;

  before(function () {
    requireGuest(this);
  });
  beforeEach(async () => {
    lab = await Lab.create();
    await lab.serveBoth();
    machine = await lab.work();
    // Something to copy.
    await machine.agent.progress(lab.all, 4 * SOME);
  });
  afterEach(async () => {
    await lab?.close();
  });

  it('boots from a qcow2 chain and keeps what it syncs', async () => {
    await machine.agent.progress(lab.all, SOME);
    await lab.finish(machine);
  });

  it('gives back the space of what it has deleted and trimmed', async () => {
    const { agent } = machine;
    const file = lab.path('data.top');
    const allocated = () => statSync(file).blocks * 512;
    await agent.run('dd if=/dev/urandom of=/data/big bs=1M count=24 && sync');
    const full = allocated();
    await agent.run('rm /data/big && sync && fstrim /data');
    // Clusters are free when nothing that is durable refers to them any more: after the next flush.
    await agent.run('echo something > /data/small && sync');
    expect(full - allocated()).to.be.above(12 * 1024 ** 2);
    await lab.finish(machine);
  });

  it('goes on in the overlays of a live snapshot of both disks', async () => {
    const { workspace, images } = lab;
    const before = { root: images.root.filename, data: images.data.filename };
    const from = await lab.moment(machine);
    await workspace.snapshots(DISK_NAMES.map((name) => ({ image: images[name], file: lab.path(`${name}.live`) })));
    const to = await lab.moment(machine);
    await machine.agent.progress(lab.all, SOME);
    expect(images.data.filename).to.equal(lab.path('data.live'));
    await lab.finish(machine);
    lab.checkFiles(before, { from, to, running: true });
  });

  it('moves to the target of a mirror and goes on there', async () => {
    const { workspace, images, all } = lab;
    const target = lab.path('data.new');
    await workspace.create(target, { driver: 'qcow2', size: DATA_BYTES });
    const job = await workspace.mirror(images.data, target, { format: 'qcow2', sync: 'full', speed: SLOW });
    await machine.agent.progress(all, SOME);
    hurry(job);
    await job.ready();
    await machine.agent.progress(all, SOME);
    const from = await lab.moment(machine);
    await job.complete();
    await job.done;
    const to = await lab.moment(machine);
    expect(images.data.filename).to.equal(target);
    await machine.agent.progress(all, SOME);
    await lab.finish(machine);
    // The source stays as it was when the guest left it.
    lab.checkFiles({ data: lab.path('data.top') }, { from, to, running: true });
  });

  it('goes on in the base after an active commit', async () => {
    const { workspace, images, all } = lab;
    const job = await workspace.commit(images.data, { speed: SLOW });
    await machine.agent.progress(all, SOME);
    hurry(job);
    await job.ready();
    await machine.agent.progress(all, SOME);
    await job.complete();
    await job.done;
    expect(images.data.filename).to.equal(lab.path('data.base'));
    await machine.agent.progress(all, SOME);
    await lab.finish(machine);
  });

  it('needs no backing file any more after a stream', async () => {
    const { workspace, images, all } = lab;
    await workspace.snapshot(images.data, lab.path('data.live'));
    const job = await workspace.stream(images.data, { speed: SLOW });
    await machine.agent.progress(all, SOME);
    hurry(job);
    await job.done;
    await machine.agent.progress(all, SOME);
    expect(await workspace.info(lab.path('data.live'), { forceShare: true })).not.to.have.property('backing-filename');
    await lab.finish(machine);
  });
});
