// Drained sections among users that come and go, by seeds; `npm run soak -- drained` runs more.

import { expect } from 'chai';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { type DrainStats, runDrains } from './drain-scenario.js';

const SEEDS = seedsOf({ fixed: 30, daily: 10, soak: 10_000 });

describe('simulation: drained sections', function () {
  this.timeout(timeLimit(600_000));

  it(`are quiet whoever comes and goes, and lose nothing (${spanOf(SEEDS)})`, async () => {
    const broken: string[] = [];
    const sum: DrainStats = { sections: 0, looks: 0, attached: 0, turnedAway: 0, snapshots: 0, jobs: 0 };
    for (const seed of SEEDS) {
      const stats = await runDrains(seed).catch((error: Error) => void broken.push(error.message));
      for (const key of Object.keys(sum) as (keyof DrainStats)[]) sum[key] += stats?.[key] ?? 0;
    }
    expect(broken.join('\n')).to.equal('');
    if (SEEDS.length > 1) for (const [what, count] of Object.entries(sum)) expect(count, what).to.be.above(0);
  });
});
