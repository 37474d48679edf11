// A disk that gets full under a guest, and has room again, in the simulation.

import { expect } from 'chai';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { runFullDisk } from './full-disk.js';

const SEEDS = seedsOf({ fixed: 20, daily: 5, soak: 5000 });

describe('simulation: a full disk', function () {
  this.timeout(timeLimit(120_000));

  it(`what was answered has its space: no flush and no close fails, and nothing is lost (${spanOf(SEEDS)})`, async () => {
    let refused = 0;
    let cleanEnds = 0;
    for (const seed of SEEDS) {
      const stats = await runFullDisk(seed);
      refused += stats.refused;
      cleanEnds += stats.cleanEnds;
    }
    if (SEEDS.length < 20) return;
    expect(refused).to.be.greaterThan(SEEDS.length);
    expect(cleanEnds).to.be.greaterThan(SEEDS.length / 4);
  });
});
