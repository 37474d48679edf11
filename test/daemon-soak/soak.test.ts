// A daemon under random commands, with guests that write meanwhile: see `run.ts`. `scripts/daemon-soak.ts` runs more of it.

import { expect } from 'chai';
import { requirePeer } from '../support/peers.js';
import { seedsOf } from '../support/sample.js';
import { runSoak } from './run.js';

describe('a daemon under random commands, beside guests that write', () => {
  before(function () {
    requirePeer(this, 'qemu-img');
  });

  for (const seed of seedsOf({ fixed: 2, soak: 70 })) {
    it(`ends with what the guests have written, in consistent images (seed ${seed})`, async function () {
      this.timeout(180_000);
      expect((await runSoak({ seed, commands: 120, kill: false })).faults).to.deep.equal([]);
    });
  }

  for (const seed of seedsOf({ first: 1000, fixed: 4, soak: 200 })) {
    it(`leaves what the guests have flushed, in consistent images, when it is killed (seed ${seed})`, async function () {
      this.timeout(180_000);
      expect((await runSoak({ seed, commands: 100, kill: true })).faults).to.deep.equal([]);
    });
  }
});
