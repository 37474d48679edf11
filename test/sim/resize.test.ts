// Changes of the size on the simulated disk: small images that grow and shrink, with snapshots and backing files, and images whose refcount table becomes too
// short as they grow. The power is lost in most changes, at a flush: what was written since the one before it survives in part. Planted faults are found.

import { Committer } from '../../src/drivers/formats/qcow2/commit-order.js';
import { ImageFile } from '../../src/drivers/image-file.js';
import { SimPowerLoss } from '../../src/host/sim/index.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { planted, withoutFlush } from './changes.js';
import { guarded } from './checks.js';
import { expectFound } from './planted.js';
import type { Shape } from './snapshot-model.js';
import { SnapshotRun } from './snapshots.js';

const SEEDS = seedsOf({ fixed: 4, daily: 2, soak: 2000 });
const GROWING = seedsOf({ fixed: 2, daily: 1, soak: 2000 });
/** An image loses its power so often. */
const ROUNDS = 6;
const CHANGES_PER_ROUND = 2;
/** As many flushes as a change of the size makes, or a few more. */
const FLUSHES = 8;
const MOST_SECTORS = 400;

/** L2 tables of 64 sectors, so that the L1 table grows with the disk; what is new would show the backing file. */
const SMALL: Partial<Shape> = { clusterSize: 512, extended: false, sectors: 40, backingSectors: 300 };

/**
 * The refcount table has one cluster, so 64 blocks with the refcounts of 64 clusters each: of 4096 clusters. The image has a few less, and the next
 * sectors that are preallocated need a longer table.
 */
const FULL_TABLE: Partial<Shape> = {
  clusterSize: 512,
  version: 'v3',
  extended: false,
  refcountBits: 64,
  sectors: 3950,
  backingSectors: 0,
  preallocation: 'metadata',
};

async function anySize(run: SnapshotRun): Promise<void> {
  const { random, sectorCount } = run;
  if (sectorCount < MOST_SECTORS && random.chance(0.7)) await run.resize(sectorCount + random.between(30, 100));
  else await run.resize(random.between(1, sectorCount));
}

/** Goes on until something fails or the power is lost; then with what that left. */
async function rounds(run: SnapshotRun, count: number, round: () => Promise<void>): Promise<void> {
  await run.prepare();
  for (let i = 0; i < count; i++) {
    try {
      await run.host.run(async () => {
        if (i > 0) await run.open();
        await round();
        await run.graph.closeAll();
      });
    } catch (error) {
      if (!(error instanceof SimPowerLoss)) throw error;
    }
    await run.restart(run.random.below(2 ** 31));
  }
}

/** Power is lost in changes of the size, with writes and snapshots in between. */
async function powerLosses(seed: number): Promise<void> {
  await guarded(seed, async () => {
    const run = new SnapshotRun(seed, false, SMALL);
    await rounds(run, ROUNDS, async () => {
      await run.live(3);
      run.flushesLeft = run.random.between(1, FLUSHES);
      for (let i = 0; i < CHANGES_PER_ROUND; i++) await anySize(run);
    });
    await run.host.run(async () => {
      await run.open();
      await anySize(run);
      await run.mustWrite();
      await run.closeAndVerify({ mayLeak: true });
    });
  });
}

/** Power is lost while a longer disk is preallocated, and the refcount table grows with it. */
async function powerLossAsTableGrows(seed: number): Promise<void> {
  await guarded(seed, async () => {
    const run = new SnapshotRun(seed, false, FULL_TABLE);
    await rounds(run, 2, async () => {
      run.flushesLeft = run.random.between(1, 10);
      await run.mustWrite();
      await run.resize(run.sectorCount + run.random.between(60, 150), 'metadata');
    });
    await run.host.run(async () => {
      await run.open();
      await run.mustWrite();
      await run.closeAndVerify({ mayLeak: true });
    });
  });
}

describe(`changes of the size on a simulated disk (${spanOf(SEEDS)})`, function () {
  this.timeout(timeLimit(120_000));

  it('survive power loss, with leaks at worst', async () => {
    for (const seed of SEEDS) await powerLosses(seed);
  });

  it(`survive power loss while the refcount table grows (${spanOf(GROWING)})`, async () => {
    for (const seed of GROWING) await powerLossAsTableGrows(seed);
  });
});

type Exclusive = (this: Committer, step: () => Promise<unknown>, options?: { cuts?: boolean }) => Promise<unknown>;

/** Runs with another way to do the steps that a commit must precede. */
function withExclusive(other: Exclusive, action: () => Promise<void>): Promise<void> {
  return planted(Committer.prototype, 'exclusive', other as Committer['exclusive'], action);
}

const { exclusive } = Committer.prototype;

/** The header's step comes first, and then the commit. */
const sizeFirst: Exclusive = async function (step, options) {
  if (!/\bheader\.size ?= ?size\b/.test(String(step))) return exclusive.call(this, step, options);
  await step();
  return exclusive.call(this, async () => undefined);
};

/** The commit before the cut flushes nothing, so that the cut may reach the disk alone. */
const cutFirst: Exclusive = async function (step, options = {}) {
  if (!options.cuts) return exclusive.call(this, step, options);
  const { flush } = ImageFile.prototype;
  ImageFile.prototype.flush = async () => undefined;
  const cut = (): Promise<unknown> => {
    ImageFile.prototype.flush = flush;
    return step();
  };
  try {
    return await exclusive.call(this, cut, options);
  } finally {
    ImageFile.prototype.flush = flush;
  }
};

describe('faults that are planted into changes of the size are found', function () {
  this.timeout(timeLimit(120_000));

  it('a longer L1 table that is not flushed before the header points to it', () =>
    withoutFlush(ImageFile.prototype, 'resize\\.ts', () => expectFound(['metadata', 'content'], powerLosses, 3)));

  it('a size that the header has before what is new reads as zeroes on the disk', () =>
    withExclusive(sizeFirst, () => expectFound(['content'], powerLosses)));

  it('a file that is cut while entries on the disk point behind its new end', () =>
    withExclusive(cutFirst, () => expectFound(['metadata'], powerLosses, 12)));

  it('a longer refcount table that is not flushed before the header points to it', () =>
    withoutFlush(ImageFile.prototype, 'refcount-growth\\.ts', () =>
      expectFound(['metadata'], powerLossAsTableGrows, 91),
    ));
});
