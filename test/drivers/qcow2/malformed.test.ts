// Images that lie: one clear error, no more than that, and the corrupt bit where the format has it.

import { expect } from 'chai';
import { openNode } from '../../../src/block/open.js';
import type { BlockError } from '../../../src/util/errors.js';
import { failureOf, pattern } from '../support.js';
import { createAt, type Fixture, makeFixture, openAt, PATH } from './bench.js';

const CLUSTER = 4096;
const SIZE = 1 << 20;

function be(bytes: number, value: bigint): Uint8Array {
  const data = new Uint8Array(8);
  new DataView(data.buffer).setBigUint64(0, value);
  return data.slice(8 - bytes);
}

/** What is wrong: where, and which bytes stand there. All are fields of the header. */
const HEADERS: [string, number, Uint8Array, RegExp][] = [
  ['no magic', 0, be(4, 0n), /not in qcow2 format/],
  ['version 1', 4, be(4, 1n), /Unsupported qcow2 version 1/],
  ['version 4', 4, be(4, 4n), /Unsupported qcow2 version 4/],
  ['clusters of 256 bytes', 20, be(4, 8n), /Unsupported cluster size/],
  ['clusters of 4 MiB', 20, be(4, 22n), /Unsupported cluster size/],
  ['clusters of 2^4294967295', 20, be(4, 0xffffffffn), /Unsupported cluster size/],
  [
    'a size beyond 2^53',
    24,
    be(8, 1n << 60n),
    /Image sizes beyond 9007199254740991 bytes \(2\^53 - 1\) are not supported/,
  ],
  ['a size beyond the L1 limit', 24, be(8, 1n << 52n), /too big/],
  ['a size beyond its L1 table', 24, be(8, 1n << 32n), /L1 table is too small/],
  ['an L1 table of 2^32 entries', 36, be(4, 0xffffffffn), /Active L1 table too large/],
  ['an L1 table that is not aligned', 40, be(8, 12289n), /L1 table offset invalid/],
  ['an L1 table beyond the file', 40, be(8, 1n << 40n), /outside of the file/],
  ['an L1 table beyond 2^53', 40, be(8, 1n << 62n), /Active L1 table offset invalid/],
  ['no L1 table', 40, be(8, 0n), /L1 table offset invalid/],
  ['a refcount table that is not aligned', 48, be(8, 4097n), /count table offset invalid/],
  ['a refcount table beyond the file', 48, be(8, 1n << 40n), /outside of the file/],
  ['no refcount table', 48, be(8, 0n), /count table offset invalid/],
  ['a refcount table of no clusters', 56, be(4, 0n), /does not contain a reference count table/],
  ['a refcount table of 2^32 clusters', 56, be(4, 0xffffffffn), /Reference count table too large/],
  ['too many snapshots', 60, be(4, 0x10001n), /Snapshot table/],
  ['refcounts of 128 bits', 96, be(4, 7n), /may not exceed 64 bits/],
  ['a header of 80 bytes', 100, be(4, 80n), /header too short/],
  ['a header of 109 bytes', 100, be(4, 109n), /multiple of 8/],
  ['a header longer than a cluster', 100, be(4, 8192n), /exceeds cluster size/],
  ['a backing file name beyond the cluster', 8, be(8, 5000n), /Invalid backing file offset/],
  ['a backing file name within the header', 8, be(8, 8n), /Invalid backing file offset/],
  ['a backing file name of 2 GiB', 8, new Uint8Array([...be(8, 200n), ...be(4, 0x7fffffffn)]), /name too long/],
  ['an extension of 4 GiB', 112, new Uint8Array([...be(4, 0x1234n), ...be(4, 0xffffffffn)]), /extension too large/],
  ['zstd without its feature bit', 104, be(1, 1n), /feature bit must be set/],
  ['the compression bit without a type', 72, be(8, 8n), /feature bit must not be set/],
];

