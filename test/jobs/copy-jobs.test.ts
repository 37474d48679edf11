// What each copy job leaves behind, and what it refuses.

import { expect } from 'chai';
import { DirtyBitmap } from '../../src/block/bitmap.js';
import { rootOf } from '../../src/block/device.js';
import { type BackupArguments, backupJob } from '../../src/jobs/backup.js';
import { commitJob } from '../../src/jobs/commit.js';
import type { Job } from '../../src/jobs/job.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { startJob, startJobs } from '../../src/jobs/start.js';
import { streamJob } from '../../src/jobs/stream.js';
import { BlockError } from '../../src/util/errors.js';
import type { MemoryNode } from './memory-node.js';
import { pattern } from './memory-node.js';
import { expectSame, KiB, MiB, World } from './world.js';

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    expect(error).to.be.instanceOf(BlockError);
    return (error as BlockError).code;
  }
  throw new Error('it did not fail');
}

/** base <- mid <- top, 64 KiB clusters: each layer has one of its own and one that the layer above hides. */
function threeLayers(): World {
  const world = new World();
  const base = world.node('base', MiB, { readOnly: true });
  base.poke(0, pattern(0, 256 * KiB, 1));
  const mid = world.node('mid', MiB, { backing: base, readOnly: true });
  mid.poke(64 * KiB, pattern(64 * KiB, 128 * KiB, 2));
  mid.pokeZero(512 * KiB, 64 * KiB);
  const top = world.node('top', MiB, { backing: mid });
  top.poke(128 * KiB, pattern(128 * KiB, 64 * KiB, 3));
  world.layers.push(base, mid, top);
  world.plug();
  return world;
}

function readyOf(job: Job): Promise<void> {
  return new Promise((resolve, reject) => {
    job.on('BLOCK_JOB_READY', () => resolve());
    job.done.catch(reject);
  });
}

function allocated(node: MemoryNode): number[] {
  return [...node.clusters.keys()].sort((a, b) => a - b);
}

