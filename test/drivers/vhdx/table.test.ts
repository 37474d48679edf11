// The table of VHDX images: entries between those of the bitmaps, the states of blocks, what a check finds of them, and its repair.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { seal } from '../../../src/drivers/formats/vhdx/header.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { checkImage, repairImage } from '../../../src/workspace/check.js';
import { MIB } from '../../formats/vhdx/images.js';
import { type Bench, failureOf, makeBench, readNode, used } from '../support.js';

const PATH = '/image';
const OPTIONS: BlockdevOptions = { driver: 'vhdx', file: { driver: 'file', filename: PATH } };
const TABLE = 2 * MIB;
const METADATA = 3 * MIB;

/** An image whose block `i` begins with the byte `i + 1`, each in the place `4 + i` MiB. */
async function bench(blocks = 4, blockBytes = MIB): Promise<{ made: Bench; image: Buffer }> {
  const made = makeBench();
  await createImage(made.graph, PATH, { driver: 'vhdx', size: blocks * blockBytes, 'block-size': blockBytes });
  const node = await used(openNode(made.graph, OPTIONS));
  for (let block = 0; block < blocks; block++) {
    await node.write(block * blockBytes, new Uint8Array(512).fill(block + 1));
  }
  await made.graph.closeAll();
  return { made, image: Buffer.from(made.host.readFile(PATH)) };
}

async function firstBytes({ graph }: Bench, blocks = 4): Promise<number[]> {
  const node = await openNode(graph, OPTIONS, { readOnly: true });
  const found: number[] = [];
  for (let block = 0; block < blocks; block++) {
    const bytes = new Uint8Array(512);
    await readNode(node, (block * node.length) / blocks, bytes);
    found.push(bytes[0]);
  }
  await graph.closeAll();
  return found;
}

/** The first byte of each MiB of the disk. */
async function eachMib({ graph }: Bench): Promise<number[]> {
  const node = await openNode(graph, OPTIONS, { readOnly: true });
  const content = new Uint8Array(node.length);
  await readNode(node, 0, content);
  await graph.closeAll();
  return Array.from({ length: content.length / MIB }, (_, index) => content[index * MIB]);
}

async function findings({ graph }: Bench): Promise<string[]> {
  const kinds: string[] = [];
  await checkImage(graph, OPTIONS, {}, ({ kind }) => kinds.push(kind));
  return kinds;
}

function put(image: Buffer, index: number, state: number, placeMib: number): void {
  image.writeBigUInt64LE(BigInt(placeMib * MIB + state), TABLE + 8 * index);
}

