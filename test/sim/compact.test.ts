// Compact on the simulated disk: random lives of images with internal snapshots, which are compacted now and then beside their guests. Power loss at any request, a disk that
// fails now and then, each request of one compact failing once, and planted faults.

import { Committer } from '../../src/drivers/formats/qcow2/commit-order.js';
import { BatchMover } from '../../src/drivers/formats/qcow2/compact-batch.js';
import { CompactMap } from '../../src/drivers/formats/qcow2/compact-map.js';
import { Frees } from '../../src/drivers/formats/qcow2/frees.js';
import { SimPowerLoss } from '../../src/host/sim/index.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { closeOrCrash, planted } from './changes.js';
import { guarded } from './checks.js';
import { expectFound } from './planted.js';
import { SnapshotRun } from './snapshots.js';

const SEEDS = seedsOf({ fixed: 4, daily: 1, soak: 2000 });
/** Seeds that have found something once: a repair within a compact that waited for itself, a pointer whose write failed. */
const FOUND = { powerLoss: [1106, 302038, 302079], EIO: 1141, ENOSPC: 1138 } as const;
/** A cluster that waited to be freed when the disk was full, and was taken for lost. */
const FOUND_FAILING = 310448;

function runOf(seed: number): SnapshotRun {
  const run = new SnapshotRun(seed);
  run.compacts = true;
  return run;
}

async function plain(seed: number): Promise<void> {
  await guarded(seed, async () => {
    const run = runOf(seed);
    await run.prepare();
    await run.host.run(async () => {
      await run.live(40);
      await run.closeAndVerify();
    });
  });
}

async function powerLoss(seed: number): Promise<void> {
  await guarded(seed, async () => {
    const run = runOf(seed);
    await run.prepare({ powerLossAt: run.random.between(50, 1200) });
    try {
      await run.host.run(() => run.live(80));
    } catch (error) {
      if (!(error instanceof SimPowerLoss)) throw error;
    }
    await run.restart();
    // Run again, it finishes.
    await run.host.run(async () => {
      await run.open();
      await run.compact();
      await run.live(5);
      await run.closeAndVerify({ mayLeak: true });
    });
  });
}

describe(`compact on a simulated disk (${spanOf(SEEDS)})`, function () {
  this.timeout(timeLimit(60_000));

  it('changes nothing of what is read, leaks nothing, and is as long as was said', async () => {
    for (const seed of SEEDS) await plain(seed);
  });

  it('survives power loss at any request, with leaks at worst', async () => {
    for (const seed of [...SEEDS, ...FOUND.powerLoss]) await powerLoss(seed);
  });

  it('survives power loss at each request of one', async () => {
    for (const seed of SEEDS.slice(0, SEEDS.length > 10 ? 10 : 1)) await losePowerAtEach(seed);
  });

  for (const errno of ['EIO', 'ENOSPC'] as const) {
    it(`stays sound on a disk that answers ${errno} now and then`, async () => {
      const operations = errno === 'EIO' ? (['read', 'write', 'truncate'] as const) : (['write', 'truncate'] as const);
      for (const seed of [...SEEDS, FOUND[errno]]) {
        await guarded(seed, async () => {
          const run = runOf(seed);
          const probability = run.random.pick([0.01, 0.05]);
          await run.prepare({ rules: [{ operations, errno, probability, path: '/top.qcow2' }] });
          run.reopens = false;
          await run.host.run(async () => {
            await run.live(40);
            run.host.setFaults({});
            await closeOrCrash(run);
          });
        });
      }
    });

    it(`leaves the image as it reads, whichever request fails with ${errno}`, async () => {
      const seeds = SEEDS.slice(0, SEEDS.length > 10 ? 10 : 1);
      for (const seed of [...seeds, FOUND_FAILING]) await guarded(seed, () => failEach(seed, errno));
    });
  }
});

/** An image with snapshots, closed. */
async function withSnapshots(seed: number): Promise<SnapshotRun> {
  const run = new SnapshotRun(seed);
  await run.prepare();
  await run.host.run(async () => {
    await run.live(12);
    await run.create();
    await run.live(3);
    await run.closeAndVerify();
  });
  return run;
}

/** Loses power at each request of a compact, in copies of one image. */
async function losePowerAtEach(seed: number): Promise<void> {
  await guarded(seed, async () => {
    const before = await withSnapshots(seed);
    for (let step = 1; ; step++) {
      const run = before.fork();
      await run.open();
      run.host.setFaults({ powerLossAt: run.host.requests + step });
      try {
        await run.host.run(() => run.compact());
        return;
      } catch (error) {
        if (!(error instanceof SimPowerLoss)) throw error;
      }
      await run.restart();
    }
  });
}

/** Lets each request of a compact fail, in copies of one image. */
async function failEach(seed: number, errno: string): Promise<void> {
  const before = await withSnapshots(seed);
  for (let step = 0; ; step++) {
    const run = before.fork();
    await run.open();
    const first = run.host.requests;
    run.host.setFaults({ rules: [{ errno, after: step, times: 1, path: '/top.qcow2' }] });
    await run.compact();
    const requests = run.host.requests - first;
    run.host.setFaults({});
    // A disk that has failed once is no reason to refuse its guests.
    await run.mustWrite();
    await closeOrCrash(run);
    if (step >= requests) return;
  }
}

describe('faults that are planted into compact are found', function () {
  this.timeout(timeLimit(60_000));

  it('pointers that change before the copy is flushed', () => {
    const { run: move } = BatchMover.prototype;
    const { commit } = Committer.prototype;
    return planted(
      BatchMover.prototype,
      'run',
      async function (this: BatchMover, moves) {
        // The commits of a batch: two before it, one after the copy, one after the pointers.
        let commits = 0;
        Committer.prototype.commit = function (this: Committer) {
          return ++commits === 3 ? Promise.resolve() : commit.call(this);
        };
        try {
          return await move.call(this, moves);
        } finally {
          Committer.prototype.commit = commit;
        }
      },
      () => expectFound(['metadata', 'content'], losePowerAtEach),
    );
  });

  it('clusters of several references that move with some of them', () => {
    return planted(
      CompactMap.prototype,
      'weightOf',
      () => 1,
      () => expectFound(['metadata', 'content'], plain, 105),
    );
  });

  it('old places that lose a reference too many', () => {
    const { add } = Frees.prototype;
    return planted(
      Frees.prototype,
      'add',
      function (this: Frees, cluster, count, punch) {
        // Twice too often.
        add.call(this, cluster, count, punch);
        if (punch && cluster % 7 === 0) add.call(this, cluster, count, punch);
      },
      () => expectFound(['metadata', 'content'], plain, 144),
    );
  });
});
