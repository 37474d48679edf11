// What a commit leaves behind, and what it refuses.

import { expect } from 'chai';
import { Device, rootOf } from '../../src/block/device.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import { commitJob } from '../../src/jobs/commit.js';
import { startJob } from '../../src/jobs/start.js';
import { BlockError } from '../../src/util/errors.js';
import { codeOf, readyOf, threeLayers } from './copy-support.js';
import { pattern } from './memory-node.js';
import { expectSame, KiB, MiB, World } from './world.js';

describe('commit', () => {
  it('of a middle layer rewrites the overlay, and closes the layer', async () => {
    const world = threeLayers();
    const [base, mid, top] = world.layers;
    const wanted = mid.content();
    await (await startJob(world.env, commitJob, { device: 'top', 'top-node': 'mid', 'base-node': 'base' })).done;
    expectSame(base.content(), wanted, 'base');
    expect(base.clusters.get(8)).to.equal('zero');
    expect([top.children.get('backing')?.node, top.backingFile]).to.deep.equal([base, base.filename]);
    expect([mid.closed, base.readOnly]).to.deep.equal([true, true]);
    world.expectModel();
    world.expectTidy();
  });

  it('of the active layer becomes ready, and ends with the base in its place', async () => {
    const world = threeLayers();
    const [base, mid, top] = world.layers;
    const job = await startJob(world.env, commitJob, { device: 'top' });
    await readyOf(job);
    const data = pattern(700 * KiB, 4096, 9);
    await world.device.write(700 * KiB, data);
    data.copy(world.model, 700 * KiB);
    await job.complete();
    await job.done;
    expect(rootOf(world.device).node).to.equal(base);
    expect([top.closed, mid.closed, base.readOnly]).to.deep.equal([true, true, false]);
    world.expectModel();
    await world.device.write(0, pattern(0, 512));
  });

  it('of the active layer, cancelled when ready, leaves the device where it was', async () => {
    const world = threeLayers();
    const [base, , top] = world.layers;
    const job = await startJob(world.env, commitJob, { device: 'top' });
    await readyOf(job);
    job.cancel();
    await job.done;
    expect(rootOf(world.device).node).to.equal(top);
    expect(base.readOnly).to.equal(false);
    expectSame(base.content(), world.model, 'base');
    world.expectTidy();
  });

  it('empties a top that nobody uses', async () => {
    const world = new World();
    const base = world.node('base', MiB, { readOnly: true });
    const top = world.node('top', MiB + 512, { backing: base, readOnly: true });
    top.poke(64 * KiB, pattern(0, 64 * KiB, 3));
    top.poke(MiB, pattern(MiB, 512, 3));
    const wanted = top.content();
    await (await startJob(world.env, commitJob, { device: 'top', empty: true })).done;
    expect(base.length).to.equal(MiB + 512);
    expectSame(base.content(), wanted, 'base');
    expect([top.clusters.size, top.closed, top.readOnly]).to.deep.equal([0, false, true]);
    expect(top.children.get('backing')?.node).to.equal(base);
    world.expectTidy();
  });

  it('does not let a longer overlay see what the base has behind the end of the top', async () => {
    const world = new World();
    const base = world.node('base', MiB, { readOnly: true });
    base.poke(0, pattern(0, MiB));
    const mid = world.node('mid', 512 * KiB, { backing: base, readOnly: true });
    const top = world.node('top', MiB, { backing: mid });
    world.layers.push(base, mid, top);
    world.plug();
    await (await startJob(world.env, commitJob, { device: 'top', 'top-node': 'mid' })).done;
    world.expectModel();
  });

  it('leaves the chain as it was when the base cannot be written', async () => {
    const world = threeLayers();
    const [base, mid, top] = world.layers;
    base.fault = (request) => {
      if (request === 'write') throw new BlockError('no-space', 'planned');
    };
    const job = await startJob(world.env, commitJob, { device: 'top', 'top-node': 'mid' });
    expect(await codeOf(job.done)).to.equal('no-space');
    expect([top.children.get('backing')?.node, mid.closed, base.readOnly]).to.deep.equal([mid, false, true]);
    world.expectModel();
    world.expectTidy();
  });

  it('refuses what is no chain', async () => {
    const world = threeLayers();
    const tries = [
      { device: 'top', 'top-node': 'base' },
      { device: 'top', 'top-node': 'mid', 'base-node': 'mid' },
      { device: 'top', 'base-node': 'base', base: '/base.img' },
      { device: 'top', 'backing-file': 'x' },
      { device: 'top', 'base-node': 'base', empty: true },
      { device: 'mid', 'base-node': 'top' },
    ];
    for (const words of tries) expect(await codeOf(startJob(world.env, commitJob, words))).to.equal('invalid-argument');
    world.expectTidy();
  });

  it('refuses a base that another overlay reads', async () => {
    const world = threeLayers();
    const [base] = world.layers;
    const other = world.node('other', MiB, { backing: base });
    const reader = new Device(other, { name: 'reader', writable: false, shared: PERM_ALL & ~Perm.WRITE });
    expect(await codeOf(startJob(world.env, commitJob, { device: 'top', 'top-node': 'mid' }))).to.equal('permission');
    await reader.close();
    world.expectTidy();
    expect(base.readOnly).to.equal(true);
  });
});
