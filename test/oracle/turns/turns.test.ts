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

  async function sessionOf(seed: number, name: string, wrapped = (tools: Tools): Tools => tools): Promise<TurnSession> {
    const folder = shop.path(name);
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
    return TurnSession.start(new Random(seed), folder, [theirs, wrapped(ours)]);
  }

  for (const seed of SEEDS) {
    it(`holds what it should after each of ${STEPS_A_SEED} steps (${spanOf([seed])})`, async function () {
      this.timeout(timeLimit(240_000));
      const session = await sessionOf(seed, `turns-${seed}`);
      await session.run(STEPS_A_SEED);
      expect(session.steps).to.be.at.least(STEPS_A_SEED);
    });
  }

  /** Planted, each in what our programs do or say. */
  const PLANTED: Readonly<Record<string, readonly [seen: RegExp, wrapped: (ours: Tools) => Tools]>> = {
    'a byte': [
      /Pattern verification failed|byte \d+/,
      (ours) => ({
        ...ours,
        // The last write has another byte, and is not read back by us.
        io: (words) => {
          const last = words.findLastIndex((word) => /^write -P /.test(word));
          const kept = words.filter((_, at) => last < 0 || at <= last || at === words.length - 1);
          return ours.io(kept.map((word, at) => (at === last ? word.replace(/-P \d+/, '-P 0') : word)));
        },
      }),
    ],
    'an exit code': [
      /ended with 3/,
      (ours) => ({ ...ours, img: async (words) => ({ ...(await ours.img(words)), code: 3 }) }),
    ],
    'a message': [
      /ended with 0: planted/,
      (ours) => ({ ...ours, img: async (words) => ({ ...(await ours.img(words)), stderr: 'planted\n' }) }),
    ],
  };
  for (const [what, [seen, wrapped]] of Object.entries(PLANTED)) {
    it(`shows ${what} that is wrong`, async function () {
      this.timeout(timeLimit(120_000));
      const session = await sessionOf(1, `planted ${what}`, wrapped);
      const error = await session.run(STEPS_A_SEED).then(
        () => null,
        (failure: Error) => failure,
      );
      expect(error?.message).to.match(seen);
    });
  }
});
