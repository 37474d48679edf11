// The log of VHDX images: how it is replayed, in memory and in the file, and that what is no valid entry counts for nothing.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { seal } from '../../../src/drivers/formats/vhdx/header.js';
import { encodeEntry, type NewEntry } from '../../../src/drivers/formats/vhdx/log-entry.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { checkImage } from '../../../src/workspace/check.js';
import { stateOf } from '../../block/support.js';
import { MIB, withLog } from '../../formats/vhdx/images.js';
import { type Bench, failureOf, makeBench, readNode, used } from '../support.js';

const PATH = '/image';
const OPTIONS: BlockdevOptions = { driver: 'vhdx', file: { driver: 'file', filename: PATH } };
const TABLE = 2 * MIB;
const LOG = MIB;

/** An image of four blocks, of which the second is full of the byte 5, and the bytes of its table. */
async function bench(): Promise<{ made: Bench; image: Buffer; table: Uint8Array }> {
  const made = makeBench();
  await createImage(made.graph, PATH, { driver: 'vhdx', size: 4 * MIB, 'block-size': MIB });
  const node = await used(openNode(made.graph, OPTIONS));
  await node.write(MIB, new Uint8Array(MIB).fill(5));
  await made.graph.closeAll();
  const image = Buffer.from(made.host.readFile(PATH));
  return { made, image, table: Uint8Array.from(image.subarray(TABLE, TABLE + 4096)) };
}

/** The same as after a loss of power: the change of the table is in the log alone. */
async function cutOff(): Promise<{ made: Bench; image: Buffer; table: Uint8Array }> {
  const { made, image, table } = await bench();
  image.writeBigUInt64LE(2n, TABLE + 8);
  const logged = withLog(image, TABLE, table);
  made.host.writeFile(PATH, logged);
  return { made, image: logged, table };
}

async function second({ graph }: Bench, readOnly: boolean): Promise<number> {
  const node = await openNode(graph, OPTIONS, { readOnly });
  const bytes = new Uint8Array(512);
  await readNode(node, MIB, bytes);
  await graph.closeAll();
  return bytes[0];
}

const bytesOf = ({ host }: Bench): Buffer => Buffer.from(host.readFile(PATH));
const guidsOf = (image: Buffer): string[] => [0x10030, 0x20030].map((at) => image.toString('hex', at, at + 16));