describe('vhdx: table', () => {
  it('the entry of a bitmap stands behind those of its blocks', async () => {
    // 256 MiB: a bitmap describes 16 blocks.
    const made = makeBench();
    const blockBytes = 256 * MIB;
    await createImage(made.graph, PATH, { driver: 'vhdx', size: 18 * blockBytes, 'block-size': blockBytes });
    const table = Buffer.from(made.host.readFile(PATH, TABLE, 8 * 20));
    const states = Array.from({ length: 20 }, (_, index) => Number(table.readBigUInt64LE(8 * index)));
    expect(states).to.deep.equal([...Array(16).fill(2), 0, 2, 2, 0]);
    const node = await used(openNode(made.graph, OPTIONS));
    await node.write(16 * blockBytes, new Uint8Array(512).fill(7));
    await made.graph.closeAll();
    const after = Buffer.from(made.host.readFile(PATH, TABLE, 8 * 20));
    expect(Number(after.readBigUInt64LE(8 * 17)) % 8).to.equal(6);
    expect(after.readBigUInt64LE(8 * 16)).to.equal(0n);
  });

  for (const state of [0, 1, 2, 3]) {
    it(`a block of state ${state} reads as zeroes, and takes what is written`, async () => {
      const { made, image } = await bench();
      put(image, 1, state, state === 3 ? 5 : 0);
      made.host.writeFile(PATH, image);
      expect(await firstBytes(made)).to.deep.equal([1, 0, 3, 4]);
      const node = await used(openNode(made.graph, OPTIONS));
      await node.write(MIB + 512, new Uint8Array(512).fill(8));
      await made.graph.closeAll();
      expect(await firstBytes(made)).to.deep.equal([1, 0, 3, 4]);
      expect(await findings(made)).to.deep.equal([]);
    });
  }

  for (const state of [1, 3]) {
    it(`the place that a block of state ${state} keeps is no other one's, and stays in the file`, async () => {
      const { made, image } = await bench(6);
      for (let index = 4; index < 6; index++) put(image, index, 0, 0);
      put(image, 1, state, 5);
      put(image, 3, state, 7);
      made.host.writeFile(PATH, image.subarray(0, 8 * MIB));
      const node = await used(openNode(made.graph, OPTIONS));
      await node.write(4 * MIB, new Uint8Array(512).fill(5));
      await node.write(0, new Uint8Array(512).fill(9));
      await made.graph.closeAll();
      const after = Buffer.from(made.host.readFile(PATH));
      expect(Number(after.readBigUInt64LE(TABLE + 8 * 4))).to.equal(8 * MIB + 6);
      expect([after[5 * MIB], after[7 * MIB]]).to.deep.equal([2, 4]);
      expect(await firstBytes(made, 6)).to.deep.equal([9, 0, 3, 0, 5, 0]);
      expect(await findings(made)).to.deep.equal([]);
    });
  }

  it('a place that one block keeps, and another one uses, is not shared', async () => {
    const { made, image } = await bench();
    put(image, 0, 3, 5);
    made.host.writeFile(PATH, image);
    expect(await findings(made)).to.deep.equal([]);
    expect(await firstBytes(made)).to.deep.equal([0, 2, 3, 4]);
  });

  it('the place of a block that is not in use is used again', async () => {
    const { made, image } = await bench();
    put(image, 1, 0, 0);
    made.host.writeFile(PATH, image);
    const node = await used(openNode(made.graph, OPTIONS));
    await node.write(MIB + 512, new Uint8Array(512).fill(8));
    await made.graph.closeAll();
    expect(made.host.readFile(PATH).length).to.equal(image.length);
    expect(await firstBytes(made)).to.deep.equal([1, 0, 3, 4]);
  });

  for (const [what, kind, state, place] of [
    ['behind the end of the file', 'vhdx-start-outside', 6, 100],
    ['partly behind the end of the file', 'vhdx-start-outside', 6, 9],
    ['on the table', 'vhdx-overlap', 6, 2],
    ['on the headers', 'vhdx-overlap', 6, 0],
    ['of a state that no block has', 'vhdx-state', 5, 5],
    ['in part with the parent', 'vhdx-state', 7, 5],
  ] as const) {
    it(`a block ${what} is found, read as an error, not written beside, and mended`, async () => {
      const { made, image } = await bench();
      put(image, 1, state, place);
      made.host.writeFile(PATH, image);
      expect(await findings(made)).to.deep.equal([kind]);
      const { graph } = made;
      const node = await used(openNode(graph, OPTIONS));
      expect((await failureOf(node.read(MIB, new Uint8Array(512)))).code).to.equal('corrupt-image');
      expect((await failureOf(node.write(0, new Uint8Array(512)))).code).to.equal('corrupt-image');
      await graph.closeAll();
      expect(Buffer.from(made.host.readFile(PATH)).equals(image)).to.equal(true);
      const { result } = await repairImage(graph, OPTIONS, 'all', {}, () => undefined);
      expect([result.before.corruptions, result.after.corruptions]).to.deep.equal([1, 0]);
      expect(await firstBytes(made)).to.deep.equal([1, 0, 3, 4]);
    });
  }

  it('of blocks that share a place, each has a copy after a repair', async () => {
    const { made, image } = await bench();
    put(image, 1, 6, 4);
    made.host.writeFile(PATH, image);
    expect(await findings(made)).to.deep.equal(['vhdx-block-shared']);
    const { result } = await repairImage(made.graph, OPTIONS, 'all', {}, () => undefined);
    expect(result.after.corruptions).to.equal(0);
    expect(await firstBytes(made)).to.deep.equal([1, 1, 3, 4]);
    const node = await used(openNode(made.graph, OPTIONS));
    await node.write(0, new Uint8Array(512).fill(9));
    await made.graph.closeAll();
    expect(await firstBytes(made)).to.deep.equal([9, 1, 3, 4]);
  });

  it('a block that begins within another one is whole in its copy', async () => {
    const { made, image } = await bench(4, 2 * MIB);
    for (let place = 4; place < 12; place++) image.fill(place, place * MIB, (place + 1) * MIB);
    put(image, 1, 6, 5);
    made.host.writeFile(PATH, image);
    expect(await findings(made)).to.deep.equal(['vhdx-block-shared']);
    const { result } = await repairImage(made.graph, OPTIONS, 'all', {}, () => undefined);
    expect(result.after.corruptions).to.equal(0);
    expect(await eachMib(made)).to.deep.equal([4, 5, 5, 6, 8, 9, 10, 11]);
  });

  it('an image with a region far behind the end of the file is read, and nothing is written to it', async () => {
    const { made, image } = await bench();
    for (const at of [0x30000, 0x40000]) {
      image.writeUInt32LE(3, at + 8);
      image.fill(0x77, at + 80, at + 96);
      image.writeBigUInt64LE(2n ** 36n, at + 96);
      image.writeUInt32LE(MIB, at + 104);
      seal(image.subarray(at, at + 65536));
    }
    put(image, 1, 6, 4);
    made.host.writeFile(PATH, image);
    expect(await firstBytes(made)).to.deep.equal([1, 1, 3, 4]);
    const node = await used(openNode(made.graph, OPTIONS));
    expect((await failureOf(node.write(0, new Uint8Array(512)))).code).to.equal('invalid-image');
    await made.graph.closeAll();
    const repair = repairImage(made.graph, OPTIONS, 'all', {}, () => undefined);
    expect((await failureOf(repair)).code).to.equal('invalid-image');
    expect(Buffer.from(made.host.readFile(PATH)).equals(image)).to.equal(true);
  });

  it('a block whose end the file has lost keeps the rest after a repair', async () => {
    const { made, image } = await bench(4, 2 * MIB);
    for (let place = 4; place < 12; place++) image.fill(place, place * MIB, (place + 1) * MIB);
    // Another one shares the place, so that the repair takes a new one, too.
    put(image, 0, 6, 8);
    made.host.writeFile(PATH, image.subarray(0, 11 * MIB - 512));
    expect(await findings(made)).to.deep.equal(['vhdx-block-shared', 'vhdx-end-outside']);
    const { result } = await repairImage(made.graph, OPTIONS, 'all', {}, () => undefined);
    expect(result.after.corruptions).to.equal(0);
    expect(await eachMib(made)).to.deep.equal([8, 9, 6, 7, 8, 9, 10, 0]);
  });

  it("a file that ends where the last block's part of the disk does, as QEMU's fixed ones do, is read and written", async () => {
    const { made, image } = await bench();
    image.writeBigUInt64LE(BigInt(3 * MIB + 1024), METADATA + 65536 + 8);
    const cut = image.subarray(0, 7 * MIB + 1024);
    made.host.writeFile(PATH, cut);
    expect(await findings(made)).to.deep.equal([]);
    const node = await used(openNode(made.graph, OPTIONS));
    await node.write(3 * MIB + 512, new Uint8Array(512).fill(9));
    await made.graph.closeAll();
    const end = new Uint8Array(1024);
    await readNode(await openNode(made.graph, OPTIONS, { readOnly: true }), 3 * MIB, end);
    await made.graph.closeAll();
    expect([end[0], end[511], end[512], end[1023]]).to.deep.equal([4, 4, 9, 9]);
    expect(await findings(made)).to.deep.equal([]);
    made.host.writeFile(PATH, image.subarray(0, 7 * MIB + 512));
    expect(await findings(made)).to.deep.equal(['vhdx-end-outside']);
  });

  it('a fixed image whose blocks have no places yet is not shortened', async () => {
    const made = makeBench();
    await createImage(made.graph, PATH, { driver: 'vhdx', size: 4 * MIB, 'block-size': MIB, subformat: 'fixed' });
    const image = Buffer.from(made.host.readFile(PATH));
    for (let index = 0; index < 4; index++) put(image, index, 0, 0);
    put(image, 3, 5, 4);
    made.host.writeFile(PATH, image);
    await repairImage(made.graph, OPTIONS, 'all', {}, () => undefined);
    expect(made.host.readFile(PATH).length).to.equal(image.length);
    const node = await used(openNode(made.graph, OPTIONS));
    await node.write(MIB, new Uint8Array(512).fill(2));
    await made.graph.closeAll();
    expect(made.host.readFile(PATH).length).to.equal(image.length);
    expect(await firstBytes(made)).to.deep.equal([0, 2, 0, 0]);
  });

  it('a disk of sectors of 4096 bytes is read and written', async () => {
    const { made, image } = await bench();
    image.writeUInt32LE(4096, METADATA + 65536 + 32);
    made.host.writeFile(PATH, image);
    expect(await firstBytes(made)).to.deep.equal([1, 2, 3, 4]);
    const node = await used(openNode(made.graph, OPTIONS));
    await node.write(2 * MIB, new Uint8Array(4096).fill(6));
    await made.graph.closeAll();
    expect(await firstBytes(made)).to.deep.equal([1, 2, 6, 4]);
  });
});

