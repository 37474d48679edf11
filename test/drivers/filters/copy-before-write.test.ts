// A moment that is kept while a guest goes on writing, on a simulated disk.

import { expect } from 'chai';
import { DirtyBitmap } from '../../../src/block/bitmap.js';
import type { Child } from '../../../src/block/child.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import type { SimHostOptions } from '../../../src/host/sim/index.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { PASS_MS, stateOf } from '../../block/support.js';
import { type Bench, failureOf, linkTo, makeBench, pattern } from '../support.js';

const CLUSTER = 65536;
const SIZE = 16 * CLUSTER + 512;

interface Fleece {
  bench: Bench;
  /** What the disk held when the filter was opened. */
  before: Uint8Array;
  /** A guest above the filter, and a reader of the moment. */
  guest: Child;
  reader: Child;
  target: BlockNode;
}

/** `bitmap` has its dirty ranges in clusters. */
async function fleece(own: object = {}, host: SimHostOptions = {}, bitmap?: [number, number][]): Promise<Fleece> {
  const bench = makeBench(host);
  const before = pattern(SIZE);
  bench.host.writeFile('/disk', before);
  bench.host.writeFile('/kept', new Uint8Array(SIZE));
  const open = (options: object) => openNode(bench.graph, options as BlockdevOptions, { discard: 'unmap' });
  const disk = await open({ driver: 'file', 'node-name': 'disk', filename: '/disk' });
  const target = await open({ driver: 'file', 'node-name': 'kept', filename: '/kept' });
  if (bitmap !== undefined) {
    const selected = new DirtyBitmap({ name: 'b', size: SIZE });
    for (const [start, end] of bitmap) selected.set(start * CLUSTER, (end - start) * CLUSTER);
    disk.bitmaps.set('b', selected);
    Object.assign(own, { bitmap: { node: 'disk', name: 'b' } });
  }
  await open({ driver: 'copy-before-write', 'node-name': 'cbw', file: 'disk', target: 'kept', ...own });
  const access = await open({ driver: 'snapshot-access', file: 'cbw' });
  return { bench, before, guest: linkTo(bench.graph.find('cbw')), reader: linkTo(access), target };
}

async function momentOf({ reader }: Fleece): Promise<Uint8Array> {
  const bytes = new Uint8Array(SIZE);
  await reader.read(0, bytes);
  return bytes;
}

async function expectMoment(kept: Fleece): Promise<void> {
  expect(Buffer.compare(await momentOf(kept), kept.before), 'the moment').to.equal(0);
}

