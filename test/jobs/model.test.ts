// Random guests, pauses, speeds, cancels against every job, compared with a model in memory. A failure prints its seed.

import { expect } from 'chai';
import { rootOf } from '../../src/block/device.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { backupJob } from '../../src/jobs/backup.js';
import { commitJob } from '../../src/jobs/commit.js';
import type { Job } from '../../src/jobs/job.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { startJob } from '../../src/jobs/start.js';
import { streamJob } from '../../src/jobs/stream.js';
import { BlockError } from '../../src/util/errors.js';
import { seedsOf } from '../support/sample.js';
import type { MemoryNode } from './memory-node.js';
import { expectSame, KiB, World } from './world.js';

const SEEDS = seedsOf({ fixed: 8, daily: 4, soak: 500 });

const SIZE = 2048 * KiB + 512 * 3;

type Outcome = 'completed' | 'cancelled';

/** Torments a job until it ends. `mayCancel`: it may be cancelled on the way. */
async function torment(
  world: World,
  job: Job,
  mayCancel: boolean,
  atReady: (job: Job) => Promise<void>,
): Promise<Outcome> {
  let ended = false;
  const end = job.done.then(
    () => 'completed' as const,
    (error: BlockError) => {
      if (error.code !== 'cancelled') throw error;
      return 'cancelled' as const;
    },
  );
  const chaos = async (): Promise<void> => {
    while (!ended) {
      await world.pass(world.below(12));
      if (ended) return;
      try {
        switch (world.below(8)) {
          case 0:
            job.pause();
            await world.pass(world.below(20));
            job.resume();
            break;
          case 1:
            job.setSpeed(world.below(3) === 0 ? 0 : 256 * KiB * (1 + world.below(64)));
            break;
          case 2:
            if (mayCancel && world.below(6) === 0) job.cancel(true);
            break;
          default:
            if (job.status === 'ready') await atReady(job);
        }
      } catch (error) {
        if (!(error instanceof BlockError) || error.code !== 'bad-state') throw error;
      }
    }
  };
  const trouble = chaos();
  try {
    return await end;
  } finally {
    ended = true;
    await trouble;
  }
}

const complete = (job: Job): Promise<void> => job.complete();

