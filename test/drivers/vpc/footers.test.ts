// The footers of VHD images: which of the two counts, and that one of them is always right.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { FOOTER_CHECKSUM, HEADER_CHECKSUM, patched } from '../../formats/vpc/differencing.js';
import { type Bench, failureOf, makeBench, readNode, used } from '../support.js';

const MIB = 1 << 20;
const PATH = '/image';
const OPTIONS: BlockdevOptions = { driver: 'vpc', file: { driver: 'file', filename: PATH } };
const BLOCK = 2 * MIB;

async function bench(own: object = {}): Promise<Bench> {
  const made = makeBench();
  await createImage(made.graph, PATH, { driver: 'vpc', size: 7 * MIB, 'force-size': true, ...own });
  return made;
}

/** Writes one sector of the byte `value` at `offset`. */
async function write({ graph }: Bench, offset: number, value: number): Promise<void> {
  const node = await used(openNode(graph, OPTIONS));
  await node.write(offset, new Uint8Array(512).fill(value));
  await graph.closeAll();
}

/** The first byte of each of the sectors at `offsets`. */
async function read({ graph }: Bench, ...offsets: number[]): Promise<number[]> {
  const node = await openNode(graph, OPTIONS, { readOnly: true });
  const found: number[] = [];
  for (const offset of offsets) {
    const sector = new Uint8Array(512);
    await readNode(node, offset, sector);
    found.push(sector[0]);
  }
  await graph.closeAll();
  return found;
}

function bytesOf({ host }: Bench): Buffer {
  return Buffer.from(host.readFile(PATH));
}

