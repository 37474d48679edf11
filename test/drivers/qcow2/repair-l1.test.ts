// L1 tables that lie over something else: the active one is moved before anything of it is changed, and that of a snapshot is not freed with the disk's data.

import { expect } from 'chai';
import { Graph } from '../../../src/block/graph.js';
import { createSimHost, type SimHost, type SimHostOptions, SimPowerLoss } from '../../../src/host/sim/index.js';
import { Violation } from '../../sim/guest.js';
import { expectFound } from '../../sim/planted.js';
import { lost } from '../../sim/support.js';
import { repeats, seedsOf } from '../../support/sample.js';
import { failureOf, readNode } from '../support.js';
import { again, createAt, type Fixture, findings, makeFixture, openAt, PATH } from './bench.js';
import { repair, unprotected, withoutFlush } from './repairs.js';

const CLUSTER = 4096;
const CLUSTERS = 16;
const MASK = 0x00ff_ffff_ffff_fe00n;
const COPIED = 1n << 63n;
const DIRTY = 1n;
/** Requests between those at which the power fails: many entries that are none make many requests. */
const STRIDE = repeats(31, 17);
const LONG_STRIDE = repeats(263, 131);
const PLACES = seedsOf({ fixed: 1, soak: 3 });

type Edit = (image: Buffer, at: (offset: number) => number) => void;

/** Cluster n of the disk is full of n + 1. */
async function makeImage(version: 'v2' | 'v3', snapshot: boolean): Promise<Fixture> {
  const fixture = makeFixture();
  await createAt(fixture, { size: 64 * CLUSTER, version, 'cluster-size': CLUSTER });
  const node = await openAt(fixture);
  if (snapshot) await node.abilities.snapshots!.create({ name: 'a' });
  for (let at = 0; at < CLUSTERS; at++) await node.write(at * CLUSTER, Buffer.alloc(CLUSTER, at + 1));
  await fixture.graph.closeAll();
  fixture.graph = new Graph(fixture.host);
  return fixture;
}

function change({ host }: Fixture, edit: Edit): void {
  const image = Buffer.from(host.readFile(PATH));
  edit(image, (offset) => Number(image.readBigUInt64BE(offset) & MASK));
  host.writeFile(PATH, image);
}

async function contentOf(fixture: Fixture): Promise<Buffer> {
  const node = await again(fixture);
  const content = Buffer.alloc(CLUSTERS * CLUSTER);
  await readNode(node, 0, content);
  await fixture.graph.closeAll();
  return content;
}

const DAMAGES: [what: string, edit: Edit][] = [
  [
    'a cluster of the guest',
    (image, at) => void image.writeBigUInt64BE(COPIED | BigInt(at(40)), at(at(40)) + 8 * (CLUSTERS - 1)),
  ],
  ['a longer part of the file than there is', (image) => void image.writeUInt32BE(3000, 36)],
  ['clusters of the guest, by its length', (image) => void image.writeUInt32BE(2 * (CLUSTER / 8), 36)],
];

