// The throttle filter on a simulated disk: rates, groups, and when nothing waits.

import { expect } from 'chai';
import type { Child } from '../../../src/block/child.js';
import { openNode } from '../../../src/block/open.js';
import { reopenNodes } from '../../../src/block/reopen.js';
import type { Located } from '../../../src/block/types.js';
import type { BlockdevOptions, ThrottleLimits } from '../../../src/schema/generated/types.js';
import { type Bench, failureOf, linkTo, makeBench } from '../../drivers/support.js';

const SIZE = 4 << 20;

interface Throttled {
  bench: Bench;
  /** A user of each filter. */
  links: Child[];
}

/** Filters of one group, each over a file of its own. */
async function throttled(limits: ThrottleLimits, count = 1): Promise<Throttled> {
  const bench = makeBench();
  const { graph, host } = bench;
  await graph.objects.add({ 'qom-type': 'throttle-group', id: 'g', limits });
  const links: Child[] = [];
  for (let i = 0; i < count; i++) {
    host.writeFile(`/disk${i}`, new Uint8Array(SIZE).fill(i + 1));
    links.push(linkTo(await openNode(graph, filter(`t${i}`, `/disk${i}`))));
  }
  return { bench, links };
}

function filter(name: string, filename: string): BlockdevOptions {
  const file = { driver: 'file', 'node-name': `${name}-file`, filename } as const;
  return { driver: 'throttle', 'node-name': name, 'throttle-group': 'g', discard: 'unmap', file };
}

/** Requests a second, of `depth` at a time, for `seconds`. */
async function rateOf({ host }: Bench, seconds: number, request: () => Promise<void>, depth = 4): Promise<number> {
  const end = host.clock.now() + seconds * 1000;
  let count = 0;
  const worker = async (): Promise<void> => {
    while (host.clock.now() < end) {
      await request();
      if (host.clock.now() <= end) count++;
    }
  };
  await Promise.all(Array.from({ length: depth }, worker));
  return count / seconds;
}

const place = (): Located => ({ file: null, offset: 0, guard: null });