const scenarios: Record<string, (world: World, mayCancel: boolean) => Promise<void>> = {
  async 'stream the whole chain'(world, mayCancel) {
    world.chain(2 + world.below(3), SIZE);
    world.startGuests();
    const job = await startJob(world.env, streamJob, { device: world.top.nodeName });
    const outcome = await torment(world, job, mayCancel, complete);
    await world.stopGuests();
    expect(!world.top.children.has('backing')).to.equal(outcome === 'completed');
    if (outcome === 'completed') expect(world.top.backingFile).to.equal(null);
  },

  async 'stream down to a base'(world, mayCancel) {
    world.chain(3 + world.below(2), SIZE, { sizes: [SIZE - 100 * KiB, SIZE - 512, SIZE, SIZE] });
    const base = world.layers[world.below(world.layers.length - 2)];
    const before = base.content();
    world.startGuests();
    const job = await startJob(world.env, streamJob, { device: world.top.nodeName, 'base-node': base.nodeName });
    const outcome = await torment(world, job, mayCancel, complete);
    await world.stopGuests();
    expectSame(base.content(), before, 'base');
    if (outcome === 'completed') {
      expect(world.top.children.get('backing')?.node).to.equal(base);
      expect(world.top.backingFile).to.equal(base.filename);
    }
  },

  async 'commit layers in the middle'(world, mayCancel) {
    world.chain(4, SIZE, { sizes: [SIZE - 200 * KiB, SIZE - 512, SIZE - 64 * KiB, SIZE] });
    const [base, , top] = world.layers;
    const wanted = top.content();
    world.startGuests();
    const job = await startJob(world.env, commitJob, {
      device: world.top.nodeName,
      'top-node': top.nodeName,
      'base-node': base.nodeName,
    });
    const outcome = await torment(world, job, mayCancel, complete);
    await world.stopGuests();
    if (outcome === 'completed') {
      expect(world.top.children.get('backing')?.node).to.equal(base);
      expect(world.top.backingFile).to.equal(base.filename);
      expectSame(base.content(wanted.length), wanted, 'base');
    }
    expect(base.readOnly).to.equal(true);
  },

  async 'commit the active layer'(world, mayCancel) {
    world.chain(2 + world.below(3), SIZE, { sizes: [SIZE - 200 * KiB, SIZE, SIZE, SIZE] });
    const base = world.layers[world.below(world.layers.length - 1)];
    world.startGuests();
    const job = await startJob(world.env, commitJob, { device: world.top.nodeName, 'base-node': base.nodeName });
    const outcome = await torment(world, job, mayCancel, complete);
    await world.stopGuests();
    expect(rootOf(world.device).node === (base as BlockNode)).to.equal(outcome === 'completed');
    // It stays writable, also where the job is cancelled.
    expect(base.readOnly).to.equal(false);
  },

  async mirror(world, mayCancel) {
    world.chain(1 + world.below(3), SIZE);
    const target = world.node('target', SIZE, { clusterBytes: 4096 << world.below(5) });
    if (world.below(2) === 0) target.poke(0, Buffer.alloc(SIZE, 0x77));
    const blocking = world.below(2) === 0;
    world.startGuests();
    const job = await startJob(world.env, mirrorJob, {
      device: world.top.nodeName,
      target: target.nodeName,
      sync: 'full',
      'copy-mode': blocking ? 'write-blocking' : 'background',
      granularity: 512 << world.below(8),
    });
    let soft = false;
    let asked = false;
    const outcome = await torment(world, job, mayCancel, async () => {
      if (asked) return;
      if (!blocking && world.below(3) === 0) {
        job.change({ 'copy-mode': 'write-blocking' });
        return;
      }
      asked = true;
      soft = world.below(2) === 0;
      if (!soft) return job.complete();
      await world.stopGuests();
      job.cancel();
    });
    await world.stopGuests();
    if (outcome === 'completed') {
      expect(rootOf(world.device).node === (target as BlockNode)).to.equal(!soft);
      expectSame(target.content(), world.model, 'target');
    }
  },

  async 'mirror the top'(world, mayCancel) {
    world.chain(2 + world.below(2), SIZE);
    const target = world.node('target', SIZE, { clusterBytes: 65536 });
    const base = world.top.children.get('backing')!.node;
    world.startGuests();
    const job = await startJob(world.env, mirrorJob, {
      device: world.top.nodeName,
      target: target.nodeName,
      sync: 'top',
    });
    const outcome = await torment(world, job, mayCancel, complete);
    await world.stopGuests();
    if (outcome === 'completed') {
      expect(rootOf(world.device).node === (target as BlockNode)).to.equal(true);
      expect(target.children.get('backing')?.node).to.equal(base);
    }
  },

  async 'mirror nothing but what is written'(world, mayCancel) {
    world.chain(2, SIZE);
    const source = world.top;
    const target = world.node('target', SIZE, { clusterBytes: 4096 });
    world.startGuests();
    const job = await startJob(world.env, mirrorJob, {
      device: source.nodeName,
      target: target.nodeName,
      sync: 'none',
      granularity: 4096,
    });
    const outcome = await torment(world, job, mayCancel, complete);
    await world.stopGuests();
    if (outcome === 'completed') expect(target.children.get('backing')?.node).to.equal(source);
  },

  async backup(world, mayCancel) {
    world.chain(1 + world.below(3), SIZE);
    const target = world.node('target', SIZE, { clusterBytes: 4096 << world.below(6) });
    if (world.below(2) === 0) target.poke(0, Buffer.alloc(SIZE, 0x77));
    world.startGuests();
    await world.pass(world.below(30));
    await world.stopGuests();
    const moment = Buffer.from(world.model);
    const job = await startJob(world.env, backupJob, {
      device: world.top.nodeName,
      target: target.nodeName,
      sync: 'full',
    });
    world.startGuests();
    const outcome = await torment(world, job, mayCancel, complete);
    if (outcome === 'completed') expectSame(target.content(), moment, 'target');
    await world.stopGuests();
    if (outcome === 'completed') expectSame(target.content(), moment, 'target, later');
  },

  async 'backup of the top layer'(world, mayCancel) {
    world.chain(2 + world.below(2), SIZE);
    const base = world.top.children.get('backing')!.node as MemoryNode;
    const target = world.node('target', SIZE, { clusterBytes: 65536, backing: base });
    const moment = Buffer.from(world.model);
    const job = await startJob(world.env, backupJob, {
      device: world.top.nodeName,
      target: target.nodeName,
      sync: 'top',
    });
    world.startGuests();
    const outcome = await torment(world, job, mayCancel, complete);
    await world.stopGuests();
    if (outcome === 'completed') expectSame(target.content(), moment, 'target');
  },
};

describe('jobs against a model', () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    it(name, async () => {
      for (const seed of SEEDS) {
        const world = new World({ seed });
        try {
          await world.host.run(async () => {
            await scenario(world, seed % 2 === 0);
            world.expectModel();
            world.expectTidy();
          });
        } catch (error) {
          throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
        }
      }
    });
  }
});
