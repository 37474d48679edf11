// Repairs of damaged images: afterwards nothing is wrong any more, and everything that could be read before still reads the same. Where a repair is cut off,
// by power loss or by an error at any request, another one does the same.

import { expect } from 'chai';
import { createSimHost, type SimHost, type SimHostOptions, SimPowerLoss } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';
import { seedsOf, spanOf, timeLimit } from '../../support/sample.js';
import { PATH } from './bench.js';
import { damagedImage, guestOf, losses, repair } from './repairs.js';

/** More than any repair here makes. */
const MAX_REQUESTS = 10_000;
/** Not every request is the one that fails: of some seeds it is, of others each second, third, ... */
const STRIDE = 9;
const CHANGES = ['write', 'truncate', 'flush'] as const;
const SOME = seedsOf({ fixed: 6, daily: 1, soak: 2000 });
const SEEDS = seedsOf({ fixed: 60, daily: 15, soak: 20_000 });

/** Another machine with the same files. */
function hostWith(from: SimHost, image: Uint8Array, options: SimHostOptions): SimHost {
  const host = createSimHost(options);
  for (const path of from.files()) host.writeFile(path, path === PATH ? image : from.readFile(path));
  return host;
}

async function powerLost(run: Promise<unknown>): Promise<boolean> {
  const error = await run.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error === null || error instanceof SimPowerLoss) return error !== null;
  throw error;
}

async function failure(run: Promise<unknown>): Promise<BlockError | null> {
  try {
    await run;
    return null;
  } catch (error) {
    if (error instanceof BlockError) return error;
    throw error;
  }
}

describe('qcow2: repair', function () {
  this.timeout(timeLimit(120_000));

  it(`mends every damage, and nothing that was readable is lost (${spanOf(SEEDS)})`, async () => {
    let opened = 0;
    for (const seed of SEEDS) {
      const { fixture, what } = await damagedImage(seed);
      const { host } = fixture;
      const before = await guestOf(host);
      if (before === null) continue;
      opened++;
      const left = await repair(host);
      expect(left, `seed ${seed}: ${what}`).to.deep.equal([]);
      const after = await guestOf(host);
      expect(losses(before, after ?? []), `seed ${seed}: ${what}`).to.deep.equal([]);
    }
    expect(opened).to.be.above(SEEDS.length / 2);
  });

  it(`loses nothing where power loss ends it, and another repair does the rest (${spanOf(SOME)})`, async () => {
    let cuts = 0;
    for (const seed of SOME) {
      const { fixture, image, what } = await damagedImage(seed);
      const before = await guestOf(fixture.host);
      if (before === null) continue;
      for (let cut = 1; cut < MAX_REQUESTS; cut += 1 + (seed % STRIDE)) {
        const host = hostWith(fixture.host, image, { seed });
        host.setFaults({ powerLossAt: host.requests + cut });
        const lost = await powerLost(host.run(() => repair(host)));
        if (!lost) break;
        cuts++;
        const after = host.crash({ eager: true });
        const context = `seed ${seed}, cut at ${cut}: ${what}`;
        expect(losses(before, (await guestOf(after)) ?? []), `${context}: at once`).to.deep.equal([]);
        expect(await repair(after), context).to.deep.equal([]);
        expect(losses(before, (await guestOf(after)) ?? []), context).to.deep.equal([]);
      }
    }
    expect(cuts).to.be.above(SOME.length);
  });

  for (const errno of ['EIO', 'ENOSPC'] as const) {
    it(`loses nothing where any request fails with ${errno} (${spanOf(SOME)})`, async () => {
      let failures = 0;
      for (const seed of SOME) {
        const { fixture, image, what } = await damagedImage(seed);
        const before = await guestOf(fixture.host);
        if (before === null) continue;
        for (let step = 0; step < MAX_REQUESTS; step += 1 + (seed % STRIDE)) {
          const host = hostWith(fixture.host, image, { eager: true });
          host.setFaults({ rules: [{ operations: CHANGES, errno, after: step, times: 1 }] });
          const failed = await failure(repair(host));
          host.setFaults({});
          if (failed === null) break;
          failures++;
          const context = `seed ${seed}, failure ${step}: ${what}`;
          expect(failed.code, context).to.equal(errno === 'EIO' ? 'io' : 'no-space');
          const after = host.crash({ eager: true });
          expect(await repair(after), context).to.deep.equal([]);
          expect(losses(before, (await guestOf(after)) ?? []), context).to.deep.equal([]);
        }
      }
      expect(failures).to.be.above(SOME.length);
    });
  }
});
