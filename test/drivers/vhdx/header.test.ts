// What the headers and the metadata of VHDX images say is as the specification has it, or the image is refused.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { HEADER_OFFSETS, seal } from '../../../src/drivers/formats/vhdx/header.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { MIB, withLog } from '../../formats/vhdx/images.js';
import { type Bench, failureOf, makeBench, used } from '../support.js';

const PATH = '/image';
const OPTIONS: BlockdevOptions = { driver: 'vhdx', file: { driver: 'file', filename: PATH } };
const METADATA = 3 * MIB;
const LOG_VERSION = 64;
const ITEMS = [8, 8, 16, 4, 4];

async function made(change: (image: Buffer<ArrayBuffer>) => Buffer<ArrayBuffer>): Promise<Bench> {
  const bench = makeBench();
  await createImage(bench.graph, PATH, { driver: 'vhdx', size: 4 * MIB, 'block-size': MIB });
  bench.host.writeFile(PATH, change(Buffer.from(bench.host.readFile(PATH))));
  return bench;
}

function withLogVersion(image: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> {
  for (const header of HEADER_OFFSETS) {
    image.writeUInt16LE(1, header + LOG_VERSION);
    seal(image.subarray(header, header + 4096));
  }
  return image;
}

describe('vhdx: headers and metadata', () => {
  it('of a log whose version is not known count where it has no entries; who writes to the image makes it a known one', async () => {
    const { graph, host } = await made(withLogVersion);
    const node = await used(openNode(graph, OPTIONS));
    await node.write(0, new Uint8Array(512).fill(7));
    await graph.closeAll();
    const image = Buffer.from(host.readFile(PATH));
    const versions = HEADER_OFFSETS.map((offset) => image.readUInt16LE(offset + LOG_VERSION));
    expect(versions).to.deep.equal([0, 0]);
    const again = await used(openNode(graph, OPTIONS, { readOnly: true }));
    const bytes = new Uint8Array(512);
    await again.read(0, bytes);
    expect(bytes[0]).to.equal(7);
    await graph.closeAll();
  });

  it('of a log whose version is not known, and that has entries, are refused', async () => {
    const { graph } = await made((image) => withLogVersion(withLog(image, 2 * MIB, new Uint8Array(4096))));
    expect((await failureOf(openNode(graph, OPTIONS, { readOnly: true }))).code).to.equal('unsupported');
  });

  for (const [item, length] of ITEMS.entries()) {
    for (const other of [0, length - 1, length + 1]) {
      it(`of an item ${item} with ${other} bytes, not ${length}, are refused`, async () => {
        const { graph } = await made((image) => {
          expect(image.readUInt32LE(METADATA + 32 + 32 * item + 20)).to.equal(length);
          image.writeUInt32LE(other, METADATA + 32 + 32 * item + 20);
          return image;
        });
        const error = await failureOf(openNode(graph, OPTIONS, { readOnly: true }));
        expect(error.code).to.equal('invalid-image');
        expect(error.message).to.match(new RegExp(`${other} bytes, and not ${length}`));
      });
    }
  }
});
