// A bounded number of seeded scenarios. DISKWRIGHT_SIM_SEEDS sets how many; scripts/sim-soak.ts runs more. A seed that failed once
// stays here as a test of its own.

import { expect } from 'chai';
import { Refcounts } from '../../src/drivers/formats/qcow2/allocation.js';
import { Qcow2Image } from '../../src/drivers/formats/qcow2/image.js';
import { ImageFile } from '../../src/drivers/formats/qcow2/image-file.js';
import { runScenario, type ScenarioOptions } from './scenario.js';

const SEEDS = Number(process.env['DISKWRIGHT_SIM_SEEDS'] ?? 600);
/** Seeds within which a planted fault must be found. */
const PLANTED_SEEDS = 200;

async function runSeeds(first: number, count: number, options: ScenarioOptions): Promise<void> {
  const broken: string[] = [];
  for (let seed = first; seed < first + count; seed++) {
    await runScenario(seed, options).catch((error: Error) => broken.push(error.message));
  }
  expect(broken.join('\n')).to.equal('');
}

/** How many seeds it takes until something is found; Infinity where nothing is. */
async function seedsUntilFound(options: ScenarioOptions): Promise<number> {
  for (let seed = 1; seed <= PLANTED_SEEDS; seed++) {
    const found = await runScenario(seed, { ...options, errors: false }).then(
      () => false,
      () => true,
    );
    if (found) return seed;
  }
  return Number.POSITIVE_INFINITY;
}

describe('simulation: guest I/O', function () {
  this.timeout(600_000);

  it('raw: keeps its promises through faults and power loss', () =>
    runSeeds(1, Math.ceil(SEEDS / 4), { format: 'raw' }));

  it('qcow2: keeps its promises through faults and power loss', () => runSeeds(1, SEEDS, { format: 'qcow2' }));

  it('runs the same way twice', async () => {
    const traces = await Promise.all(
      [0, 1].map(async () => {
        const hashes: string[] = [];
        await runScenario(7, { inspect: (host) => hashes.push(host.traceHash()) });
        return hashes.join();
      }),
    );
    expect(traces[0]).to.equal(traces[1]);
  });
});

describe('simulation: planted faults are found', function () {
  this.timeout(600_000);

  it('a disk that ignores flushes', async () => {
    for (const format of ['raw', 'qcow2'] as const) {
      expect(await seedsUntilFound({ format, plant: { ignoreFlush: true } })).to.be.at.most(PLANTED_SEEDS);
    }
  });

  it('a mapping that may be durable before its data', async () => {
    const { flush } = ImageFile.prototype;
    const { commit } = Qcow2Image.prototype;
    // Nothing is flushed between the steps of a commit, all of it at the end: only the order is lost.
    ImageFile.prototype.flush = async () => {};
    Qcow2Image.prototype.commit = async function () {
      await commit.call(this);
      await flush.call(this.file);
    };
    try {
      expect(await seedsUntilFound({ format: 'qcow2' })).to.be.at.most(PLANTED_SEEDS);
    } finally {
      ImageFile.prototype.flush = flush;
      Qcow2Image.prototype.commit = commit;
    }
  });

  it('a refcount that is lowered before the mapping is gone', async () => {
    const { pendFree } = Refcounts.prototype;
    const { indexMetadata } = Qcow2Image.prototype;
    const perBlock = new WeakMap<Refcounts, number>();
    Qcow2Image.prototype.indexMetadata = function () {
      perBlock.set(this.refcounts, this.geometry.blockEntries);
      indexMetadata.call(this);
    };
    // Lowered at once where the refcount block is at hand; `release` would leak the others.
    Refcounts.prototype.pendFree = function (cluster, count, punch) {
      for (let at = cluster; at < cluster + count; at++) {
        if (this.blocks.get(Math.floor(at / perBlock.get(this)!)) !== undefined) this.release(at, 1);
        else pendFree.call(this, at, 1, punch);
      }
    };
    try {
      expect(await seedsUntilFound({ format: 'qcow2' })).to.be.at.most(PLANTED_SEEDS);
    } finally {
      Refcounts.prototype.pendFree = pendFree;
      Qcow2Image.prototype.indexMetadata = indexMetadata;
    }
  });
});
