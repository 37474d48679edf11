// A disk that gets full under a guest, and has room again, in the simulation.

import { expect } from 'chai';
import { runFullDisk } from './full-disk.js';

const SEEDS = 60;

describe('simulation: a full disk', function () {
  this.timeout(120_000);

  it('what was answered has its space: no flush and no close fails, and nothing is lost', async () => {
    let refused = 0;
    let cleanEnds = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const stats = await runFullDisk(seed);
      refused += stats.refused;
      cleanEnds += stats.cleanEnds;
    }
    expect(refused).to.be.greaterThan(SEEDS);
    expect(cleanEnds).to.be.greaterThan(SEEDS / 4);
  });
});
