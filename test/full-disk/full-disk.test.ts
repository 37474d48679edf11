// Small file systems that get full, ours beside the real tools. `npx tsx scripts/full-disk-soak.ts` runs many more seeds.

import { expect } from 'chai';
import { leaveOut } from '../support/needs.js';
import { requirePeer } from '../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { runGuestSeed } from './guest-seed.js';
import { runJobSeed } from './job-seed.js';
import { Place } from './place.js';

const GUESTS = seedsOf({ first: 3, fixed: 1, daily: 1, soak: 200 });
const JOBS = seedsOf({ first: 4, fixed: 2, daily: 0, soak: 200 });

describe('a file system that gets full', function () {
  this.timeout(timeLimit(120_000));

  before(function () {
    requirePeer(this, 'qemu-nbd');
    if (process.getuid?.() !== 0 || !Place.possible()) leaveOut(this, 'mount name spaces');
  });

  it(`guests lose nothing that was answered, and nothing that qemu-nbd keeps (${spanOf(GUESTS)})`, async () => {
    for (const seed of GUESTS) {
      const { about, faults } = await runGuestSeed(seed);
      expect(faults, `seed ${seed}: ${about}`).to.deep.equal([]);
    }
  });

  it(`jobs that fail keep what they copied, leak nothing and say why (${spanOf(JOBS)})`, async () => {
    for (const seed of JOBS) {
      const { about, faults } = await runJobSeed(seed);
      expect(faults, `seed ${seed}: ${about}`).to.deep.equal([]);
    }
  });
});
