// What a backup leaves behind, and what it refuses.

import { expect } from 'chai';
import { DirtyBitmap } from '../../src/block/bitmap.js';
import { Device } from '../../src/block/device.js';
import { openNode } from '../../src/block/open.js';
import { type BackupArguments, backupJob } from '../../src/jobs/backup.js';
import type { Job } from '../../src/jobs/job.js';
import { startJob, startJobs } from '../../src/jobs/start.js';
import { BlockError } from '../../src/util/errors.js';
import { allocated, codeOf, threeLayers } from './copy-support.js';
import type { MemoryNode } from './memory-node.js';
import { pattern } from './memory-node.js';
import { expectSame, KiB, MiB, type World } from './world.js';

describe('backup', () => {
  /** Starts one, overwrites everything at once, and returns what the target holds at the end. */
  async function overwritten(world: World, words: Partial<BackupArguments> = {}): Promise<Job> {
    const job = await startJob(world.env, backupJob, { device: 'top', target: 'target', sync: 'full', ...words });
    job.pause();
    await world.device.write(0, pattern(0, MiB, 99));
    job.resume();
    return job;
  }

  it('saves the old data of a paused job too', async () => {
    const world = threeLayers();
    const target = world.node('target', MiB);
    const job = await overwritten(world);
    await job.done;
    expectSame(target.content(), world.model, 'target');
    world.expectTidy();
  });

  /** A backup of the top into `name`, which is `target` over the top or lies over that, and a reader of `target` who is slower than a guest's write. */
  async function pulled(
    world: World,
    target: MemoryNode,
    name: string,
    begun: () => Promise<void> = async () => {},
  ): Promise<void> {
    const old = world.top.content();
    const job = await startJob(world.env, backupJob, { device: 'top', target: name, sync: 'none' });
    await begun();
    const reader = new Device(target, { name: 'reader', writable: false });
    // The reader has seen that the target has nothing there, and comes to the source late.
    let goOn: () => void = () => {};
    const late = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const { top } = world;
    const read = top.read.bind(top);
    top.read = (...words) => {
      top.read = read;
      return late.then(() => read(...words));
    };
    const got = Buffer.alloc(64 * KiB);
    const reading = reader.read(0, got);
    let written = false;
    const writing = world.device.write(0, pattern(0, 64 * KiB, 99)).then(() => {
      written = true;
    });
    while (target.counts.write === 0) await new Promise(setImmediate);
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
    expect(written, 'the write ended before the read').to.equal(false);
    goOn();
    await Promise.all([reading, writing]);
    expectSame(got, old.subarray(0, 64 * KiB), 'what was pulled');
    expectSame(target.content(64 * KiB), old.subarray(0, 64 * KiB), 'target');
    expect(target.countsAll).to.equal(1);
    await reader.close();
    job.cancel();
    await codeOf(job.done);
    expect(target.countsAll).to.equal(0);
  }

  it('lets a guest write only after those have read who began before, where the target lies over the source', async () => {
    const world = threeLayers();
    await pulled(world, world.node('target', MiB, { backing: world.top }), 'target');
    world.expectTidy();
  });

  it('lets a guest write only after those have read who began before, below the node that is the target', async () => {
    const world = threeLayers();
    const target = world.node('target', MiB, { backing: world.top });
    const { graph } = world;
    const above = await openNode(graph, { driver: 'raw', 'node-name': 'above', file: 'target' });
    await pulled(world, target, 'above');
    await graph.release(above);
    world.expectTidy();
  });

  it('lets a guest write only after those have read who began before, where the target comes to lie over the source later', async () => {
    for (const filters of [false, true]) {
      const world = threeLayers({ filters });
      const { graph, top } = world;
      const target = world.node('target', MiB);
      await pulled(world, target, 'target', async () => {
        expect(target.countsAll).to.equal(0);
        await graph.drained([target], () => graph.setBacking(target, top));
      });
      world.expectTidy();
    }
  });

  it('saves each cluster once', async () => {
    const world = threeLayers();
    const target = world.node('target', MiB);
    world.top.poke(0, pattern(0, MiB, 4));
    const job = await startJob(world.env, backupJob, {
      device: 'top',
      target: 'target',
      sync: 'full',
      speed: 64 * KiB,
    });
    await Promise.all([0, 1, 2, 3].map((i) => world.device.write(i * 512, pattern(0, 512, i))));
    job.setSpeed(0);
    await job.done;
    const writes = target.counts.write;
    expect(writes).to.be.at.most(4);
    expectSame(target.content(), pattern(0, MiB, 4), 'target');
  });

  it('shares one moment in a transaction, and ends with it', async () => {
    const world = threeLayers();
    const other = world.node('other', MiB);
    other.poke(0, pattern(0, MiB, 7));
    world.node('target', MiB);
    const second = world.node('target2', MiB);
    second.fault = (request) => {
      if (request === 'flush') throw new Error('planned');
    };
    const jobs = await startJobs(world.env, backupJob, [
      { device: 'top', target: 'target', sync: 'full' },
      { device: 'other', target: 'target2', sync: 'full' },
    ]);
    expect(await codeOf(jobs[0].done)).to.equal('cancelled');
    expect(await codeOf(jobs[1].done)).to.equal('io');
    world.expectTidy();
  });

  it('starts none of a transaction when one cannot start', async () => {
    const world = threeLayers();
    world.node('target', MiB);
    const words = { device: 'top', target: 'target', sync: 'full' } as const;
    expect(await codeOf(startJobs(world.env, backupJob, [words, { ...words, device: 'nobody' }]))).to.equal(
      'not-found',
    );
    expect(world.manager.list()).to.deep.equal([]);
    world.expectTidy();
  });

  for (const policy of ['break-guest-write', 'break-snapshot'] as const) {
    it(`does as on-cbw-error says when old data cannot be saved: ${policy}`, async () => {
      const world = threeLayers();
      const target = world.node('target', MiB);
      const job = await startJob(world.env, backupJob, {
        device: 'top',
        target: 'target',
        sync: 'full',
        speed: 1,
        'on-cbw-error': policy,
      });
      target.fault = () => {
        throw new BlockError('no-space', 'planned');
      };
      const write = world.device.write(0, pattern(0, 512, 9));
      if (policy === 'break-guest-write') {
        expect(await codeOf(write)).to.equal('no-space');
        target.fault = null;
        job.setSpeed(0);
        await job.done;
        expectSame(target.content(), world.model, 'target');
      } else {
        await write;
        job.setSpeed(0);
        expect(await codeOf(job.done)).to.equal('no-space');
      }
      world.expectTidy();
    });
  }

  describe('with a bitmap', () => {
    /** Dirty at 0, backed up with a guest's write at 512 KiB meanwhile; the target fails where `fails`. */
    async function run(
      words: Partial<BackupArguments>,
      fails: boolean,
    ): Promise<{ dirty: number[]; target: MemoryNode }> {
      const world = threeLayers();
      const target = world.node('target', MiB);
      const bitmap = new DirtyBitmap({ name: 'b', size: MiB });
      world.top.bitmaps.set('b', bitmap);
      bitmap.set(0, 1);
      const job = await startJob(world.env, backupJob, {
        device: 'top',
        target: 'target',
        sync: 'bitmap',
        bitmap: 'b',
        speed: 1,
        ...words,
      });
      expect(bitmap.busy).to.equal(true);
      await world.device.write(512 * KiB, pattern(0, 512, 9));
      if (fails) {
        target.fault = () => {
          throw new Error('planned');
        };
      }
      job.setSpeed(0);
      await job.done.catch(() => undefined);
      expect(bitmap.busy).to.equal(false);
      const dirty: number[] = [];
      for (let at = bitmap.nextDirty(0); at >= 0; at = bitmap.nextDirty(at + 65536)) dirty.push(at / KiB);
      return { dirty, target };
    }

    it('copies what the bitmap names', async () => {
      const { target } = await run({ 'bitmap-mode': 'on-success' }, false);
      expect(allocated(target)).to.deep.equal([0]);
    });

    const cases: [Partial<BackupArguments>, boolean, number[]][] = [
      [{ 'bitmap-mode': 'on-success' }, false, [512]],
      [{ 'bitmap-mode': 'on-success' }, true, [0, 512]],
      [{ 'bitmap-mode': 'never' }, false, [0, 512]],
      [{ 'bitmap-mode': 'never' }, true, [0, 512]],
      [{ 'bitmap-mode': 'always' }, false, [512]],
      [{ 'bitmap-mode': 'always' }, true, [0, 512]],
      [{ sync: 'incremental' }, false, [512]],
      [{ sync: 'full', 'bitmap-mode': 'on-success' }, false, [512]],
    ];
    for (const [words, fails, left] of cases) {
      it(`${JSON.stringify(words)}, ${fails ? 'failed' : 'done'}: leaves [${left}] dirty`, async () => {
        expect((await run(words, fails)).dirty).to.deep.equal(left);
      });
    }
  });

  it('refuses what cannot be', async () => {
    const world = threeLayers();
    world.node('target', MiB);
    world.node('short', MiB - 512);
    world.top.bitmaps.set('known', new DirtyBitmap({ name: 'known', size: MiB }));
    world.node('frozen', MiB, { readOnly: true });
    const words = { device: 'top', target: 'target', sync: 'full' } as const;
    const tries: [Partial<BackupArguments>, string][] = [
      [{ target: 'top' }, 'invalid-argument'],
      [{ target: 'short' }, 'invalid-argument'],
      [{ target: 'frozen' }, 'read-only'],
      [{ sync: 'incremental' }, 'invalid-argument'],
      [{ sync: 'bitmap', bitmap: 'b', 'bitmap-mode': 'always' }, 'not-found'],
      [{ sync: 'none', bitmap: 'known', 'bitmap-mode': 'always' }, 'invalid-argument'],
      [{ sync: 'incremental', bitmap: 'known', 'bitmap-mode': 'never' }, 'invalid-argument'],
      [{ sync: 'full', 'bitmap-mode': 'never' }, 'invalid-argument'],
      [{ 'x-perf': { 'max-chunk': 1000 } }, 'invalid-argument'],
      [{ 'x-perf': { 'max-workers': 0 } }, 'invalid-argument'],
      [{ 'x-perf': { 'max-chunk': -1 } }, 'invalid-argument'],
    ];
    for (const [more, code] of tries) {
      expect(await codeOf(startJob(world.env, backupJob, { ...words, ...more })), JSON.stringify(more)).to.equal(code);
    }
    world.expectTidy();
  });

  it('with sync none copies only what guests overwrite, until it is cancelled', async () => {
    const world = threeLayers();
    const target = world.node('target', MiB);
    const job = await startJob(world.env, backupJob, { device: 'top', target: 'target', sync: 'none' });
    await world.device.write(0, pattern(0, 512, 9));
    expect(allocated(target)).to.deep.equal([0]);
    job.cancel();
    expect(await codeOf(job.done)).to.equal('cancelled');
    world.expectTidy();
  });
});
