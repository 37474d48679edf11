// Some seeded job runs, after those that failed once. `npm run soak -- sim` runs more.

import { expect } from 'chai';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { JOB_KINDS, type JobKind, runJobScenario } from './job-scenario.js';
import { expectFound } from './planted.js';

const SEEDS = seedsOf({ fixed: 40, daily: 20, soak: 2000 });

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
  this.timeout(timeLimit(600_000));

  it('keep their promises with the seeds that found something once', async () => {
    for (const [kind, seed] of ONCE_BROKEN) await runJobScenario(seed, { kind });
  });

  for (const kind of JOB_KINDS) {
    it(`${kind} keeps its promises through guests, verbs, faults and power loss (${spanOf(SEEDS)})`, async () => {
      const broken: string[] = [];
      for (const seed of SEEDS) {
        await runJobScenario(seed, { kind }).catch((error: Error) => broken.push(error.message));
      }
      expect(broken.join('\n')).to.equal('');
    });
  }

  it('show a disk that ignores flushes', async () => {
    for (const kind of ['stream', 'commit-middle', 'backup'] as const) {
      await expectFound(['content', 'metadata'], (seed) =>
        runJobScenario(seed, { kind, plant: { ignoreFlush: true } }),
      );
    }
  });
});
