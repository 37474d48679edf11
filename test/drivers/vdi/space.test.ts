// The free blocks of a VDI image: its map is looked through once, before the first block is taken.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { parseHeader } from '../../../src/drivers/formats/vdi/header.js';
import { VdiSpace } from '../../../src/drivers/formats/vdi/space.js';
import { ImageFile } from '../../../src/drivers/image-file.js';
import { linkTo, makeBench } from '../support.js';

describe('the free blocks of a VDI image', () => {
  it('are looked for once, also by several who come at the same time', async () => {
    const bench = makeBench();
    await createImage(bench.graph, '/a', { driver: 'vdi', size: 8 << 20 });
    const node = await openNode(bench.graph, { driver: 'file', filename: '/a' });
    const link = linkTo(node);
    const head = new Uint8Array(512);
    await link.read(0, head);
    const file = new ImageFile(() => link);
    let reads = 0;
    const read = file.read.bind(file);
    file.read = (...request) => {
      reads++;
      return read(...request);
    };
    const space = new VdiSpace(file, parseHeader(head, '/a'));
    const offsets: number[] = [];
    for (const block of await Promise.all([space.take(), space.take()])) offsets.push(block.offset);
    for (let i = 0; i < 3; i++) offsets.push((await space.take()).offset);
    expect(reads).to.equal(1);
    expect(offsets.map((offset) => (offset - offsets[0]) / (1 << 20))).to.deep.equal([0, 1, 2, 3, 4]);
    await bench.graph.closeAll();
  });

  it('are those before the last one first, each once, and then new ones', async () => {
    const bench = makeBench();
    await createImage(bench.graph, '/a', { driver: 'vdi', size: 64 << 20 });
    const node = await openNode(bench.graph, { driver: 'file', filename: '/a' });
    const link = linkTo(node);
    const map = Buffer.alloc(512, 0xff);
    map.writeUInt32LE(5, 0);
    map.writeUInt32LE(2, 4);
    await link.write(512, map);
    const head = new Uint8Array(512);
    await link.read(0, head);
    const header = parseHeader(head, '/a');
    const space = new VdiSpace(new ImageFile(() => link), header);
    const numbers: number[] = [];
    for (let i = 0; i < 6; i++) numbers.push(((await space.take()).offset - header.dataOffset) / (1 << 20));
    expect(numbers).to.deep.equal([0, 1, 3, 4, 6, 7]);
    await bench.graph.closeAll();
  });
});