describe('copy-before-write', () => {
  it('keeps the moment through writes, zeroes and discards of all sizes', async () => {
    const kept = await fleece();
    const { guest } = kept;
    await guest.write(5, new Uint8Array(3));
    await guest.write(CLUSTER - 1, new Uint8Array(2 * CLUSTER).fill(9));
    await guest.writeZeroes(5 * CLUSTER + 100, CLUSTER);
    await guest.discard(8 * CLUSTER, 2 * CLUSTER);
    await guest.write(SIZE - 1, new Uint8Array(1));
    await expectMoment(kept);
    const now = new Uint8Array(3);
    await guest.read(5, now);
    expect([...now]).to.deep.equal([0, 0, 0]);
  });

  it('saves whole clusters, each once, and nothing else', async () => {
    const writes: string[] = [];
    const kept = await fleece(
      {},
      {
        onRequest: ({ operation, path, offset, length }) => {
          if (operation === 'write' && path === '/kept') writes.push(`${offset / CLUSTER}+${length}`);
          return undefined;
        },
      },
    );
    for (const at of [3 * CLUSTER + 9, 3 * CLUSTER, 3 * CLUSTER + 4096]) await kept.guest.write(at, new Uint8Array(7));
    expect(writes).to.deep.equal([`3+${CLUSTER}`]);
    await expectMoment(kept);
  });

  it('keeps only what a bitmap says, and nothing else can be read', async () => {
    const kept = await fleece({}, {}, [[2, 4]]);
    await kept.guest.write(0, new Uint8Array(SIZE));
    const bytes = new Uint8Array(2 * CLUSTER);
    await kept.reader.read(2 * CLUSTER, bytes);
    expect(Buffer.compare(bytes, kept.before.subarray(2 * CLUSTER, 4 * CLUSTER))).to.equal(0);
    for (const at of [0, 2 * CLUSTER - 1, 4 * CLUSTER]) {
      expect((await failureOf(kept.reader.read(at, new Uint8Array(2)))).code).to.equal('permission');
    }
    const targetNow = kept.bench.host.readFile('/kept');
    expect(targetNow.subarray(0, 2 * CLUSTER).every((byte) => byte === 0)).to.equal(true);
  });

  it('lets a write wait for a reader of the moment, and a reader for the save', async () => {
    const kept = await fleece(
      {},
      {
        manualClock: true,
        onRequest: ({ operation, path }) => (operation === 'read' && path === '/disk' ? { delayMs: 100 } : undefined),
      },
    );
    const bytes = new Uint8Array(512);
    const reading = kept.reader.read(0, bytes);
    const write = kept.guest.write(0, new Uint8Array(512));
    expect(await stateOf(write)).to.equal('pending');
    kept.bench.host.advance(PASS_MS);
    await reading;
    expect(Buffer.compare(bytes, kept.before.subarray(0, 512))).to.equal(0);
    const second = kept.reader.read(100, bytes);
    expect(await stateOf(second)).to.equal('pending');
    kept.bench.host.advance(PASS_MS);
    await Promise.all([write, second]);
    expect(Buffer.compare(bytes, kept.before.subarray(100, 612))).to.equal(0);
  });

  it('fails the write that cannot save what it needs, and saves it the next time', async () => {
    let full = true;
    const kept = await fleece(
      {},
      {
        onRequest: ({ operation, path }) =>
          full && operation === 'write' && path === '/kept' ? { errno: 'ENOSPC' } : undefined,
      },
    );
    expect((await failureOf(kept.guest.write(0, new Uint8Array(1)))).code).to.equal('no-space');
    await expectMoment(kept);
    full = false;
    await kept.guest.write(0, new Uint8Array(1));
    await expectMoment(kept);
  });

  it('gives up the moment instead, where it was told to', async () => {
    const kept = await fleece(
      { 'on-cbw-error': 'break-snapshot' },
      {
        onRequest: ({ operation, path }) => (operation === 'write' && path === '/kept' ? { errno: 'EIO' } : undefined),
      },
    );
    await kept.guest.write(0, new Uint8Array(1));
    expect((await failureOf(kept.reader.read(8 * CLUSTER, new Uint8Array(1)))).code).to.equal('permission');
    expect((await failureOf(kept.reader.blockStatus(8 * CLUSTER, 1))).code).to.equal('permission');
    await kept.guest.write(8 * CLUSTER, new Uint8Array(1));
  });

  it('keeps no longer what the reader discards', async () => {
    const kept = await fleece();
    await kept.guest.write(0, new Uint8Array(1));
    await kept.reader.discard(0, 3 * CLUSTER + 1);
    expect((await failureOf(kept.reader.read(0, new Uint8Array(1)))).code).to.equal('permission');
    const bytes = new Uint8Array(1);
    await kept.reader.read(3 * CLUSTER, bytes);
    await kept.guest.write(CLUSTER, new Uint8Array(CLUSTER));
    const target = kept.bench.host.readFile('/kept');
    expect(target.subarray(CLUSTER, 2 * CLUSTER).every((byte) => byte === 0)).to.equal(true);
  });

  it('refuses who would write past it, as long as somebody uses it', async () => {
    const kept = await fleece();
    expect(() => linkTo(kept.bench.graph.find('disk'))).to.throw("Permission conflict on node 'disk'");
    await failureOf(kept.reader.write(0, new Uint8Array(1))).then(({ code }) => expect(code).to.equal('unsupported'));
  });
});
