// What a mirror leaves behind, and what it refuses.

import { expect } from 'chai';
import { DirtyBitmap } from '../../src/block/bitmap.js';
import { rootOf } from '../../src/block/device.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { startJob } from '../../src/jobs/start.js';
import { BlockError } from '../../src/util/errors.js';
import { allocated, codeOf, readyOf, threeLayers } from './copy-support.js';
import { pattern } from './memory-node.js';
import { expectSame, KiB, MiB } from './world.js';

describe('mirror', () => {
  it('leaves holes out on a target that reads as zeroes', async () => {
    const world = threeLayers();
    const target = world.node('target', MiB);
    const job = await startJob(world.env, mirrorJob, { device: 'top', target: 'target', sync: 'full' });
    await readyOf(job);
    await job.complete();
    await job.done;
    expect(allocated(target)).to.deep.equal([0, 1, 2, 3]);
    expect(rootOf(world.device).node).to.equal(target);
    expect(world.top.closed).to.equal(true);
    world.expectModel();
  });

  it('has written to both when a write is answered, in write-blocking mode', async () => {
    const world = threeLayers();
    const target = world.node('target', MiB);
    const job = await startJob(world.env, mirrorJob, {
      device: 'top',
      target: 'target',
      sync: 'full',
      'copy-mode': 'write-blocking',
    });
    await readyOf(job);
    job.pause();
    const data = pattern(512, 1024, 8);
    await world.device.write(512, data);
    expect(target.content().subarray(512, 1536).equals(data)).to.equal(true);
    job.cancel(true);
    expect(await codeOf(job.done)).to.equal('cancelled');
    world.expectTidy();
  });

  it('changes from background to write-blocking, and to nothing else', async () => {
    const world = threeLayers();
    world.node('target', MiB);
    const job = await startJob(world.env, mirrorJob, { device: 'top', target: 'target', sync: 'full' });
    expect(() => job.change({ 'copy-mode': 'upside-down' }))
      .to.throw(BlockError)
      .with.property('code', 'invalid-argument');
    job.change({ 'copy-mode': 'write-blocking' });
    expect(() => job.change({ 'copy-mode': 'background' }))
      .to.throw(BlockError)
      .with.property('code', 'invalid-argument');
    job.cancel(true);
    await codeOf(job.done);
  });

  it('copies what a bitmap names, which is clean afterwards', async () => {
    const world = threeLayers();
    const { top } = world;
    const target = world.node('target', MiB);
    target.poke(0, top.content());
    const bitmap = new DirtyBitmap({ name: 'b', size: MiB });
    top.bitmaps.set('b', bitmap);
    await world.device.write(300 * KiB, pattern(0, 512, 5));
    const job = await startJob(world.env, mirrorJob, {
      device: 'top',
      target: 'target',
      sync: 'incremental',
      bitmap: 'b',
    });
    await readyOf(job);
    expect(target.counts.write).to.equal(1);
    job.cancel();
    await job.done;
    expectSame(target.content(), top.content(), 'target');
    expect([bitmap.dirtyBytes, bitmap.busy]).to.deep.equal([0, false]);
  });

  for (const size of [64 * KiB, 2 * MiB]) {
    it(`refuses a target of ${size} bytes for a source of ${MiB}`, async () => {
      const world = threeLayers();
      const target = world.node('target', size);
      const start = startJob(world.env, mirrorJob, { device: 'top', target: 'target', sync: 'full' });
      expect(await codeOf(start)).to.equal('invalid-argument');
      expect(target.length).to.equal(size);
    });
  }

  it('fails when the target does, in either mode, and harms no guest', async () => {
    for (const mode of ['background', 'write-blocking'] as const) {
      const world = threeLayers();
      const target = world.node('target', MiB);
      const job = await startJob(world.env, mirrorJob, {
        device: 'top',
        target: 'target',
        sync: 'full',
        'copy-mode': mode,
      });
      await readyOf(job);
      target.fault = () => {
        throw new BlockError('no-space', 'planned');
      };
      const data = pattern(0, 512, 5);
      await world.device.write(0, data);
      data.copy(world.model);
      expect(await codeOf(job.done)).to.equal('no-space');
      expect(rootOf(world.device).node).to.equal(world.top);
      world.expectModel();
      world.expectTidy();
    }
  });

  it('does not end before its target is flushed', async () => {
    const world = threeLayers();
    const target = world.node('target', MiB);
    const job = await startJob(world.env, mirrorJob, { device: 'top', target: 'target', sync: 'full' });
    await readyOf(job);
    target.fault = (request) => {
      if (request === 'flush') throw new Error('planned');
    };
    await job.complete();
    expect(await codeOf(job.done)).to.equal('io');
    expect(rootOf(world.device).node).to.equal(world.top);
  });

  it('follows guests until it is finalized by hand', async () => {
    const world = threeLayers();
    const target = world.node('target', MiB);
    const job = await startJob(world.env, mirrorJob, {
      device: 'top',
      target: 'target',
      sync: 'full',
      'auto-finalize': false,
    });
    await readyOf(job);
    const pending = new Promise<void>((resolve) => job.on('BLOCK_JOB_PENDING', () => resolve()));
    await job.complete();
    await pending;
    const data = pattern(0, 4096, 6);
    await world.device.write(4096, data);
    data.copy(world.model, 4096);
    await job.finalize();
    expect(rootOf(world.device).node).to.equal(target);
    world.expectModel();
  });

  it('refuses itself, odd granularities, unknown bitmaps and read-only targets', async () => {
    const world = threeLayers();
    world.node('target', MiB);
    world.node('frozen', MiB, { readOnly: true });
    const words = { device: 'top', target: 'target', sync: 'full' } as const;
    expect(await codeOf(startJob(world.env, mirrorJob, { ...words, target: 'top' }))).to.equal('invalid-argument');
    expect(await codeOf(startJob(world.env, mirrorJob, { ...words, granularity: 3000 }))).to.equal('invalid-argument');
    expect(await codeOf(startJob(world.env, mirrorJob, { ...words, granularity: 2 ** 27 }))).to.equal(
      'invalid-argument',
    );
    expect(await codeOf(startJob(world.env, mirrorJob, { ...words, sync: 'incremental' }))).to.equal(
      'invalid-argument',
    );
    expect(
      await codeOf(startJob(world.env, mirrorJob, { ...words, sync: 'bitmap', bitmap: 'x', 'bitmap-mode': 'never' })),
    ).to.equal('not-found');
    expect(await codeOf(startJob(world.env, mirrorJob, { ...words, target: 'frozen' }))).to.equal('read-only');
    expect(await codeOf(startJob(world.env, mirrorJob, { ...words, target: 'mid' }))).to.equal('busy');
    world.expectTidy();
  });
});