async function makeImage(version: 'v2' | 'v3' = 'v3'): Promise<Fixture> {
  const fixture = makeFixture();
  await createAt(fixture, { size: SIZE, version, 'cluster-size': CLUSTER });
  const node = await openAt(fixture);
  await node.write(0, pattern(64 * 1024));
  await fixture.graph.closeAll();
  return fixture;
}

const at64 = (fixture: Fixture, offset: number): number =>
  Number(new DataView(fixture.host.readFile(PATH, offset, 8).buffer).getBigUint64(0) & 0x00fffffffffffe00n);

const l1Of = (fixture: Fixture): number => at64(fixture, 40);
const l2Of = (fixture: Fixture): number => at64(fixture, l1Of(fixture));

async function openError(fixture: Fixture, readOnly: boolean): Promise<BlockError> {
  const error = await failureOf(openAt(fixture, { readOnly }));
  await fixture.graph.closeAll();
  return error;
}

describe('malformed qcow2', () => {
  for (const [name, offset, bytes, message] of HEADERS) {
    it(`refuses ${name}`, async () => {
      const fixture = await makeImage();
      fixture.host.patchFile(PATH, offset, bytes);
      const error = await openError(fixture, true);
      expect(error.code).to.be.oneOf(['invalid-image', 'unsupported', 'limit']);
      expect(error.message).to.match(message);
      expect(error.path).to.equal(PATH);
    });
  }

  for (const length of [0, 3, 8, 71, 100, 111]) {
    it(`refuses a file that ends after ${length} bytes`, async () => {
      const fixture = await makeImage();
      fixture.host.resizeFile(PATH, length);
      expect((await openError(fixture, true)).code).to.equal('invalid-image');
    });
  }

  /** A table entry that is wrong: which, what stands there. */
  const TABLES: [string, (fixture: Fixture) => number, bigint][] = [
    ['an L2 table that is not aligned', l1Of, (1n << 63n) | 0x4200n],
    ['an L2 table beyond the file', l1Of, (1n << 63n) | (1n << 50n)],
    ['an L2 table beyond 2^53', l1Of, (1n << 63n) | (0xffn << 48n)],
    ['a cluster that is not aligned', l2Of, (1n << 63n) | 0x5200n],
    ['a cluster beyond 2^53', l2Of, (1n << 63n) | (0xffn << 48n)],
    ['compressed data beyond the file', l2Of, (1n << 62n) | (1n << 45n)],
  ];
  for (const [name, where, entry] of TABLES) {
    it(`finds ${name}, marks the image and goes on reading the rest`, async () => {
      const fixture = await makeImage();
      fixture.host.patchFile(PATH, where(fixture), be(8, entry));
      const node = await openAt(fixture);
      const buffer = new Uint8Array(CLUSTER);
      const error = await failureOf(node.read(0, buffer));
      expect(error.code).to.equal('corrupt-image');
      expect((await failureOf(node.write(512 * 1024, buffer))).code).to.equal('corrupt-image');
      await fixture.graph.closeAll();
      expect(fixture.host.readFile(PATH, 79, 1)[0] & 2, 'corrupt bit').to.equal(2);
      expect((await openError(fixture, false)).code).to.equal('corrupt-image');
    });
  }

  it('does not grow the file for a cluster beyond its end that no refcount knows', async () => {
    const fixture = await makeImage();
    const length = fixture.host.readFile(PATH).length;
    fixture.host.patchFile(PATH, l2Of(fixture), be(8, (1n << 63n) | (1n << 40n)));
    const node = await openAt(fixture);
    expect((await failureOf(node.write(100, pattern(512)))).code).to.equal('corrupt-image');
    await fixture.graph.closeAll();
    expect(fixture.host.readFile(PATH).length).to.equal(length);
  });

  it('writes to a cluster that has a refcount, where another program cut the file before it', async () => {
    const fixture = await makeImage();
    const { length } = fixture.host.readFile(PATH);
    fixture.host.resizeFile(PATH, length - CLUSTER);
    const node = await openAt(fixture);
    await node.write(60 * 1024, pattern(512));
    await fixture.graph.closeAll();
    const buffer = new Uint8Array(CLUSTER);
    await (await openAt(fixture)).read(60 * 1024, buffer);
    await fixture.graph.closeAll();
    expect(buffer.subarray(0, 512)).to.deep.equal(pattern(512));
    expect(buffer.subarray(512).every((byte) => byte === 0)).to.equal(true);
  });

  it('does not touch a corrupt image that is open read-only', async () => {
    const fixture = await makeImage();
    fixture.host.patchFile(PATH, l2Of(fixture), be(8, (1n << 63n) | 0x5200n));
    const before = fixture.host.readFile(PATH);
    const node = await openAt(fixture, { readOnly: true });
    expect((await failureOf(node.read(0, new Uint8Array(CLUSTER)))).code).to.equal('corrupt-image');
    await fixture.graph.closeAll();
    expect(Buffer.from(fixture.host.readFile(PATH)).equals(before)).to.equal(true);
  });

  it('takes a zero flag in version 2 for what it is: an error', async () => {
    const fixture = await makeImage('v2');
    fixture.host.patchFile(PATH, l2Of(fixture), be(8, 1n));
    const node = await openAt(fixture, { readOnly: true });
    expect((await failureOf(node.read(0, new Uint8Array(CLUSTER)))).code).to.equal('corrupt-image');
    await fixture.graph.closeAll();
  });

  it('refuses to decompress garbage', async () => {
    const fixture = await makeImage();
    fixture.host.patchFile(PATH, l2Of(fixture), be(8, (1n << 62n) | BigInt(l1Of(fixture))));
    const node = await openAt(fixture, { readOnly: true });
    expect((await failureOf(node.read(0, new Uint8Array(CLUSTER)))).code).to.equal('invalid-image');
    await fixture.graph.closeAll();
  });

  for (const [what, target] of [
    ['the refcount table', (f: Fixture) => BigInt(at64(f, 48))],
    ['a refcount block', (f: Fixture) => BigInt(at64(f, at64(f, 48)))],
    ['the L1 table', (f: Fixture) => BigInt(l1Of(f))],
    ['an L2 table', (f: Fixture) => BigInt(l2Of(f))],
  ] as const) {
    it(`does not write data over ${what}, to where an entry leads`, async () => {
      const fixture = await makeImage();
      const host = target(fixture);
      fixture.host.patchFile(PATH, l2Of(fixture), be(8, (1n << 63n) | host));
      const before = fixture.host.readFile(PATH, Number(host), CLUSTER);
      const node = await openAt(fixture);
      const error = await failureOf(node.write(0, pattern(CLUSTER)));
      expect(error.code).to.equal('corrupt-image');
      expect(error.message).to.match(/overlaps with/);
      await fixture.graph.closeAll();
      expect(Buffer.from(fixture.host.readFile(PATH, Number(host), CLUSTER)).equals(before)).to.equal(true);
    });
  }

  it('does not allocate a cluster that holds metadata, though its refcount is zero', async () => {
    const fixture = await makeImage();
    const block = at64(fixture, at64(fixture, 48));
    fixture.host.patchFile(PATH, block, new Uint8Array(CLUSTER));
    const node = await openAt(fixture);
    const error = await failureOf(node.write(512 * 1024, pattern(CLUSTER)));
    expect(error.code).to.equal('corrupt-image');
    await fixture.graph.closeAll();
  });

  it('does not check what overlap-check=none says not to', async () => {
    const fixture = await makeImage();
    fixture.host.patchFile(PATH, l2Of(fixture), be(8, (1n << 63n) | BigInt(l1Of(fixture))));
    const node = await openNode(
      fixture.graph,
      `json:${JSON.stringify({ driver: 'qcow2', file: { driver: 'file', filename: PATH }, 'overlap-check': 'none' })}`,
    );
    await node.write(2048, pattern(512));
    await fixture.graph.closeAll();
  });
});
