// Rebase on the simulated disk: random chains, another backing file, power loss at each request, each request failing once, and a planted fault. The overlay
// reads as before, whatever happens.

import { Device, rootOf } from '../../src/block/device.js';
import { openNode } from '../../src/block/open.js';
import { Committer } from '../../src/drivers/formats/qcow2/commit-order.js';
import { Random, type SimHost, SimPowerLoss } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { rebaseImage } from '../../src/workspace/rebase.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { planted } from './changes.js';
import { checkFiles, expectVerified, guarded, readImage } from './checks.js';
import { Violation } from './guest.js';
import { buildChain, type Chain, graphOn, makeImage, randomChain, randomLayer } from './images.js';
import { encodeSectors, SECTOR } from './model.js';
import { expectFound } from './planted.js';

const SEEDS = seedsOf({ fixed: 12, daily: 3, soak: 3000 });
const EACH = seedsOf({ fixed: 2, daily: 1, soak: 200 });
/** Requests between two that are broken off, in a short run; a soak takes all of them. */
const STRIDE = EACH.length > 10 ? 1 : 5;

interface Case {
  host: SimHost;
  chain: Chain;
  /** What the top reads as. */
  content: Uint8Array;
  /** The new backing file; null: none. */
  to: { name: string; format: string } | null;
  compress: boolean;
}

async function prepare(seed: number): Promise<Case> {
  const random = new Random(seed, 7);
  let value = 1;
  const nextValue = (): number => value++;
  const chain = randomChain(random, {
    format: 'qcow2',
    depth: random.pick([0, 1, 1, 2]),
    extended: random.chance(0.3),
  });
  const { layers, contents } = chain;
  const host = await buildChain(chain, random, nextValue);
  const compress = random.chance(0.2);
  const content = encodeSectors(contents[contents.length - 1]);
  const kind = random.below(5);
  if (kind === 0) return { host, chain, content, to: null, compress };
  if (kind === 1 && layers.length > 1) {
    const { path, format } = random.pick(layers.slice(0, -1));
    return { host, chain, content, to: { name: path, format }, compress };
  }
  // Another image: in parts what the old backing file has, in parts zeroes, or something else.
  const other = randomLayer(random, random.chance(0.3) ? '/new.raw' : '/new.qcow2', 'qcow2');
  other.format = other.path.endsWith('.raw') ? 'raw' : 'qcow2';
  const graph = await graphOn(host);
  await makeImage(graph, other, undefined);
  const maker = new Device(await openNode(graph, other.path, { format: other.format }), {
    name: 'maker',
    writable: true,
  });
  const { node } = rootOf(maker);
  const old = contents.at(-2) ?? [];
  for (let at = 0; at < other.sectors; ) {
    const count = Math.min(other.sectors - at, random.between(1, 200));
    const from = random.below(4);
    const values = Array.from({ length: count }, (_, i) =>
      from < 2 ? (old[at + i] ?? 0) : from === 2 ? 0 : nextValue(),
    );
    if (from < 3 || random.chance(0.3)) await node.write(at * SECTOR, encodeSectors(values));
    at += count;
  }
  await maker.close();
  await graph.closeAll();
  return { host, chain, content, to: { name: other.path, format: other.format }, compress };
}

async function rebase(host: SimHost, { chain, to, compress }: Case): Promise<void> {
  const graph = await graphOn(host);
  try {
    const image = await openNode(graph, chain.options);
    const backing = to === null ? null : await openNode(graph, to.name, { format: to.format, readOnly: true });
    await rebaseImage({ image, to, backing, compress });
  } catch (error) {
    await graph.closeAll().catch((late: unknown) => {
      if (!(late instanceof BlockError)) throw late;
    });
    throw error;
  }
  await graph.closeAll();
}

async function verify(host: SimHost, { chain, content }: Case, mayLeak: boolean): Promise<void> {
  checkFiles(host, mayLeak);
  const { path } = chain.layers[chain.layers.length - 1];
  const found = await readImage(host, chain.options, mayLeak);
  const differs = host.memory.firstDifference(found, content);
  if (differs >= 0 || found.length !== content.length) {
    throw new Violation('content', `${path} reads another byte at ${differs} than before`);
  }
  expectVerified(host, path, found);
}

async function plain(seed: number): Promise<void> {
  await guarded(seed, async () => {
    const one = await prepare(seed);
    const host = one.host.fork({ seed, eager: false });
    await host.run(() => rebase(host, one));
    await verify(host.fork({ eager: true }), one, false);
  });
}

async function losePowerAtEach(seed: number): Promise<void> {
  await guarded(seed, async () => {
    const one = await prepare(seed);
    for (let step = 1 + (seed % STRIDE); ; step += STRIDE) {
      const host = one.host.fork({ seed: seed + step, eager: false });
      host.setFaults({ powerLossAt: host.requests + step });
      try {
        await host.run(() => rebase(host, one));
        return;
      } catch (error) {
        if (!(error instanceof SimPowerLoss)) throw error;
      }
      await verify(host.crash({ eager: true }), one, true);
    }
  });
}

async function failEach(seed: number, errno: string): Promise<void> {
  await guarded(seed, async () => {
    const one = await prepare(seed);
    for (let step = seed % STRIDE; ; step += STRIDE) {
      const host = one.host.fork({ seed: seed + step, eager: false });
      const first = host.requests;
      host.setFaults({ rules: [{ errno, after: step, times: 1 }] });
      await host
        .run(() => rebase(host, one))
        .catch((error: unknown) => {
          if (!(error instanceof BlockError)) throw error;
        });
      const requests = host.requests - first;
      host.setFaults({});
      // What a failed flush has lost is lost: the file is looked at as after power loss.
      await verify(host.crash({ eager: true }), one, true);
      if (step >= requests) return;
    }
  });
}

describe(`rebase on a simulated disk (${spanOf(SEEDS)})`, function () {
  this.timeout(timeLimit(60_000));

  it('keeps the content, over any other backing file, and leaks nothing', async () => {
    for (const seed of SEEDS) await plain(seed);
  });

  it('keeps it through power loss at any request', async () => {
    for (const seed of EACH) await losePowerAtEach(seed);
  });

  for (const errno of ['EIO', 'ENOSPC']) {
    it(`keeps it whichever request fails with ${errno}`, async () => {
      for (const seed of EACH) await failEach(seed, errno);
    });
  }

  it('a header that changes before the data is durable is found', () => {
    const { commit } = Committer.prototype;
    const early = () =>
      planted(
        Committer.prototype,
        'exclusive',
        async function <T>(this: Committer, action: () => Promise<T>): Promise<T> {
          const result = await action();
          await commit.call(this);
          return result;
        },
        () => expectFound(['content', 'metadata'], losePowerAtEach, 8),
      );
    // Neither does the flush before it write anything.
    return planted(Committer.prototype, 'commit', async () => undefined, early);
  });
});
