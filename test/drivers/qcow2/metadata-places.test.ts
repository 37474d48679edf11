// Images whose refcounts or entries lie about where metadata is: nothing is written over it, nothing of it is given back.

import { expect } from 'chai';
import { openNode } from '../../../src/block/open.js';
import { failureOf, linkTo, pattern } from '../support.js';
import { type CreateOptions, createAt, type Fixture, fresh, makeFixture, openAt, PATH } from './bench.js';

const CLUSTER = 4096;
const COPIED = 1n << 63n;

function be64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

const at64 = ({ host }: Fixture, offset: number): number =>
  Number(new DataView(host.readFile(PATH, offset, 8).buffer).getBigUint64(0) & 0x00fffffffffffe00n);
const l1Of = (fixture: Fixture): number => at64(fixture, 40);
const l2Of = (fixture: Fixture): number => at64(fixture, l1Of(fixture));
const refcountTableOf = (fixture: Fixture): number => at64(fixture, 48);
const refcountBlockOf = (fixture: Fixture): number => at64(fixture, refcountTableOf(fixture));

async function image(options: Partial<CreateOptions> = {}): Promise<Fixture> {
  const { node, ...fixture } = await fresh({ size: 1 << 20, 'cluster-size': CLUSTER, ...options });
  await node.write(0, pattern(CLUSTER));
  await fixture.graph.closeAll();
  return fixture;
}

/** All but the byte with the corrupt bit. */
function withoutMark({ host }: Fixture, from: number, length: number): Buffer {
  const bytes = Buffer.from(host.readFile(PATH, from, length));
  if (from <= 79 && from + length > 79) bytes[79 - from] = 0;
  return bytes;
}

/** What `act` asks of the image is refused as corrupt, and [from, from + length) of the file stays as it is. */
async function staysWhere(
  fixture: Fixture,
  [from, length]: readonly [number, number],
  act: (node: Awaited<ReturnType<typeof openAt>>) => Promise<void>,
): Promise<void> {
  const before = withoutMark(fixture, from, length);
  const node = await openAt(fixture);
  expect((await failureOf(act(node))).code).to.equal('corrupt-image');
  // It was marked corrupt, and refuses to write what is left.
  await fixture.graph.closeAll().catch(() => undefined);
  expect(withoutMark(fixture, from, length).equals(before)).to.equal(true);
}

type Act = Parameters<typeof staysWhere>[2];

const fill =
  (bytes: number): Act =>
  async (node) => {
    for (let at = 0; at < bytes; at += 64 << 10) await node.write(at, pattern(64 << 10));
  };

/** The last entry of that table is 0. */
const writeLast: Act = async (node) => {
  await node.write((4 << 20) - CLUSTER, pattern(CLUSTER));
  await node.flush();
};

const corruptBit = ({ host }: Fixture): number => host.readFile(PATH, 79, 1)[0] & 2;