describe('vhdx: log', () => {
  it('is replayed in memory for who only reads, and the file stays as it is', async () => {
    const { made, image } = await cutOff();
    expect(await second(made, true)).to.equal(5);
    expect(bytesOf(made).equals(image)).to.equal(true);
  });

  it('is replayed in the file for who writes, and counts no longer', async () => {
    const { made, table } = await cutOff();
    expect(await second(made, false)).to.equal(5);
    const image = bytesOf(made);
    expect(Uint8Array.from(image.subarray(TABLE, TABLE + 4096))).to.deep.equal(table);
    expect(guidsOf(image)).to.include('0'.repeat(32));
    image.fill(0xff, LOG, LOG + MIB);
    made.host.writeFile(PATH, image);
    expect(await second(made, true)).to.equal(5);
  });

  it('is what a check finds', async () => {
    const { made } = await cutOff();
    const { graph } = made;
    const kinds: string[] = [];
    const { result } = await checkImage(graph, OPTIONS, {}, ({ kind }) => kinds.push(kind));
    expect([result.corruptions, kinds]).to.deep.equal([1, ['vhdx-log']]);
  });

  for (const [what, at] of [
    ['header', 16],
    ['descriptor', 64 + 16],
    ['data', 4096 + 100],
    ['signature of the data', 4096],
  ] as const) {
    it(`an entry whose ${what} is damaged counts for nothing`, async () => {
      const { made, image } = await cutOff();
      image[LOG + at] ^= 1;
      made.host.writeFile(PATH, image);
      expect(await second(made, true)).to.equal(0);
    });
  }

  it('of two sequences the one with the higher number counts, from the tail that its head names, also around the end of the ring', async () => {
    const { made, image, table } = await cutOff();
    const old = Uint8Array.from(table).fill(0, 8, 16);
    const guid = image.toString('hex', LOG + 32, LOG + 48);
    const base = { guid, flushedBytes: image.length, lastBytes: image.length };
    const put = (entry: Pick<NewEntry, 'at' | 'tail' | 'sequence'>, bytes: Uint8Array): void => {
      const encoded = encodeEntry({ ...base, ...entry, writes: [{ offset: TABLE, bytes }] });
      const inside = Math.min(encoded.length, MIB - entry.at);
      image.set(encoded.subarray(0, inside), LOG + entry.at);
      image.set(encoded.subarray(inside), LOG);
    };
    put({ at: 0, tail: 0, sequence: 7n }, old);
    // 8 KiB each: the second one goes around the end.
    const first = MIB - 12288;
    put({ at: first, tail: first, sequence: 20n }, old);
    put({ at: MIB - 4096, tail: first, sequence: 21n }, table);
    made.host.writeFile(PATH, image);
    expect(await second(made, true)).to.equal(5);
    put({ at: first, tail: first, sequence: 19n }, old);
    made.host.writeFile(PATH, image);
    expect(await second(made, true), 'a head whose tail is not there').to.equal(0);
  });

  it('of an image that was cut since is refused', async () => {
    const { made, image } = await cutOff();
    made.host.writeFile(PATH, image.subarray(0, image.length - MIB));
    expect((await failureOf(openNode(made.graph, OPTIONS, { readOnly: true }))).code).to.equal('corrupt-image');
  });

  it('that makes the file longer than the image can need is refused, and the file stays as it is', async () => {
    const { made, image } = await cutOff();
    for (const [bytes, code] of [
      [image.length + 5 * MIB, null],
      [2 ** 46, 'corrupt-image'],
    ] as const) {
      image.writeBigUInt64LE(BigInt(bytes), LOG + 56);
      seal(image.subarray(LOG, LOG + 8192));
      made.host.writeFile(PATH, image);
      if (code === null) expect(await second(made, false)).to.equal(5);
      else expect((await failureOf(openNode(made.graph, OPTIONS))).code).to.equal(code);
    }
    expect(bytesOf(made).equals(image)).to.equal(true);
  });

  it('with more writes than are kept in memory is refused', async () => {
    const made = makeBench();
    await createImage(made.graph, PATH, { driver: 'vhdx', size: 4 * MIB, 'block-size': MIB, 'log-size': 3 * MIB });
    const image = withLog(Buffer.from(made.host.readFile(PATH)), LOG, new Uint8Array(0));
    for (const [sectors, code] of [
      [500, null],
      [520, 'limit'],
    ] as const) {
      const length = sectors * 4096;
      const count = (length - 64) / 32;
      const entry = image.subarray(LOG, LOG + length);
      entry.writeUInt32LE(length, 8);
      entry.writeUInt32LE(count, 24);
      for (let at = 64; at < length; at += 32) {
        entry.write('zero', at, 'latin1');
        entry.writeBigUInt64LE(7n, at + 24);
      }
      seal(entry);
      made.host.writeFile(PATH, image);
      const opening = openNode(made.graph, OPTIONS, { readOnly: true });
      if (code === null) expect((await opening).length).to.equal(4 * MIB);
      else expect((await failureOf(opening)).code).to.equal(code);
      await made.graph.closeAll();
    }
  });

  it('says no more of the length of the file than that has, while a block is being taken', async () => {
    let isSlow = false;
    const made = makeBench({
      manualClock: true,
      onRequest: ({ operation }) => (isSlow && operation === 'truncate' ? { delayMs: 100 } : undefined),
    });
    await createImage(made.graph, PATH, { driver: 'vhdx', size: 4 * MIB, 'block-size': MIB });
    const node = await used(openNode(made.graph, OPTIONS));
    await node.write(MIB, new Uint8Array(512).fill(5));
    isSlow = true;
    const writing = node.write(0, new Uint8Array(512).fill(9));
    expect(await stateOf(writing)).to.equal('pending');
    await node.flush();
    const after = makeBench();
    after.host.writeFile(PATH, made.host.durableFile(PATH));
    expect(await second(after, true)).to.equal(5);
    await made.host.advance(1000);
    await writing;
    await made.graph.closeAll();
  });

  it('that is small takes a large change in several entries', async () => {
    const { graph, host } = makeBench();
    await createImage(graph, PATH, { driver: 'vhdx', size: 8192 * MIB, 'block-size': MIB });
    const small = Buffer.from(host.readFile(PATH));
    for (const at of [0x10000, 0x20000]) {
      small.writeUInt32LE(64 << 10, at + 68);
      seal(small.subarray(at, at + 4096));
    }
    host.writeFile(PATH, small);
    const node = await used(openNode(graph, OPTIONS));
    await node.write(0, new Uint8Array(512).fill(1));
    await node.write(8000 * MIB, new Uint8Array(512).fill(2));
    await node.flush();
    const lost = bytesOf({ host } as Bench);
    await graph.closeAll();
    // What the last entry has is not in the table.
    const entry = TABLE + 8 * (8000 + 1);
    lost.fill(0, entry - (entry % 4096), entry - (entry % 4096) + 4096);
    const after = makeBench();
    after.host.writeFile(PATH, lost);
    const bytes = new Uint8Array(512);
    await readNode(await openNode(after.graph, OPTIONS, { readOnly: true }), 8000 * MIB, bytes);
    await after.graph.closeAll();
    expect(bytes[0]).to.equal(2);
    expect(lost.subarray(LOG + (64 << 10), 2 * MIB).every((byte) => byte === 0)).to.equal(true);
  });

  it('holds the table before that is written, and no entry counts when the image is closed', async () => {
    const { made } = await bench();
    const node = await used(openNode(made.graph, OPTIONS));
    await node.write(0, new Uint8Array(512).fill(9));
    await node.flush();
    const open = bytesOf(made);
    const guid = open.toString('hex', LOG + 512 * 1024 + 32, LOG + 512 * 1024 + 48);
    expect(guidsOf(open)).to.include(guid);
    await made.graph.closeAll();
    const closed = bytesOf(made);
    const newer = closed.readBigUInt64LE(0x10008) > closed.readBigUInt64LE(0x20008) ? 0 : 1;
    expect(guidsOf(closed)[newer]).to.equal('0'.repeat(32));
  });
});