describe('qcow2: an L1 table that lies over something else', () => {
  for (const [what, edit] of DAMAGES) {
    for (const version of ['v2', 'v3'] as const) {
      it(`is moved by a repair, which may be cut off at any request: over ${what} (${version})`, async () => {
        const fixture = await makeImage(version, false);
        change(fixture, edit);
        const image = fixture.host.readFile(PATH);
        const before = await contentOf(fixture);
        for (let cut = 1; ; cut += what === DAMAGES[0][0] ? STRIDE : LONG_STRIDE) {
          const host = createSimHost({ seed: cut });
          host.writeFile(PATH, image);
          host.setFaults({ powerLossAt: host.requests + cut });
          const lost = await host
            .run(() => repair(host))
            .then(
              (left) => {
                expect(left).to.deep.equal([]);
                return false;
              },
              (error) => {
                expect(error).to.be.instanceOf(SimPowerLoss);
                return true;
              },
            );
          const after = host.crash({ eager: true });
          const where = `cut at ${cut}`;
          expect(await repair(after), where).to.deep.equal([]);
          expect((await contentOf({ host: after, graph: new Graph(after) })).equals(before), where).to.equal(true);
          if (!lost) break;
        }
      });
    }
  }

  it('is moved before the first write to an image that was not closed properly, and the write finds it', async () => {
    const fixture = await makeImage('v3', false);
    change(fixture, (image, at) => {
      DAMAGES[0][1](image, at);
      image.writeBigUInt64BE(DIRTY, 72);
    });
    const before = await contentOf(fixture);
    const graph = new Graph(fixture.host, { warn: () => undefined });
    const node = await openAt({ host: fixture.host, graph });
    // Another L2 table is needed.
    await node.write(40 * CLUSTER, Buffer.alloc(CLUSTER, 99));
    expect(await findings(node)).to.deep.equal([]);
    await graph.closeAll();
    expect((await contentOf(fixture)).equals(before)).to.equal(true);
    const reopened = await again(fixture);
    const written = Buffer.alloc(CLUSTER);
    await readNode(reopened, 40 * CLUSTER, written);
    expect(written.equals(Buffer.alloc(CLUSTER, 99))).to.equal(true);
    expect(await findings(reopened)).to.deep.equal([]);
    await fixture.graph.closeAll();
  });

  it('keeps its snapshot from being deleted, where it lies over data of the disk', async () => {
    const fixture = await makeImage('v3', true);
    // As long as nothing of the cluster is a pointer, all of it can be read as a table.
    const blank = await openAt(fixture);
    await blank.write(0, Buffer.alloc(512));
    await fixture.graph.closeAll();
    change(fixture, (image, at) => void image.writeBigUInt64BE(BigInt(at(at(at(40)))), at(64)));
    const before = await contentOf(fixture);
    const image = fixture.host.readFile(PATH);
    fixture.graph = new Graph(fixture.host);
    const node = await openAt(fixture);
    const { id } = node.abilities.snapshots!.list()[0];
    const error = await failureOf(node.abilities.snapshots!.remove(id));
    expect(error).to.include({ code: 'corrupt-image' });
    expect(error.message).to.match(/overlaps with data of the disk \(snapshot 'a'/);
    await fixture.graph.closeAll();
    expect(Buffer.from(fixture.host.readFile(PATH)).equals(Buffer.from(image)), 'nothing was changed').to.equal(true);
    expect((await contentOf(fixture)).equals(before)).to.equal(true);
  });
});

/** Where an image of version 2 ends, with clusters of 512 bytes, and so what its refcount structure lacks for the next place. */
const ENDS: [lacks: string, bytes: number, step: string, likely: number][] = [
  ['nothing', 0, 'reserveClusters', 6],
  ['a block', 256 * 512, 'hookBlocks', 1],
  ['a longer table', 64 * 256 * 512, 'switchTable', 1],
];

describe('qcow2: a place that a repair takes in an image of version 2', () => {
  let image: Uint8Array;
  before(async () => {
    const fixture = makeFixture();
    await createAt(fixture, { size: 64 * 512, version: 'v2', 'cluster-size': 512 });
    const node = await openAt(fixture);
    for (let at = 0; at < 16; at++) await node.write(at * 512, Buffer.alloc(512, at + 1));
    await fixture.graph.closeAll();
    // The L1 table lies over a cluster of the guest.
    change(fixture, (bytes, at) => void bytes.writeBigUInt64BE(COPIED | BigInt(at(40)), at(at(40)) + 8 * 15));
    image = fixture.host.readFile(PATH);
  });

  /** Power is lost at each request of a repair: nothing may be free by its refcount then that was not before. */
  async function exposesNothing(bytes: number, seed: number, stride = 1): Promise<void> {
    const long = new Uint8Array(Math.max(bytes, image.length));
    long.set(image);
    const start = (options: SimHostOptions): SimHost => {
      const host = createSimHost(options);
      host.writeFile(PATH, long);
      return host;
    };
    const exposed = await unprotected(start({}), true);
    for (let cut = 1 + (seed % stride); ; cut += stride) {
      const host = start({ seed: seed * 1000 + cut });
      host.setFaults({ powerLossAt: host.requests + cut });
      if (!(await lost(host.run(() => repair(host))))) return;
      const now = [...(await unprotected(host.crash({ eager: true })))].filter((cluster) => !exposed.has(cluster));
      if (now.length > 0) throw new Violation('metadata', `seed ${seed}, cut at ${cut}: clusters ${now} are exposed`);
    }
  }

  for (const [lacks, bytes, step, likely] of ENDS) {
    it(`is in use before anything points there: the refcount structure lacks ${lacks}`, async () => {
      for (const seed of PLACES) await exposesNothing(bytes, seed, bytes > 1 << 20 ? 7 : 1);
    });

    it(`would not be if ${step} did not flush: that is found`, () =>
      withoutFlush(step, () => expectFound(['metadata'], (seed) => exposesNothing(bytes, seed), likely)));
  }
});
