// Repairs of damaged images: afterwards nothing is wrong any more, and everything that could be read before still reads the same. Where a repair is cut off,
// by power loss or by an error at any request, another one does the same.

import { expect } from 'chai';
import { RepairSpace } from '../../../src/drivers/formats/qcow2/repair-space.js';
import { createSimHost, type SimHost, type SimHostOptions, SimPowerLoss } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';
import { planted } from '../../sim/changes.js';
import { Violation } from '../../sim/guest.js';
import { expectFound } from '../../sim/planted.js';
import { repeats, seedsOf, spanOf, timeLimit } from '../../support/sample.js';
import { PATH } from './bench.js';
import {
  type Damaged,
  damagedImage,
  damagedTinyImage,
  guestOf,
  losses,
  repair,
  unprotected,
  withoutFlush,
} from './repairs.js';

/** More than any repair here makes. */
const MAX_REQUESTS = 10_000;
/** Not every request is the one that fails: of some seeds it is, of others each second, third, ... */
const STRIDE = 9;
/** Of cuts, each of which two more repairs follow. */
const LEAST_STRIDE = repeats(4, 1);
const CHANGES = ['write', 'truncate', 'flush'] as const;
const SOME = seedsOf({ fixed: 5, daily: 1, soak: 2000 });
/** Of tiny images. */
const TINY = seedsOf({ fixed: 2, daily: 1, soak: 2000 });
/** What power loss leaves of one state, by seed. */
const WAYS = 2;
const EXPOSED = seedsOf({ fixed: 3, daily: 1, soak: 2000 });
/** Tables of two L1 entries, which must not be changed in place. */
const SHARED_TABLES = 20_785_005;
const SEEDS = [...new Set([SHARED_TABLES, ...seedsOf({ fixed: 40, daily: 10, soak: 20_000 })])];

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

/** Power is lost at every n-th request of a repair; `inspect` looks at what is left. Resolves with the number of requests at which it was. */
async function cutOff(
  from: SimHost,
  image: Uint8Array,
  seed: number,
  stride: number,
  inspect: (host: SimHost, cut: number) => Promise<void>,
): Promise<number> {
  for (let cut = 1, cuts = 0; ; cut += stride, cuts++) {
    const host = hostWith(from, image, { seed });
    host.setFaults({ powerLossAt: host.requests + cut });
    if (!(await powerLost(host.run(() => repair(host))))) return cuts;
    await inspect(host.crash({ eager: true }), cut);
  }
}

/**
 * Power is lost at every flush of a repair, when all that was written since the one before it may survive or not: in several ways, by seed. `inspect` looks at
 * what is left. Resolves with the number of times that it was.
 */
async function cutOffAtFlushes(
  from: SimHost,
  image: Uint8Array,
  seed: number,
  inspect: (host: SimHost, cut: number) => Promise<void>,
): Promise<number> {
  let cuts = 0;
  for (let cut = 1; ; cut++) {
    for (let way = 0; way < WAYS; way++) {
      let left = cut;
      const onRequest: SimHostOptions['onRequest'] = ({ operation }) =>
        operation === 'flush' && --left === 0 ? { powerLoss: true } : undefined;
      const host = hostWith(from, image, { seed: seed * WAYS + way, onRequest });
      if (!(await powerLost(host.run(() => repair(host))))) return cuts;
      cuts++;
      await inspect(host.crash({ eager: true }), cut);
    }
  }
}

/** Looks at what a cut has left of a repair: nothing that could be read is lost, at once or by another repair. Null where nothing could be read. */
async function lossFinder(seed: number, { fixture, what }: Damaged) {
  const before = await guestOf(fixture.host);
  if (before === null) return null;
  return async (after: SimHost, cut: number): Promise<void> => {
    const context = `seed ${seed}, cut at ${cut}: ${what}`;
    const lostAt = async (when: string): Promise<void> => {
      const lost = losses(before, (await guestOf(after)) ?? []);
      if (lost.length > 0) throw new Violation('content', `${context}: ${when}: clusters ${lost} are lost`);
    };
    await lostAt('at once');
    const left = await repair(after);
    if (left.length > 0) throw new Violation('metadata', `${context}: ${left.join('; ')}`);
    await lostAt('after another repair');
  };
}

async function losesNothing(seed: number): Promise<number> {
  const damaged = await damagedImage(seed);
  const inspect = await lossFinder(seed, damaged);
  if (inspect === null) return 0;
  return cutOff(damaged.fixture.host, damaged.image, seed, LEAST_STRIDE + (seed % STRIDE), inspect);
}

async function losesNothingAtFlushes(seed: number): Promise<number> {
  const damaged = await damagedTinyImage(seed);
  const inspect = await lossFinder(seed, damaged);
  return inspect === null ? 0 : cutOffAtFlushes(damaged.fixture.host, damaged.image, seed, inspect);
}

/** No cluster is exposed to a writer that does not repair the image which was not before. Of version 2, as the others have a dirty bit. */
async function exposesNothing(seed: number): Promise<number> {
  const { fixture, image, what } = await damagedImage(seed, 'v2');
  const exposed = await unprotected(fixture.host, true);
  return cutOff(fixture.host, image, seed, 1 + (seed % 3), async (after, cut) => {
    const now = [...(await unprotected(after))].filter((cluster) => !exposed.has(cluster));
    if (now.length === 0) return;
    throw new Violation(
      'metadata',
      `seed ${seed}, cut at ${cut}: ${what}: clusters ${now} are free by their refcounts`,
    );
  });
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
    for (const seed of SOME) cuts += await losesNothing(seed);
    expect(cuts).to.be.above(SOME.length);
  });

  it(`loses nothing of a tiny image where power loss ends it at a flush (${spanOf(TINY)})`, async () => {
    let cuts = 0;
    for (const seed of TINY) cuts += await losesNothingAtFlushes(seed);
    expect(cuts).to.be.above(TINY.length);
  });

  it(`exposes nothing to other writers where power loss ends it (${spanOf(EXPOSED)})`, async () => {
    let cuts = 0;
    for (const seed of EXPOSED) cuts += await exposesNothing(seed);
    expect(cuts).to.be.above(EXPOSED.length);
  });

  it('would expose what it takes to other writers if its refcounts were raised at the end: that is found', () =>
    planted(
      RepairSpace.prototype,
      'take',
      async function (this: RepairSpace, count = 1) {
        const cluster = await this.place(count);
        this.hold({ cluster, count });
        return cluster;
      },
      () => expectFound(['metadata'], exposesNothing, 27),
    ));

  it('would expose all to other writers if a rebuild did not flush before its switch: that is found', () =>
    withoutFlush('rebuildRefcounts', () => expectFound(['metadata'], exposesNothing, 29)));

  it('would lose what it copies if it did not flush before the pointers: that is found', () =>
    withoutFlush('settle', () => expectFound(['content'], losesNothingAtFlushes)));

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