describe('vhdx: headers', () => {
  it('the first change gives the file and the disk new GUIDs, a reader changes nothing', async () => {
    const { made, image } = await bench();
    await firstBytes(made);
    expect(Buffer.from(made.host.readFile(PATH)).equals(image)).to.equal(true);
    const node = await used(openNode(made.graph, OPTIONS));
    await node.write(0, new Uint8Array(512).fill(2));
    await made.graph.closeAll();
    const after = Buffer.from(made.host.readFile(PATH));
    const newest = (bytes: Buffer): number =>
      bytes.readBigUInt64LE(0x10008) > bytes.readBigUInt64LE(0x20008) ? 0x10000 : 0x20000;
    for (const field of [16, 32]) {
      const [a, b] = [image, after].map((bytes) =>
        bytes.toString('hex', newest(bytes) + field, newest(bytes) + field + 16),
      );
      expect(a).not.to.equal(b);
    }
  });

  for (const at of [0x10000, 0x20000, 0x30000]) {
    it(`an image that has lost what lies at ${at >> 10} KiB opens by the other one`, async () => {
      const { made, image } = await bench();
      image[at + 20] ^= 1;
      made.host.writeFile(PATH, image);
      expect(await firstBytes(made)).to.deep.equal([1, 2, 3, 4]);
    });
  }

  it('headers of the same number that differ are refused', async () => {
    const { made, image } = await bench();
    for (const at of [0x10000, 0x20000]) {
      image.writeBigUInt64LE(5n, at + 8);
      image[at + 16] = at >> 16;
      seal(image.subarray(at, at + 4096));
    }
    made.host.writeFile(PATH, image);
    const error = await failureOf(openNode(made.graph, OPTIONS));
    expect(error).to.include({ code: 'invalid-image' });
    expect(error.message).to.match(/No valid VHDX header found/);
  });
});
