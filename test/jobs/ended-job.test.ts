// Guests write while a job that copies their writes is cancelled: no write fails for it, and the target is let alone from then on.

import { expect } from 'chai';
import { backupJob } from '../../src/jobs/backup.js';
import type { Job } from '../../src/jobs/job.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { startJob } from '../../src/jobs/start.js';
import type { MemoryNode } from './memory-node.js';
import { MiB, World } from './world.js';

const SEEDS = Array.from({ length: 12 }, (_, i) => i + 1);

/** Cancels the job that `start` gives at a random moment, closes its target, and lets the guests go on for a while. */
async function cancelled(seed: number, start: (world: World, target: MemoryNode) => Promise<Job>): Promise<void> {
  const world = new World({ seed });
  await world.host.run(async () => {
    world.chain(1, MiB);
    const target = world.node('target', MiB, { clusterBytes: 4096 });
    const job = await start(world, target);
    world.startGuests(6);
    await world.pass(world.below(40));
    job.cancel(true);
    await job.done.catch(() => {});
    let late = 0;
    target.fault = (request) => {
      if (request !== 'flush') late++;
    };
    await world.graph.release(target);
    await world.pass(20);
    await world.stopGuests();
    expect(late, `seed ${seed}: requests to the target after the job's end`).to.equal(0);
    world.expectModel();
    await world.graph.closeAll();
    world.expectTidy();
  });
}

describe('a job that is cancelled while guests write', () => {
  it('fails no write that was saving old data for a backup', async () => {
    for (const seed of SEEDS) {
      await cancelled(seed, (world) =>
        startJob(world.env, backupJob, { device: 'layer0', target: 'target', sync: 'none' }),
      );
    }
  });

  it('sends nothing more to the target of a write-blocking mirror', async () => {
    for (const seed of SEEDS) {
      await cancelled(seed, (world) =>
        startJob(world.env, mirrorJob, {
          device: 'layer0',
          target: 'target',
          sync: 'full',
          'copy-mode': 'write-blocking',
        }),
      );
    }
  });
});
