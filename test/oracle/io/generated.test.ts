// Generated sessions of qemu-io, run by qemu-io and by us on copies of the same images: the same words, the same exit code, the same images.
//
//   DISKWRIGHT_SEED=7 npm test -- -g 'generated sessions'     that seed alone; the failure shows each command that differs
//   DISKWRIGHT_SOAK=1 ...                                     many seeds

import { expect } from 'chai';
import { requirePeer } from '../../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../../support/sample.js';
import { differencesOf } from './compare.js';

const COMMANDS_A_SEED = 100;
const SEEDS = seedsOf({ fixed: 2, daily: 1, soak: 100 });

describe('generated sessions of qemu-io', () => {
  before(function () {
    requirePeer(this, 'qemu-io');
  });

  it(`end as with qemu-io (${spanOf(SEEDS)})`, async function () {
    this.timeout(timeLimit(60_000));
    for (const seed of SEEDS) expect(await differencesOf(seed, COMMANDS_A_SEED)).to.deep.equal([]);
  });
});
