// Damaged entries of images with an external data file: host offsets are offsets in that file there, and each must be the guest's own. The check reports others, as
// every reader refuses them; a repair gives up what could not be read, and compares no place in the data file with clusters of the image.

import { expect } from 'chai';
import { Graph } from '../../../src/block/graph.js';
import { checkImage, repairImage } from '../../../src/workspace/check.js';
import { failureOf, readNode } from '../support.js';
import { createAt, type Fixture, makeFixture, openAt, PATH } from './bench.js';

const DATA = '/data.raw';
const CLUSTER = 16384;
const CLUSTERS = 24;
const MASK = 0x00ff_ffff_ffff_fe00n;
const COPIED = 1n << 63n;

interface Shape {
  raw: boolean;
  extended: boolean;
  refcountBits?: number;
}

/** Cluster n of the disk is full of n + 1. */
async function makeImage({ raw, extended, refcountBits = 16 }: Shape, clusterSize = CLUSTER): Promise<Fixture> {
  const fixture = makeFixture();
  await createAt(fixture, {
    size: CLUSTERS * clusterSize * 100,
    'cluster-size': clusterSize,
    'extended-l2': extended,
    'refcount-bits': refcountBits,
    'data-file': { driver: 'file', filename: DATA },
    'data-file-raw': raw,
  });
  const node = await openAt(fixture);
  for (let at = 0; at < CLUSTERS; at++) await node.write(at * clusterSize, Buffer.alloc(clusterSize, at + 1));
  await fixture.graph.closeAll();
  fixture.graph = new Graph(fixture.host);
  return fixture;
}

/** Changes the image; `at` reads a pointer. */
function change({ host }: Fixture, edit: (image: Buffer, at: (offset: number) => number) => void): void {
  const image = Buffer.from(host.readFile(PATH));
  edit(image, (offset) => Number(image.readBigUInt64BE(offset) & MASK));
  host.writeFile(PATH, image);
}

/** Changes entry `index` of the first L2 table. */
function changeEntry(fixture: Fixture, extended: boolean, index: number, entry: bigint): void {
  change(fixture, (image, at) => void image.writeBigUInt64BE(entry, at(at(40)) + index * (extended ? 16 : 8)));
}

async function firstBytes(fixture: Fixture, offsets: number[]): Promise<number[]> {
  const node = await openAt(fixture, { readOnly: true });
  const bytes: number[] = [];
  try {
    for (const offset of offsets) {
      const sector = Buffer.alloc(512);
      await readNode(node, offset, sector);
      bytes.push(sector[0]);
    }
  } finally {
    await fixture.graph.release(node);
  }
  return bytes;
}

async function check({ graph }: Fixture): Promise<string[]> {
  const kinds: string[] = [];
  const { result } = await checkImage(graph, PATH, { format: 'qcow2' }, ({ kind, guestOffset }) =>
    kinds.push(`${kind} ${guestOffset}`),
  );
  expect(result.corruptions).to.equal(kinds.length);
  return kinds;
}

describe('qcow2: check and repair of an image with an external data file', () => {
  for (const extended of [false, true]) {
    for (const raw of [false, true]) {
      const name = `${extended ? 'extended' : 'ordinary'} entries, ${raw ? 'raw' : 'other'} data file`;

      for (const [what, entry] of [
        ['another place', COPIED | BigInt(7 * CLUSTER)],
        ['the first cluster', COPIED],
        ['a place that is not aligned', COPIED | BigInt(3 * CLUSTER + 512)],
        ['a place behind the end', COPIED | (1n << 44n)],
      ] as const) {
        it(`finds an entry that points to ${what}, and mends it (${name})`, async () => {
          const fixture = await makeImage({ raw, extended });
          changeEntry(fixture, extended, 3, entry);
          const offsets = [2, 3, 4, 7].map((at) => at * CLUSTER);
          expect(await check(fixture)).to.deep.equal([`not-at-guest-offset ${3 * CLUSTER}`]);
          expect(await failureOf(firstBytes(fixture, offsets))).to.include({ code: 'corrupt-image' });
          const { result } = await repairImage(fixture.graph, PATH, 'all', { format: 'qcow2' }, () => undefined);
          expect([result.before.corruptions, result.after.corruptions]).to.deep.equal([1, 0]);
          expect(await check(fixture)).to.deep.equal([]);
          // A raw data file is what the disk reads as.
          expect(await firstBytes(fixture, offsets)).to.deep.equal([3, raw ? 4 : 0, 5, 8]);
          await fixture.graph.closeAll();
        });
      }
    }
  }

  it('moves nothing whose place has the number of a cluster of the image with too many references', async () => {
    const small = 4096;
    const fixture = await makeImage({ raw: false, extended: false, refcountBits: 1 }, small);
    let shared = 0;
    // An entry of the L1 table points to that table: its cluster has two references, which one bit cannot say.
    change(fixture, (image, at) => {
      shared = at(40) / small;
      image.writeBigUInt64BE(COPIED | BigInt(at(40)), at(40) + 8);
    });
    expect(shared).to.be.within(1, CLUSTERS - 1);
    const { result } = await repairImage(fixture.graph, PATH, 'all', { format: 'qcow2' }, () => undefined);
    expect(result.after).to.include({ corruptions: 0, leaks: 0, checkErrors: 0 });
    const offsets = Array.from({ length: CLUSTERS }, (_, at) => at * small);
    expect(await firstBytes(fixture, offsets)).to.deep.equal(offsets.map((_, at) => at + 1));
    await fixture.graph.closeAll();
  });
});