describe('qcow2: where metadata lies', () => {
  for (const check of ['cached', 'none'] as const) {
    it(`does not put a refcount block over the header, where no block counts it (overlap-check=${check})`, async () => {
      const fixture = await image();
      fixture.host.patchFile(PATH, refcountTableOf(fixture), be64(0n));
      const before = withoutMark(fixture, 0, CLUSTER);
      const file = { driver: 'file', filename: PATH };
      const node = await openNode(
        fixture.graph,
        `json:${JSON.stringify({ driver: 'qcow2', file, 'overlap-check': check })}`,
      );
      expect((await failureOf(linkTo(node).write(512 * 1024, pattern(CLUSTER)))).code).to.equal('corrupt-image');
      await fixture.graph.closeAll().catch(() => undefined);
      expect(withoutMark(fixture, 0, CLUSTER).equals(before)).to.equal(true);
      expect(corruptBit(fixture), 'corrupt bit').to.equal(2);
    });
  }

  // Clusters of 512 bytes with 64 of them to a refcount block, and 64 blocks to the table.
  for (const [what, place] of [
    ['a refcount block', 64 * 512],
    ['a refcount table that grows', 64 * 64 * 512],
  ] as const) {
    it(`does not put ${what} over an L2 table that lies where nothing is counted`, async () => {
      const fixture = makeFixture();
      await createAt(fixture, { size: 4 << 20, 'cluster-size': 512, 'refcount-bits': 64 });
      await fixture.graph.closeAll();
      fixture.host.resizeFile(PATH, 3 << 20);
      fixture.host.patchFile(PATH, l1Of(fixture) + 8 * 120, be64(COPIED | BigInt(place)));
      await staysWhere(fixture, [place, 512], fill(3 << 20));
      expect(fixture.host.readFile(PATH, place, 512).every((byte) => byte === 0)).to.equal(true);
    });
  }

  for (const [what, placeOf] of [
    ['the refcount table', refcountTableOf],
    ['a refcount block', refcountBlockOf],
    ['the L1 table', l1Of],
  ] as const) {
    it(`does not write an L2 table that lies on ${what}`, async () => {
      const fixture = await image({ size: 4 << 20 });
      const place = placeOf(fixture);
      fixture.host.patchFile(PATH, l1Of(fixture) + 8, be64(COPIED | BigInt(place)));
      await staysWhere(fixture, [place, CLUSTER], writeLast);
      expect(corruptBit(fixture), 'corrupt bit').to.equal(2);
    });
  }

  for (const [what, placeOf] of [
    ['the refcount table', refcountTableOf],
    ['a refcount block', refcountBlockOf],
  ] as const) {
    it(`does not write an L1 table that lies on ${what}`, async () => {
      const fixture = await image({ size: 4 << 20 });
      const place = placeOf(fixture);
      fixture.host.patchFile(PATH, 40, be64(BigInt(place)));
      await staysWhere(fixture, [place, CLUSTER], writeLast);
    });
  }

  it('does not write a refcount block that lies on the L1 table', async () => {
    // Clusters of 512 bytes with 64 of them to a refcount block; the second cluster of the L1 table is zeroes.
    const fixture = makeFixture();
    await createAt(fixture, { size: 4 << 20, 'cluster-size': 512, 'refcount-bits': 64 });
    await fixture.graph.closeAll();
    const place = l1Of(fixture) + 512;
    fixture.host.patchFile(PATH, refcountTableOf(fixture) + 8 * 40, be64(BigInt(place)));
    await staysWhere(fixture, [place, 512], fill(2 << 20));
    expect(fixture.host.readFile(PATH, place, 512).every((byte) => byte === 0)).to.equal(true);
  });

  for (const [what, placeOf] of [
    ['a refcount block', refcountBlockOf],
    ['the refcount table', refcountTableOf],
    ['the L1 table', l1Of],
    ['an L2 table', l2Of],
  ] as const) {
    for (const [entry, flag] of [
      ['ordinary', 0n],
      ['zero', 1n],
    ] as const) {
      for (const length of [512, CLUSTER]) {
        it(`writes ${length} bytes over ${what} for no ${entry} entry`, async () => {
          const fixture = await image();
          const place = placeOf(fixture);
          fixture.host.patchFile(PATH, l2Of(fixture), be64(COPIED | BigInt(place) | flag));
          await staysWhere(fixture, [place, CLUSTER], (node) => node.write(0, pattern(length)));
        });
      }

      it(`gives ${what} back for no ${entry} entry`, async () => {
        const fixture = await image();
        const place = placeOf(fixture);
        fixture.host.patchFile(PATH, l2Of(fixture), be64(COPIED | BigInt(place) | flag));
        await staysWhere(fixture, [place + 64, 512], async (node) => {
          // A hint: it is the flush that says what is wrong.
          await node.discard(0, CLUSTER).catch((error: Error) => expect.fail(error.message));
          await node.flush();
        });
      });
    }
  }

  it('tells monitors that it is corrupt: once, and with the write that was kept from being done', async () => {
    const fixture = await image();
    const place = l1Of(fixture);
    fixture.host.patchFile(PATH, l2Of(fixture), be64(COPIED | BigInt(place)));
    const node = await openAt(fixture);
    const told: object[] = [];
    fixture.graph.events.on('BLOCK_IMAGE_CORRUPTED', (data) => told.push(data));
    for (let tries = 0; tries < 2; tries++) await failureOf(node.write(0, pattern(512)));
    const msg = 'Preventing invalid write on metadata (overlaps with active L1 table)';
    const event = { device: '', 'node-name': node.nodeName, msg, fatal: true, offset: place, size: CLUSTER };
    expect(told).to.deep.equal([event]);
  });

  it('tells monitors of what is only read, and that it is not fatal', async () => {
    const fixture = await image();
    fixture.host.patchFile(PATH, l1Of(fixture), be64(COPIED | 0x00ff_ffff_ffff_fe00n));
    const node = await openAt(fixture, { readOnly: true });
    const told: object[] = [];
    fixture.graph.events.on('BLOCK_IMAGE_CORRUPTED', (data) => told.push(data));
    for (let tries = 0; tries < 2; tries++) await failureOf(node.read(0, new Uint8Array(512)));
    expect(told).to.deep.equal([
      {
        device: '',
        'node-name': node.nodeName,
        msg: 'L2 table offset 0xfffffffffffe00 invalid (L1 index: 0)',
        fatal: false,
      },
    ]);
  });

  it('says exactly where an L2 table or a refcount block would be, beyond 2^53 too', async () => {
    const fixture = await image();
    fixture.host.patchFile(PATH, l1Of(fixture), be64(COPIED | 0x00ff_ffff_ffff_fe00n));
    const node = await openAt(fixture, { readOnly: true });
    const failure = await failureOf(node.read(0, new Uint8Array(512)));
    expect(failure.reason).to.equal('qcow2: Image is corrupt: L2 table offset 0xfffffffffffe00 invalid (L1 index: 0)');
    await fixture.graph.closeAll();

    const other = await image();
    other.host.patchFile(PATH, refcountTableOf(other), be64(0xffff_ffff_ffff_fe00n));
    const written = await openAt(other);
    expect((await failureOf(written.write(CLUSTER, pattern(CLUSTER)))).reason).to.include(
      'Refblock offset 0xfffffffffffffe00 invalid (reftable index: 0)',
    );
    await other.graph.closeAll().catch(() => undefined);
  });
});