describe('vpc: footers', () => {
  it('a dynamic image ends and begins with the same one after each close', async () => {
    const image = await bench();
    for (const block of [2, 0, 1]) {
      await write(image, block * BLOCK, block + 1);
      const bytes = bytesOf(image);
      expect(bytes.subarray(0, 512).equals(bytes.subarray(-512)), `block ${block}`).to.equal(true);
      expect(bytes.toString('latin1', 0, 8)).to.equal('conectix');
    }
    expect(await read(image, 0, BLOCK, 2 * BLOCK)).to.deep.equal([1, 2, 3]);
  });

  it('a flush leaves one at the end of the file, which is still longer than it need be', async () => {
    const image = await bench();
    const node = await used(openNode(image.graph, OPTIONS));
    await node.write(0, new Uint8Array(512).fill(1));
    await node.flush();
    const bytes = bytesOf(image);
    expect(bytes.subarray(0, 512).equals(bytes.subarray(-512))).to.equal(true);
    await image.graph.closeAll();
    expect(bytesOf(image).length).to.be.below(bytes.length);
  });

  for (const [which, at] of [
    ['at the begin', 0],
    ['at the end', -512],
  ] as const) {
    it(`an image whose footer ${which} is lost opens, and has both again when it was written to`, async () => {
      const image = await bench();
      await write(image, 0, 7);
      const bytes = bytesOf(image);
      bytes.fill(0xff, at < 0 ? bytes.length + at : at, at < 0 ? bytes.length : at + 512);
      image.host.writeFile(PATH, bytes);
      expect(await read(image, 0, BLOCK)).to.deep.equal([7, 0]);
      expect(bytesOf(image).equals(bytes), 'a reader changes nothing').to.equal(true);
      await write(image, BLOCK, 8);
      const after = bytesOf(image);
      expect(after.toString('latin1', 0, 8)).to.equal('conectix');
      expect(after.subarray(0, 512).equals(after.subarray(-512))).to.equal(true);
      expect(await read(image, 0, BLOCK)).to.deep.equal([7, 8]);
    });
  }

  it('an image with neither is refused, in words of its own for a wrong checksum', async () => {
    const image = await bench();
    const bytes = bytesOf(image);
    for (const at of [0, bytes.length - 512]) bytes[at + FOOTER_CHECKSUM] ^= 1;
    image.host.writeFile(PATH, bytes);
    expect((await failureOf(openNode(image.graph, OPTIONS))).message).to.match(/Incorrect header checksum/);
    image.host.writeFile(PATH, new Uint8Array(4096));
    expect((await failureOf(openNode(image.graph, OPTIONS))).message).to.match(/invalid VPC image/);
  });

  it('a block that comes where a footer was has none of it', async () => {
    const image = await bench({ size: 31 * MIB });
    const node = await used(openNode(image.graph, OPTIONS));
    for (let block = 0; block < 15; block++) {
      await node.write(block * BLOCK, new Uint8Array(512).fill(block + 1));
      await node.flush();
    }
    const content = new Uint8Array(node.length);
    await readNode(node, 0, content);
    const expected = (at: number): number => (at % BLOCK < 512 && at < 15 * BLOCK ? Math.floor(at / BLOCK) + 1 : 0);
    const wrong = content.findIndex((byte, at) => byte !== expected(at));
    expect(wrong).to.equal(-1);
    await image.graph.closeAll();
  });

  it("a guest's copy of a footer in the first sector of a fixed image does not count", async () => {
    const image = await bench({ subformat: 'fixed' });
    const other = makeBench();
    await createImage(other.graph, PATH, { driver: 'vpc', size: 3 * MIB });
    const node = await used(openNode(image.graph, OPTIONS));
    await node.write(0, other.host.readFile(PATH).slice(0, 1536));
    await image.graph.closeAll();
    const again = await openNode(image.graph, OPTIONS, { readOnly: true });
    expect(again.length).to.equal(7 * MIB);
    await image.graph.closeAll();
  });

  it('a fixed image with a footer of 511 bytes opens', async () => {
    const image = await bench({ subformat: 'fixed' });
    const bytes = bytesOf(image);
    image.host.writeFile(PATH, bytes.subarray(0, bytes.length - 1));
    await write(image, 7 * MIB - 512, 5);
    expect(await read(image, 7 * MIB - 512)).to.deep.equal([5]);
  });

  it('a fixed image whose file is too short is read, and not written: that would be on the footer', async () => {
    const image = await bench({ subformat: 'fixed' });
    const footer = patched(bytesOf(image).subarray(-512), FOOTER_CHECKSUM, (bytes) =>
      bytes.writeBigUInt64BE(BigInt(9 * MIB), 48),
    );
    image.host.writeFile(PATH, Buffer.concat([Buffer.alloc(7 * MIB, 1), footer]));
    expect(await read(image, 0, 8 * MIB)).to.deep.equal([1, 0]);
    expect((await failureOf(openNode(image.graph, OPTIONS))).code).to.equal('corrupt-image');
    await image.graph.closeAll();
  });
});

describe('vpc: the dynamic header and the bitmaps', () => {
  it('an image with a wrong checksum of its header is read with a warning, and not written', async () => {
    const image = await bench();
    await write(image, 0, 7);
    const bytes = bytesOf(image);
    bytes[512 + HEADER_CHECKSUM] ^= 1;
    image.host.writeFile(PATH, bytes);
    expect(await read(image, 0)).to.deep.equal([7]);
    expect(image.warnings.join()).to.match(/checksum of the dynamic header/);
    expect((await failureOf(openNode(image.graph, OPTIONS))).code).to.equal('corrupt-image');
    await image.graph.closeAll();
  });

  it("all bits of another program's block are set when it is written to", async () => {
    const image = await bench();
    await write(image, 0, 7);
    const bytes = bytesOf(image);
    const bitmap = bytes.readUInt32BE(1536) * 512;
    bytes.fill(0, bitmap, bitmap + 512);
    bytes[bitmap] = 0x80;
    image.host.writeFile(PATH, bytes);
    await write(image, 8192, 9);
    expect(
      bytesOf(image)
        .subarray(bitmap, bitmap + 512)
        .every((byte) => byte === 0xff),
    ).to.equal(true);
    expect(await read(image, 0, 8192)).to.deep.equal([7, 9]);
  });
});