describe('stream', () => {
  it('takes only what the top lacks, and closes the layers', async () => {
    const world = threeLayers();
    const [base, mid, top] = world.layers;
    await (await startJob(world.env, streamJob, { device: 'top', 'base-node': 'base' })).done;
    expect(allocated(top)).to.deep.equal([1, 2, 8]);
    expect(top.clusters.get(8)).to.equal('zero');
    expect(top.children.get('backing')?.node).to.equal(base);
    expect([top.backingFile, top.backingFormat]).to.deep.equal([base.filename, 'memory']);
    expect([mid.closed, base.closed]).to.deep.equal([true, false]);
    world.expectModel();
    world.expectTidy();
  });

  it('writes no zeroes where nothing stays below', async () => {
    const world = threeLayers();
    const { top } = world;
    await (await startJob(world.env, streamJob, { device: 'top' })).done;
    expect(allocated(top)).to.deep.equal([0, 1, 2, 3]);
    expect([top.children.size, top.backingFile]).to.deep.equal([0, null]);
    world.expectModel();
  });

  it('stops above the bottom it was given, under a name of its own', async () => {
    const world = threeLayers();
    const { top } = world;
    await (await startJob(world.env, streamJob, { device: 'top', bottom: 'mid', 'backing-file': '../base' })).done;
    expect(top.backingFile).to.equal('../base');
    expect(top.children.get('backing')?.node.nodeName).to.equal('base');
  });

  it('streams into a layer in the middle, which is read-only again afterwards', async () => {
    const world = threeLayers();
    const [, mid] = world.layers;
    await (await startJob(world.env, streamJob, { device: 'mid' })).done;
    expect(mid.readOnly).to.equal(true);
    expect(mid.children.has('backing')).to.equal(false);
    world.expectModel();
    world.expectTidy();
  });

  it('leaves the chain as it was when a read fails', async () => {
    const world = threeLayers();
    const [base, mid, top] = world.layers;
    base.fault = (request, offset) => {
      if (request === 'read' && offset >= 192 * KiB) throw new Error('planned');
    };
    const job = await startJob(world.env, streamJob, { device: 'top' });
    expect(await codeOf(job.done)).to.equal('io');
    expect(top.children.get('backing')?.node).to.equal(mid);
    expect(top.backingFile).to.equal(mid.filename);
    base.fault = null;
    world.expectModel();
    world.expectTidy();
  });

  it('goes on past ignored errors, and fails at the end', async () => {
    const world = threeLayers();
    const [base, mid, top] = world.layers;
    base.fault = () => {
      throw new Error('planned');
    };
    const job = await startJob(world.env, streamJob, { device: 'top', 'on-error': 'ignore' });
    expect(await codeOf(job.done)).to.equal('io');
    base.fault = null;
    expect(top.children.get('backing')?.node).to.equal(mid);
  });

  it('waits after an error until somebody resumes it', async () => {
    const world = threeLayers();
    const [base, , top] = world.layers;
    let left = 1;
    base.fault = () => {
      if (left-- > 0) throw new Error('planned');
    };
    const job = await startJob(world.env, streamJob, { device: 'top', 'on-error': 'stop' });
    await new Promise<void>((resolve) => job.on('JOB_STATUS_CHANGE', ({ status }) => status === 'paused' && resolve()));
    job.resume();
    await job.done;
    expect(top.children.has('backing')).to.equal(false);
    world.expectModel();
  });

  it('keeps link and header together when the header cannot be written', async () => {
    const world = threeLayers();
    const [, mid, top] = world.layers;
    top.fault = (request) => {
      if (request === 'header') throw new Error('planned');
    };
    expect(await codeOf((await startJob(world.env, streamJob, { device: 'top' })).done)).to.equal('io');
    expect([top.children.get('backing')?.node, top.backingFile]).to.deep.equal([mid, mid.filename]);
    world.expectModel();
  });

  it('has nothing to do above its own backing node', async () => {
    const world = threeLayers();
    const [, mid, top] = world.layers;
    await (await startJob(world.env, streamJob, { device: 'top', 'base-node': 'mid' })).done;
    expect(top.children.get('backing')?.node).to.equal(mid);
    expect(allocated(top)).to.deep.equal([2]);
  });

  it('refuses contradicting options', async () => {
    const world = threeLayers();
    const tries = [
      { device: 'top', 'base-node': 'base', bottom: 'mid' },
      { device: 'top', base: '/base.img', 'base-node': 'base' },
      { device: 'top', 'backing-file': 'x' },
      { device: 'mid', 'base-node': 'top' },
      { device: 'top', bottom: 'top' },
    ];
    for (const words of tries) expect(await codeOf(startJob(world.env, streamJob, words))).to.equal('invalid-argument');
    expect(await codeOf(startJob(world.env, streamJob, { device: 'nobody' }))).to.equal('not-found');
    expect(await codeOf(startJob(world.env, streamJob, { device: 'top', base: '/other' }))).to.equal('not-found');
    expect(await codeOf(startJob(world.env, streamJob, { device: 'top', 'filter-node-name': 'f' }))).to.equal(
      'unsupported',
    );
    expect(world.manager.list()).to.deep.equal([]);
    world.expectTidy();
  });

  it('refuses a node that another job works on', async () => {
    const world = threeLayers();
    const job = await startJob(world.env, streamJob, { device: 'top', speed: 1 });
    for (const device of ['top', 'mid'])
      expect(await codeOf(startJob(world.env, streamJob, { device }))).to.equal('busy');
    job.cancel(true);
    expect(await codeOf(job.done)).to.equal('cancelled');
    world.expectTidy();
  });
});

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
    expect(base.readOnly).to.equal(true);
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
    world.node('other', MiB, { backing: base });
    expect(await codeOf(startJob(world.env, commitJob, { device: 'top', 'top-node': 'mid' }))).to.equal('permission');
    world.expectTidy();
    expect(base.readOnly).to.equal(true);
  });
});

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
    expect(await codeOf(startJob(world.env, mirrorJob, { ...words, target: 'mid' }))).to.equal('read-only');
    world.expectTidy();
  });
});

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
    world.node('frozen', MiB, { readOnly: true });
    const words = { device: 'top', target: 'target', sync: 'full' } as const;
    const tries: [Partial<BackupArguments>, string][] = [
      [{ target: 'top' }, 'invalid-argument'],
      [{ target: 'short' }, 'invalid-argument'],
      [{ target: 'frozen' }, 'read-only'],
      [{ sync: 'incremental' }, 'invalid-argument'],
      [{ sync: 'bitmap', bitmap: 'b', 'bitmap-mode': 'always' }, 'not-found'],
      [{ sync: 'none', bitmap: 'b', 'bitmap-mode': 'always' }, 'invalid-argument'],
      [{ sync: 'incremental', bitmap: 'b', 'bitmap-mode': 'never' }, 'invalid-argument'],
      [{ sync: 'full', 'bitmap-mode': 'never' }, 'invalid-argument'],
      [{ 'x-perf': { 'max-chunk': 1000 } }, 'invalid-argument'],
      [{ 'x-perf': { 'max-workers': 1000 } }, 'invalid-argument'],
      [{ 'x-perf': { 'use-copy-range': true } }, 'unsupported'],
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
