// Some seeded scenarios with persistent bitmaps. A seed that failed once stays here as a test of its own.

import { expect } from 'chai';
import { BitmapStore } from '../../src/drivers/formats/qcow2/bitmap-store.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { runBitmapScenario } from './bitmap-scenario.js';
import { expectFound } from './planted.js';

const SEEDS = seedsOf({ fixed: 14, daily: 8, soak: 10_000 });

function found(likely?: number): Promise<void> {
  return expectFound(['bitmap'], (seed) => runBitmapScenario(seed, { errors: false }), likely);
}

describe('simulation: persistent bitmaps', function () {
  this.timeout(timeLimit(600_000));

  it(`are right, or marked as in use, after faults and power loss (${spanOf(SEEDS)})`, async () => {
    const broken: string[] = [];
    let right = 0;
    for (const seed of SEEDS) {
      const stats = await runBitmapScenario(seed).catch((error: Error) => broken.push(error.message));
      if (typeof stats !== 'number') right += stats.right;
    }
    expect(broken.join('\n')).to.equal('');
    expect(right, 'bitmaps that were right after a power loss').to.be.greaterThan(0);
  });

  it('show a mark that is set after the first write', async () => {
    const { mustPrepare } = BitmapStore.prototype;
    BitmapStore.prototype.mustPrepare = () => false;
    try {
      await found();
    } finally {
      BitmapStore.prototype.mustPrepare = mustPrepare;
    }
  });

  it('show a disk that ignores flushes', () =>
    expectFound(['bitmap', 'metadata', 'content'], (seed) =>
      runBitmapScenario(seed, { errors: false, plant: { ignoreFlush: true } }),
    ));
});