describe('throttle', () => {
  const kinds: readonly [string, ThrottleLimits, (link: Child) => Promise<void>, number][] = [
    ['iops-read', { 'iops-read': 200 }, (link) => link.read(0, new Uint8Array(4096)), 200],
    ['bps-read', { 'bps-read': 40 << 20 }, (link) => link.read(0, new Uint8Array(1 << 20)), 40],
    ['iops-write', { 'iops-write': 200 }, (link) => link.write(0, new Uint8Array(4096)), 200],
    ['bps-write', { 'bps-write': 409600 }, (link) => link.write(0, new Uint8Array(4096)), 100],
    ['bps-total, zeroes', { 'bps-total': 40 << 20 }, (link) => link.writeZeroes(0, 1 << 20), 40],
    ['iops-total, discards', { 'iops-total': 50 }, (link) => link.discard(0, 1 << 20), 50],
    ['iops-size', { 'iops-total': 400, 'iops-size': 4096 }, (link) => link.read(0, new Uint8Array(16384)), 100],
  ];
  for (const [name, limits, request, expected] of kinds) {
    it(`keeps the rate within 2 % over 10 s: ${name}`, async () => {
      const { bench, links } = await throttled(limits);
      expect(await rateOf(bench, 10, () => request(links[0]))).to.be.closeTo(expected, expected * 0.02 + 0.1);
    });
  }

  it('allows a burst, and the average after it', async () => {
    const { bench, links } = await throttled({ 'iops-total': 100, 'iops-total-max': 1000, 'iops-total-max-length': 2 });
    const read = () => links[0].read(0, new Uint8Array(512));
    expect(await rateOf(bench, 2, read)).to.be.closeTo(1050, 60);
    await rateOf(bench, 2, read);
    expect(await rateOf(bench, 5, read)).to.be.closeTo(100, 2);
  });

  it('shares the limits of a group evenly', async () => {
    const { bench, links } = await throttled({ 'iops-total': 300 }, 3);
    const rates = await Promise.all(
      links.map((link, i) => rateOf(bench, 5, () => link.read(0, new Uint8Array(512)), 1 + 7 * i)),
    );
    for (const rate of rates) expect(rate).to.be.closeTo(100, 8);
  });

  it('locates requests through the filter while the group has no limits, and takes limits from the next request on', async () => {
    const { bench, links } = await throttled({});
    expect(links[0].locate(0, 512, false, place())).to.equal(true);
    bench.graph.objects.tree.set('/objects/g', 'limits', { 'iops-read': 100 });
    expect(links[0].locate(0, 512, false, place())).to.equal(false);
    expect(await rateOf(bench, 5, () => links[0].read(0, new Uint8Array(512)))).to.be.closeTo(100, 3);
    bench.graph.objects.tree.set('/objects/g', 'limits', { 'iops-read': 0 });
    expect(links[0].locate(0, 512, false, place())).to.equal(true);
  });

  it('lets what waits go as soon as the limits are taken away', async () => {
    const { bench, links } = await throttled({ 'bps-write': 1024 });
    await links[0].write(0, new Uint8Array(1 << 20));
    const waiting = links[0].write(0, new Uint8Array(512));
    bench.graph.objects.tree.set('g', 'limits', { 'bps-write': 0 });
    const start = bench.host.clock.now();
    await waiting;
    expect(bench.host.clock.now() - start).to.be.lessThan(10);
  });

  it('does not hold up a drained section', async () => {
    const { bench, links } = await throttled({ 'bps-write': 1024 });
    await links[0].write(0, new Uint8Array(1 << 20));
    const waiting = links[0].write(0, new Uint8Array(512));
    const start = bench.host.clock.now();
    await bench.graph.drained([bench.graph.find('t0-file')], async () => {
      await waiting;
      await links[0].write(512, new Uint8Array(512));
    });
    expect(bench.host.clock.now() - start).to.be.lessThan(10);
    // The limits hold again: a minute is not enough for what was written before.
    const late = links[0].write(0, new Uint8Array(512)).then(() => true);
    const asleep = new Promise<boolean>((resolve) => bench.host.clock.timer(60_000, () => resolve(false)));
    expect(await Promise.race([late, asleep])).to.equal(false);
    links[0].node.abortStalled();
    await late;
  });

  it('does not hold up the close of the node', async () => {
    const { bench, links } = await throttled({ 'bps-write': 1024 });
    await links[0].write(0, new Uint8Array(1 << 20));
    const waiting = links[0].write(0, new Uint8Array(512));
    const start = bench.host.clock.now();
    await bench.graph.closeAll();
    await waiting;
    expect(bench.host.clock.now() - start).to.be.lessThan(10);
  });

  it('moves to another group when it is reopened, and leaves it with the node', async () => {
    const { bench, links } = await throttled({ 'iops-read': 10 });
    const { graph } = bench;
    await graph.objects.add({ 'qom-type': 'throttle-group', id: 'h', limits: { 'iops-read': 50 } });
    expect(() => graph.objects.remove('g')).to.throw("object 'g' is in use, can not be deleted");
    await reopenNodes(graph, [
      { ...filter('t0', '/disk0'), 'throttle-group': 'h', file: 't0-file' } as BlockdevOptions,
    ]);
    graph.objects.remove('g');
    expect(await rateOf(bench, 5, () => links[0].read(0, new Uint8Array(512)))).to.be.closeTo(50, 6);
    const gone = { ...filter('t0', '/disk0'), 'throttle-group': 'g', file: 't0-file' } as BlockdevOptions;
    expect((await failureOf(reopenNodes(graph, [gone]))).message).to.equal("Throttle group 'g' does not exist");
    expect(graph.objects.throttleGroup('h').memberCount).to.equal(1);
    await graph.closeAll();
    graph.objects.remove('h');
  });
});
