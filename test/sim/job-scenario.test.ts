// A bounded number of seeded job runs, after some that failed once. scripts/sim-soak.ts runs more.

import { expect } from 'chai';
import { JOB_KINDS, type JobKind, runJobScenario } from './job-scenario.js';

/** A sixth of them a job. */
const SEEDS = Number(process.env['DISKWRIGHT_SIM_SEEDS'] ?? 600);
const PLANTED_SEEDS = 200;

/**
 * Seeds that found something: a leak when a base became read-only, zeroes of version 2 that a longer backing node shone through, a
 * grown image whose size was durable before its zeroes, a copy plan that went on with the wrong run after a failed look-up, a mirror
 * that wrote parts of clusters into a target without its backing node.
 */
const ONCE_BROKEN: readonly [JobKind | undefined, number][] = [
  ...[99, 333, 626, 3029, 3261, 3880, 4229, 5158, 6137, 1549, 253].map(
    (seed) => [undefined, seed] as [undefined, number],
  ),
  ['mirror', 721],
  ['mirror', 1074],
  ['mirror', 1790],
];

describe('simulation: jobs', function () {
  this.timeout(600_000);

  it('seeds that were broken once', async () => {
    for (const [kind, seed] of ONCE_BROKEN) await runJobScenario(seed, { kind });
  });

  for (const kind of JOB_KINDS) {
    it(`${kind}: guests, verbs, faults and power loss`, async () => {
      const broken: string[] = [];
      for (let seed = 1; seed <= Math.ceil(SEEDS / JOB_KINDS.length); seed++) {
        await runJobScenario(seed, { kind }).catch((error: Error) => broken.push(error.message));
      }
      expect(broken.join('\n')).to.equal('');
    });
  }

  it('finds a disk that ignores flushes', async () => {
    for (const kind of ['stream', 'commit-middle', 'backup'] as const) {
      let found = false;
      for (let seed = 1; seed <= PLANTED_SEEDS && !found; seed++) {
        found = await runJobScenario(seed, { kind, plant: { ignoreFlush: true } }).then(
          () => false,
          () => true,
        );
      }
      expect(found, kind).to.equal(true);
    }
  });
});
