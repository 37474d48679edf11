// A guest writes, syncs and never stops while the images under it change: snapshot, mirror, commit, stream.

import { expect } from 'chai';
import { Lab, requireGuest } from './guest/lab.js';
import type { Machine } from './guest/machine.js';
import { DATA_BYTES } from './guest/parts.js';

/** Records that workers write before and after each step. */
const SOME = 24;

describe('a guest on served images', function () {
  this.timeout(300_000);
  let lab: Lab;
  let machine: Machine;

  before(function () {
    requireGuest(this);
  });
  beforeEach(async () => {
    ({ lab, machine } = await Lab.running());
  });
  afterEach(async () => {
    await lab?.close();
  });

  it('boots from a qcow2 chain and keeps what it syncs', async () => {
    await machine.agent.progress(lab.all, SOME);
    await lab.finish(machine);
  });

  it('moves to the target of a mirror and goes on there', async () => {
    const { workspace, images, all } = lab;
    const target = lab.path('data.new');
    await workspace.create(target, { driver: 'qcow2', size: DATA_BYTES });
    const job = await workspace.mirror(images.data, target, { format: 'qcow2', sync: 'full' });
    await job.ready();
    await machine.agent.progress(all, SOME);
    await job.complete();
    await job.done;
    expect(images.data.filename).to.equal(target);
    await machine.agent.progress(all, SOME);
    await lab.finish(machine);
  });

  it('goes on in the base after an active commit', async () => {
    const { workspace, images, all } = lab;
    const job = await workspace.commit(images.data);
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
    const job = await workspace.stream(images.data);
    await machine.agent.progress(all, SOME);
    await job.done;
    await machine.agent.progress(all, SOME);
    expect(await workspace.info(lab.path('data.top'), { forceShare: true })).not.to.have.property('backing-filename');
    await lab.finish(machine);
  });
});
