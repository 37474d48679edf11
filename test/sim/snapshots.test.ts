// Internal snapshots on the simulated disk: random lives, power loss at any request, a disk that fails once at any request, and planted faults.

import { Committer } from '../../src/drivers/formats/qcow2/commit-order.js';
import { Mapping } from '../../src/drivers/formats/qcow2/mapping.js';
import { RefcountDeltas } from '../../src/drivers/formats/qcow2/refcount-deltas.js';
import { ImageFile } from '../../src/drivers/image-file.js';
import { SimPowerLoss } from '../../src/host/sim/index.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { closeOrCrash, planted } from './changes.js';
import { guarded } from './checks.js';
import { expectFound } from './planted.js';
import { SnapshotRun } from './snapshots.js';

const SEEDS = seedsOf({ fixed: 14, daily: 4, soak: 2000 });
const AMENDED = seedsOf({ fixed: 4, daily: 2, soak: 1000 });
/** Each request of a change fails in these. */
const FAILING = seedsOf({ fixed: 2, soak: 4 });
const STEPS = 40;

async function plain(seed: number, amends = false): Promise<void> {
  await guarded(seed, async () => {
    const run = new SnapshotRun(seed);
    run.amends = amends;
    await run.prepare();
    await run.host.run(async () => {
      await run.live(STEPS);
      await run.closeAndVerify();
    });
  });
}

/** Power is lost in the first, or a later one of some changes of the version. */
async function powerLossInAmend(seed: number): Promise<void> {
  await guarded(seed, async () => {
    const run = new SnapshotRun(seed, false);
    await run.prepare();
    try {
      await run.host.run(async () => {
        await run.live(20);
        run.host.setFaults({ powerLossAt: run.host.requests + run.random.between(1, 150) });
        for (let i = 0; i < 4; i++) {
          await run.amend();
          await run.live(3);
        }
      });
    } catch (error) {
      if (!(error instanceof SimPowerLoss)) throw error;
    }
    await run.restart();
    await run.host.run(async () => {
      await run.open();
      await run.live(5);
      await run.amend();
      await run.closeAndVerify({ mayLeak: true });
    });
  });
}

async function powerLoss(seed: number): Promise<void> {
  await guarded(seed, async () => {
    const run = new SnapshotRun(seed);
    await run.prepare({ powerLossAt: run.random.between(5, 500) });
    try {
      await run.host.run(() => run.live(80));
    } catch (error) {
      if (!(error instanceof SimPowerLoss)) throw error;
    }
    await run.restart();
    await run.host.run(async () => {
      await run.open();
      await run.live(10);
      await run.closeAndVerify({ mayLeak: true });
    });
  });
}

describe(`internal snapshots on a simulated disk (${spanOf(SEEDS)})`, function () {
  this.timeout(timeLimit(60_000));

  it('hold what they held, and nothing leaks', async () => {
    for (const seed of SEEDS) await plain(seed);
  });

  it('hold it in each version of the format', async () => {
    for (const seed of AMENDED) await plain(seed, true);
  });

  it('survive power loss at any request, with leaks at worst', async () => {
    for (const seed of SEEDS) await powerLoss(seed);
  });

  it('survive power loss at any request of an amend', async () => {
    for (const seed of AMENDED) await powerLossInAmend(seed);
  });

  for (const errno of ['EIO', 'ENOSPC']) {
    it(`stay sound on a disk that answers ${errno} now and then`, async () => {
      const operations = errno === 'EIO' ? (['read', 'write', 'truncate'] as const) : (['write', 'truncate'] as const);
      for (const seed of SEEDS) {
        await guarded(seed, async () => {
          const run = new SnapshotRun(seed);
          const probability = run.random.pick([0.01, 0.05]);
          await run.prepare({ rules: [{ operations, errno, probability, path: '/top.qcow2' }] });
          run.reopens = false;
          await run.host.run(async () => {
            await run.live(STEPS);
            run.host.setFaults({});
            await run.closeAndVerify({ mayLeak: true });
          });
        });
      }
    });
  }

  for (const change of ['create', 'apply', 'delete', 'amend'] as const) {
    for (const errno of ['EIO', 'ENOSPC']) {
      it(`${change} leaves the image as it was, or as it is to be, whichever request fails with ${errno}`, async () => {
        for (const seed of FAILING) await guarded(seed, () => failEach(seed, change, errno));
      });
    }
  }
});

/** Makes an image with snapshots, and lets each request of one more change fail, in copies of it. */
async function failEach(seed: number, change: 'create' | 'apply' | 'delete' | 'amend', errno: string): Promise<void> {
  const before = new SnapshotRun(seed);
  await before.prepare();
  await before.host.run(async () => {
    await before.live(25);
    await before.create();
    await before.live(3);
    await before.closeAndVerify();
  });
  for (let step = 0; ; step++) {
    const run = before.fork();
    await run.open();
    const first = run.host.requests;
    run.host.setFaults({ rules: [{ errno, after: step, times: 1, path: '/top.qcow2' }] });
    await run[change]();
    const requests = run.host.requests - first;
    run.host.setFaults({});
    await closeOrCrash(run);
    if (step >= requests) return;
  }
}

describe('faults that are planted into internal snapshots are found', function () {
  this.timeout(timeLimit(60_000));

  it('copied flags that stay as they are', () =>
    planted(
      RefcountDeltas.prototype,
      'setFlags',
      () => false,
      () => expectFound(['metadata', 'content'], plain),
    ));

  it('L2 tables that are shared and written in place', () => {
    const { pinForWrite } = Mapping.prototype;
    return planted(
      Mapping.prototype,
      'pinForWrite',
      async function (this: Mapping, index) {
        const target = this.l1.target(index);
        if (target !== 0 && !this.l1.copied(index)) this.l1.set(index, target, true);
        return pinForWrite.call(this, index);
      },
      () => expectFound(['metadata', 'content'], plain),
    );
  });

  it('zeroes of snapshots that become data whose refcounts are not on the disk yet', () =>
    planted(
      Committer.prototype,
      'exclusive',
      <T>(action: () => Promise<T>) => action(),
      () => expectFound(['metadata', 'content'], powerLossInAmend, 27),
    ));

  it('tables that are not flushed before the header points to them', () =>
    planted(
      ImageFile.prototype,
      'flush',
      async function (this: ImageFile) {
        this.unflushed = false;
      },
      () => expectFound(['metadata', 'content'], powerLoss),
    ));
});
