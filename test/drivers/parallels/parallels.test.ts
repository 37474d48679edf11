// Parallels images: the mark of an image in use, the older magic, and the format extension.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { repairImage } from '../../../src/workspace/check.js';
import {
  BITMAP,
  bitmapData,
  Field,
  HEADER_BYTES,
  IN_USE,
  withExtension,
  withOldMagic,
} from '../../formats/parallels/images.js';
import { type Bench, failureOf, makeBench, readNode, used } from '../support.js';

const CLUSTER = 64 << 10;
const SIZE = 6 * CLUSTER;
const PATH = '/image';
const OPTIONS: BlockdevOptions = { driver: 'parallels', file: { driver: 'file', filename: PATH } };

/** An image whose clusters 0 and 4 hold the bytes 1 and 5. */
async function bench(change: (image: Buffer) => Buffer = (image) => image): Promise<Bench> {
  const made = makeBench();
  const { host, graph } = made;
  await createImage(graph, PATH, { driver: 'parallels', size: SIZE, 'cluster-size': CLUSTER });
  const node = await used(openNode(graph, OPTIONS));
  for (const cluster of [4, 0]) await node.write(cluster * CLUSTER, new Uint8Array(CLUSTER).fill(cluster + 1));
  await graph.closeAll();
  host.writeFile(PATH, change(Buffer.from(host.readFile(PATH))));
  return made;
}

function bytesOf({ host }: Bench): Buffer {
  return Buffer.from(host.readFile(PATH));
}

/** The first byte of each cluster. */
async function clusters({ graph }: Bench): Promise<number[]> {
  const node = await openNode(graph, OPTIONS, { readOnly: true });
  const found: number[] = [];
  for (let at = 0; at < SIZE; at += CLUSTER) {
    const sector = new Uint8Array(512);
    await readNode(node, at, sector);
    found.push(sector[0]);
  }
  await graph.closeAll();
  return found;
}

async function write({ graph }: Bench, cluster: number, value: number): Promise<void> {
  const node = await used(openNode(graph, OPTIONS));
  await node.write(cluster * CLUSTER, new Uint8Array(512).fill(value));
  await graph.closeAll();
}

describe('parallels: an image in use', () => {
  it('is marked with the first change, and not when it is closed', async () => {
    const image = await bench();
    const node = await used(openNode(image.graph, OPTIONS));
    expect(bytesOf(image).readUInt32LE(Field.inUse)).to.equal(0);
    await node.write(CLUSTER, new Uint8Array(512).fill(2));
    expect(Buffer.from(image.host.durableFile(PATH)).readUInt32LE(Field.inUse)).to.equal(IN_USE);
    await image.graph.closeAll();
    expect(bytesOf(image).readUInt32LE(Field.inUse)).to.equal(0);
    expect(bytesOf(image).length).to.equal(4 * CLUSTER);
  });

  it('is read, and not written before it is repaired', async () => {
    const image = await bench((bytes) => {
      bytes.writeUInt32LE(IN_USE, Field.inUse);
      return bytes;
    });
    expect(await clusters(image)).to.deep.equal([1, 0, 0, 0, 5, 0]);
    expect((await failureOf(openNode(image.graph, OPTIONS))).message).to.match(/was not closed correctly/);
    const { result } = await repairImage(image.graph, PATH, 'all', { format: 'parallels' }, () => undefined);
    expect([result.before.corruptions, result.after.corruptions]).to.deep.equal([1, 0]);
    await write(image, 1, 2);
    expect(await clusters(image)).to.deep.equal([1, 2, 0, 0, 5, 0]);
  });

  it('with an entry that points out of it is not written before it is repaired', async () => {
    const image = await bench((bytes) => {
      bytes.writeUInt32LE(9, HEADER_BYTES);
      return bytes;
    });
    const before = bytesOf(image);
    const node = await used(openNode(image.graph, OPTIONS));
    expect((await failureOf(node.write(CLUSTER, new Uint8Array(512)))).code).to.equal('corrupt-image');
    await image.graph.closeAll();
    expect(bytesOf(image).equals(before)).to.equal(true);
    await repairImage(image.graph, PATH, 'all', { format: 'parallels' }, () => undefined);
    await write(image, 1, 2);
    expect(await clusters(image)).to.deep.equal([0, 2, 0, 0, 5, 0]);
  });
});

describe('parallels: a table that says to be longer than the file', () => {
  it('is no reason for a repair to make the file as long', async () => {
    const image = await bench((bytes) => {
      bytes.writeUInt32LE(100_000_000, Field.entries);
      bytes.writeUInt32LE(IN_USE, Field.inUse);
      return bytes;
    });
    const { length } = bytesOf(image);
    await repairImage(image.graph, PATH, 'all', { format: 'parallels' }, () => undefined);
    expect(bytesOf(image).length).to.be.at.most(length);
    expect(bytesOf(image).readUInt32LE(Field.inUse)).to.equal(0);
  });
});

