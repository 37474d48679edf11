// QEMU's tools and ours change one image in turns, see `session.ts`.
//
//   DISKWRIGHT_SEED=7 npm test -- -g 'in turns'     that seed alone

import { mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { Random } from '../../../src/host/sim/random.js';
import { run, Workshop } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { SOAK, seedsOf, spanOf, timeLimit } from '../../support/sample.js';
import { StandingProgram } from '../img/standing-program.js';
import { type Tools, TurnSession } from './session.js';

const SEEDS = seedsOf({ fixed: 1, daily: 1, soak: 5 });
const STEPS_A_SEED = SOAK ? 10_000 : 150;

describe('one image that both tools change in turns', () => {
  let shop: Workshop;
  const img = new StandingProgram('qemu-img');
  const io = new StandingProgram('qemu-io');

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
  });
  after(async () => {
    for (const program of [img, io]) await program.end();
    shop?.remove();
  });

  for (const seed of SEEDS) {
    it(`holds what it should after each of ${STEPS_A_SEED} steps (${spanOf([seed])})`, async function () {
      this.timeout(timeLimit(120_000));
      const folder = shop.path(`turns-${seed}`);
      mkdirSync(folder);
      const theirs: Tools = {
        name: "QEMU's",
        img: async (words) => run('qemu-img', words, folder),
        io: async (words) => run('qemu-io', words, folder),
      };
      const ours: Tools = {
        name: 'our',
        img: (words) => img.run(words, folder),
        io: (words) => io.run(words, folder),
      };
      const session = await TurnSession.start(new Random(seed), folder, [theirs, ours]);
      await session.run(STEPS_A_SEED);
      expect(session.steps).to.be.at.least(STEPS_A_SEED);
    });
  }
});
