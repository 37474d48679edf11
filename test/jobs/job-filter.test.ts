// The filter node of a job: where it is in the graph while the job is there, and that the graph is as before afterwards.

import { expect } from 'chai';
import { rootOf } from '../../src/block/device.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { PERM_ALL } from '../../src/block/types.js';
import { backupJob } from '../../src/jobs/backup.js';
import { commitJob } from '../../src/jobs/commit.js';
import type { CommonArguments } from '../../src/jobs/job-type.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { startJob } from '../../src/jobs/start.js';
import { streamJob } from '../../src/jobs/stream.js';
import { BlockError } from '../../src/util/errors.js';
import { allocated, codeOf, readyOf, threeLayers } from './copy-support.js';
import { pattern } from './memory-node.js';
import { KiB, MiB, type World } from './world.js';

/** Each node with its users and their permissions, for a comparison. */
function shapeOf({ graph }: World) {
  return [...graph.nodes.values()].map(({ nodeName, readOnly, parents }) => ({
    nodeName,
    readOnly,
    parents: [...parents].map(({ user, name, perm, shared }) => [user.userName, name, perm, shared].join(' ')).sort(),
  }));
}

const rootNode = (world: World): BlockNode => rootOf(world.device).node;

describe('filter node of a mirror', () => {
  const mirror = { device: 'top', target: 'target', sync: 'full' } as const;
  const start = async (more = {}) => {
    const world = threeLayers({ filters: true });
    const target = world.node('target', MiB);
    const before = shapeOf(world);
    const job = await startJob(world.env, mirrorJob, { ...mirror, 'filter-node-name': 'f', ...more });
    return { world, target, before, job };
  };

  it('lies above the source, and the device reads and writes through it', async () => {
    const { world, job } = await start();
    const filter = rootNode(world);
    expect([filter.nodeName, filter.driver, filter.kind]).to.deep.equal(['f', 'mirror_top', 'filter']);
    expect(filter.children.get('backing')?.node).to.equal(world.top);
    await readyOf(job);
    const data = pattern(4096, 8192, 9);
    await world.device.write(4096, data);
    const read = Buffer.alloc(8192);
    await world.device.read(4096, read);
    expect(read.equals(data)).to.equal(true);
    expect(world.top.content().subarray(4096, 12288).equals(data)).to.equal(true);
    job.cancel(true);
    await codeOf(job.done);
  });

  it('is gone after a cancellation, and all is as it was', async () => {
    const { world, before, job } = await start();
    await readyOf(job);
    job.cancel(true);
    expect(await codeOf(job.done)).to.equal('cancelled');
    expect(shapeOf(world)).to.deep.equal(before);
    world.expectTidy();
  });

  it('is gone after an error, and all is as it was', async () => {
    const { world, target, before, job } = await start();
    await readyOf(job);
    target.fault = () => {
      throw new BlockError('io', 'planned');
    };
    await world.device.write(0, pattern(0, 4096, 4));
    expect(await codeOf(job.done)).to.equal('io');
    expect(shapeOf(world)).to.deep.equal(before);
    world.expectTidy();
  });

  it('gives its users to the target at a pivot', async () => {
    const { world, target, job } = await start();
    await readyOf(job);
    await job.complete();
    await job.done;
    expect(rootNode(world)).to.equal(target);
    expect([...world.graph.nodes.keys()]).to.deep.equal(['target']);
    world.expectTidy();
  });

  it('is there until the job says that the target is of another size, which is left as it is', async () => {
    for (const size of [MiB / 2, 2 * MiB]) {
      const world = threeLayers({ filters: true });
      const target = world.node('target', size);
      const env = { ...world.env, launch: () => {} };
      const job = await startJob(env, mirrorJob, { ...mirror, 'copy-mode': 'write-blocking' });
      expect(rootNode(world).driver).to.equal('mirror_top');
      await world.device.write(MiB - 4096, pattern(0, 4096, 4));
      job.start();
      expect(await codeOf(job.done)).to.equal('invalid-argument');
      expect([target.length, target.clusters.size]).to.deep.equal([size, 0]);
      world.expectTidy();
    }
  });

  it('has a name of its own where it is given none, and is left out of what is told of its device', async () => {
    const { world, job } = await start({ 'filter-node-name': undefined });
    expect(rootNode(world).nodeName).to.match(/^#block\d+$/);
    expect(rootNode(world).implicit).to.equal(true);
    job.cancel(true);
    await codeOf(job.done);
    world.expectTidy();
  });

  it('is refused by its name before there is a job', async () => {
    const world = threeLayers({ filters: true });
    world.node('target', MiB);
    const before = shapeOf(world);
    const named = (name: string) => codeOf(startJob(world.env, mirrorJob, { ...mirror, 'filter-node-name': name }));
    expect(await named('mid')).to.equal('exists');
    expect(await named('0')).to.equal('invalid-argument');
    expect(world.manager.list()).to.deep.equal([]);
    expect(shapeOf(world)).to.deep.equal(before);
  });

  it('is refused where jobs put no filters in', async () => {
    const world = threeLayers();
    world.node('target', MiB);
    const job = startJob(world.env, mirrorJob, { ...mirror, 'filter-node-name': 'f' });
    expect(await codeOf(job)).to.equal('unsupported');
    world.expectTidy();
  });
});

describe('filter node of any job', () => {
  const kinds = [
    ['commit_top', commitJob, { device: 'top', 'top-node': 'mid' }],
    ['mirror_top', commitJob, { device: 'top' }],
    ['copy-before-write', backupJob, { device: 'top', target: 'target', sync: 'none' }],
    ['copy-on-read', streamJob, { device: 'top' }],
  ] as const;
  for (const [driver, type, args] of kinds) {
    it(`${driver} of a ${type.name} is there, and after a cancellation all is as it was`, async () => {
      const world = threeLayers({ filters: true });
      const target = world.node('target', MiB);
      const held = target.attach({ userName: 'the monitor' }, 'monitor', 0, PERM_ALL);
      const before = shapeOf(world);
      const job = await startJob<CommonArguments>(world.env, type as never, { ...args, 'filter-node-name': 'f' });
      expect(world.graph.nodes.get('f')?.driver).to.equal(driver);
      job.cancel(true);
      expect(await codeOf(job.done)).to.equal('cancelled');
      // The base of an active layer stays writable, as in QEMU.
      const stays = before.map((node) =>
        driver === 'mirror_top' && node.nodeName === 'base' ? { ...node, readOnly: false } : node,
      );
      expect(shapeOf(world)).to.deep.equal(stays);
      target.detach(held);
      world.expectTidy();
    });
  }
});

describe('filter node of a stream', () => {
  const start = async (more = {}) => {
    const world = threeLayers({ filters: true });
    // What is filled in is for the guest: the job itself has not run yet.
    const job = await startJob({ ...world.env, launch: () => {} }, streamJob, { device: 'top', ...more });
    return { world, job };
  };
  const read = (world: World, offset: number, length: number) => world.device.read(offset, Buffer.alloc(length));

  it('fills in whole clusters of what is read through it, and nothing of the base', async () => {
    const { world, job } = await start({ 'base-node': 'base' });
    const before = allocated(world.top);
    await read(world, 0, 4096);
    expect(allocated(world.top)).to.deep.equal(before);
    await read(world, 64 * KiB + 512, 512);
    expect(allocated(world.top)).to.include(1);
    expect(world.top.content().equals(world.model)).to.equal(true);
    job.cancel(true);
    await codeOf(job.done);
    world.expectTidy();
  });

  it('does not overwrite what a guest writes meanwhile', async () => {
    const { world, job } = await start();
    const data = pattern(0, 64 * KiB, 8);
    await Promise.all([read(world, 0, 64 * KiB), world.device.write(0, data), read(world, 4096, 4096)]);
    data.copy(world.model, 0);
    expect(world.top.content().equals(world.model)).to.equal(true);
    job.cancel(true);
    await codeOf(job.done);
    world.expectTidy();
  });

  it('fails a read where the top cannot be written', async () => {
    const { world, job } = await start();
    world.top.fault = (request) => {
      if (request === 'write') throw new BlockError('no-space', 'planned');
    };
    expect(await codeOf(read(world, 64 * KiB, 512))).to.equal('no-space');
    job.cancel(true);
    await codeOf(job.done);
    world.expectTidy();
  });
});

describe('filter node of a backup', () => {
  const backup = { device: 'top', sync: 'none' } as const;

  it('has the target as its second child, which gets what a guest overwrites', async () => {
    const world = threeLayers({ filters: true });
    const target = world.node('target', MiB);
    const job = await startJob(world.env, backupJob, { ...backup, target: 'target' });
    expect(rootNode(world).children.get('target')?.node).to.equal(target);
    const before = world.top.content();
    await world.device.write(0, pattern(0, 4096, 7));
    expect(target.content(64 * KiB).equals(before.subarray(0, 64 * KiB))).to.equal(true);
    job.cancel(true);
    await codeOf(job.done);
    world.expectTidy();
  });

  it('stands above that of another backup of the same source, and either may end first', async () => {
    for (const first of [0, 1]) {
      const world = threeLayers({ filters: true });
      const targets = ['a', 'b'].map((name) => world.node(name, MiB));
      const jobs = [];
      const moments = [];
      for (const { nodeName } of targets) {
        moments.push(world.top.content());
        jobs.push(await startJob(world.env, backupJob, { ...backup, target: nodeName }));
        await world.device.write(0, pattern(0, 4096, jobs.length));
      }
      jobs[first].cancel(true);
      await codeOf(jobs[first].done);
      await world.device.write(512 * KiB, pattern(0, 4096, 7));
      const [at, length] = [512 * KiB, 64 * KiB];
      const other = targets[1 - first].content();
      const wanted = moments[1 - first];
      expect(other.subarray(0, length).equals(wanted.subarray(0, length)), `first of ${first}`).to.equal(true);
      expect(other.subarray(at, at + length).equals(wanted.subarray(at, at + length))).to.equal(true);
      jobs[1 - first].cancel(true);
      await codeOf(jobs[1 - first].done);
      expect(rootNode(world)).to.equal(world.top);
      world.expectTidy();
    }
  });
});

describe('filter node of a job below another', () => {
  it('is not what a header names', async () => {
    const world = threeLayers({ filters: true });
    world.node('target', MiB);
    const backup = await startJob(world.env, backupJob, { device: 'base', target: 'target', sync: 'none' });
    const stream = await startJob(world.env, streamJob, { device: 'top', bottom: 'mid' });
    await stream.done;
    const { backingFile, backingFormat } = world.top;
    expect([backingFile, backingFormat]).to.deep.equal(['/base.img', 'memory']);
    expect(world.top.children.get('backing')?.node.driver).to.equal('copy-before-write');
    backup.cancel(true);
    await codeOf(backup.done);
    expect(world.top.children.get('backing')?.node.nodeName).to.equal('base');
    world.expectTidy();
  });
});