describe('parallels: the older magic', () => {
  it('has entries in sectors, which are written so', async () => {
    const image = await bench(withOldMagic);
    await write(image, 2, 3);
    expect(await clusters(image)).to.deep.equal([1, 0, 3, 0, 5, 0]);
    expect(bytesOf(image).readUInt32LE(HEADER_BYTES + 8)).to.equal((3 * CLUSTER) / 512);
  });
});

describe('parallels: the format extension', () => {
  /** Bits of 4 KiB: the first 16 of them in the file, lowest first. */
  const stored = (image: Buffer): Buffer =>
    withExtension(
      image,
      [{ magic: BITMAP, data: bitmapData(SIZE / 512, 8, [BigInt((image.length + CLUSTER) / 512)]) }],
      Buffer.concat([Buffer.from([0x05, 0x80])], CLUSTER),
    );

  it('has bitmaps, which an image that is only read has', async () => {
    const { graph } = await bench(stored);
    const node = await openNode(graph, OPTIONS, { readOnly: true });
    const bitmap = node.bitmaps.get('00010203-0405-0607-0809-0a0b0c0d0e0f')!;
    expect([bitmap.granularity, bitmap.dirtyBytes]).to.deep.equal([4096, 3 * 4096]);
    const runs: [number, number][] = [];
    for (let run = bitmap.nextDirtyRun(0); run !== undefined; run = bitmap.nextDirtyRun(run.offset + run.length)) {
      runs.push([run.offset / 4096, run.length / 4096]);
    }
    expect(runs).to.deep.equal([
      [0, 1],
      [2, 1],
      [15, 1],
    ]);
    await graph.closeAll();
  });

  it('goes with the first change, and the clusters read as before', async () => {
    const image = await bench(stored);
    await write(image, 2, 3);
    expect(image.warnings.join()).to.match(/Format Extension ignored in RW mode/);
    expect(bytesOf(image).readBigUInt64LE(Field.extension)).to.equal(0n);
    expect(await clusters(image)).to.deep.equal([1, 0, 3, 0, 5, 0]);
  });

  it('stays where nothing is changed', async () => {
    const image = await bench(stored);
    const before = bytesOf(image);
    await used(openNode(image.graph, OPTIONS));
    await image.graph.closeAll();
    expect(bytesOf(image).equals(before)).to.equal(true);
  });

  it('keeps the image from being changed where a feature in it demands that', async () => {
    const image = await bench((bytes) => withExtension(bytes, [{ magic: 0x1234n, flags: 1n }]));
    const before = bytesOf(image);
    const node = await used(openNode(image.graph, OPTIONS));
    expect((await failureOf(node.write(0, new Uint8Array(512)))).code).to.equal('unsupported');
    await image.graph.closeAll();
    expect(bytesOf(image).equals(before)).to.equal(true);
  });

  const broken: [string, RegExp, (image: Buffer) => Buffer][] = [
    ['with another magic', /Wrong parallels Format Extension magic/, (image) => corrupted(stored(image), image.length)],
    ['with a wrong checksum', /Wrong checksum/, (image) => corrupted(stored(image), image.length + 9)],
    ['with an unknown feature', /Unknown feature: 0x1234/, (image) => withExtension(image, [{ magic: 0x1234n }])],
    [
      'with a bitmap outside of the file',
      /outside of the image/,
      (image) => withExtension(image, [{ magic: BITMAP, data: bitmapData(SIZE / 512, 8, [1n << 40n]) }]),
    ],
    [
      'with a bitmap of another size',
      /another size/,
      (image) => withExtension(image, [{ magic: BITMAP, data: bitmapData(7, 8, [0n]) }]),
    ],
    [
      'with a bitmap of larger granules than there are',
      /granularity of 4294967296 bytes/,
      (image) => withExtension(image, [{ magic: BITMAP, data: bitmapData(SIZE / 512, 1 << 23, [0n]) }]),
    ],
  ];
  for (const [how, words, change] of broken) {
    it(`${how} is refused by who reads`, async () => {
      const { graph } = await bench(change);
      const { code, message } = await failureOf(openNode(graph, OPTIONS, { readOnly: true }));
      expect([code, words.test(message)]).to.deep.equal(['invalid-image', true], message);
      await graph.closeAll();
    });
  }
});

function corrupted(image: Buffer, at: number): Buffer {
  image[at] ^= 1;
  return image;
}
