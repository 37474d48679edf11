// What the options of VHD images do: the footer and the size that they lead to.

import { expect } from 'chai';
import { type Bench, makeBench } from '../../drivers/support.js';
import { created, type Effects, file, opened, PATH, refusedOpen, SIZE } from '../../schema/effects/kit.js';
import { encodeDifference } from './differencing.js';

async function bench(own: object = {}): Promise<Bench> {
  const made = makeBench();
  await created(made, { driver: 'file', filename: PATH, size: 0 });
  await created(made, { driver: 'vpc', file: file(), size: SIZE, ...own });
  return made;
}

async function footer(own: object = {}): Promise<Buffer> {
  return Buffer.from((await bench(own)).host.readFile(PATH)).subarray(-512);
}

export const VPC_EFFECTS: Effects = {
  'BlockdevCreateOptionsVpc.file': [
    'is the node that is written',
    async () => expect((await footer()).toString('latin1', 0, 8)).to.equal('conectix'),
  ],
  'BlockdevCreateOptionsVpc.size': [
    'is the least length of the disk, which is whole cylinders',
    async () => expect((await footer({ size: 1000 })).readBigUInt64BE(48)).to.equal(34816n),
  ],
  'BlockdevCreateOptionsVpc.force-size': [
    'makes it the length of the disk, in whole sectors, and the geometry the largest',
    async () => {
      const bytes = await footer({ size: 1000, 'force-size': true });
      expect([bytes.readBigUInt64BE(48), bytes.toString('hex', 56, 60)]).to.deep.equal([1024n, 'ffff10ff']);
    },
  ],
  'BlockdevCreateOptionsVpc.subformat': [
    'is the kind in the footer',
    async () => {
      expect((await footer({ subformat: 'dynamic' })).readUInt32BE(60)).to.equal(3);
      expect((await footer({ subformat: 'fixed' })).readUInt32BE(60)).to.equal(2);
    },
  ],
  'BlockdevOptionsVpc.file': [
    'is the node with the image',
    async () => {
      const node = await opened(await bench({ 'force-size': true }), { driver: 'vpc', file: file() });
      expect(node.length).to.equal(SIZE);
    },
  ],
  'BlockdevOptionsVpc.backing': [
    'is the parent of a differencing image, in place of the one that it names, and refused for others',
    async () => {
      const image = await bench();
      const backing = { driver: 'null-co', size: SIZE };
      await refusedOpen(image, { driver: 'vpc', file: file(), backing }, /Driver doesn't support backing files/);
      const difference = { size: SIZE, blockBytes: 4096, parentUuid: '', sectors: new Map([[1, 7]]) };
      image.host.writeFile(PATH, encodeDifference(difference));
      const node = await opened(image, { driver: 'vpc', file: file(), backing, 'read-only': true });
      expect(node.children.get('backing')!.node.driver).to.equal('null-co');
    },
  ],
  'BlockdevOptionsVpc.force_size_calc': [
    'says what the size follows from, or is refused',
    async () => {
      const image = await bench();
      // The geometry is rounded up; the current size is made another one here.
      const bytes = Buffer.from(image.host.readFile(PATH));
      for (const at of [0, bytes.length - 512]) {
        bytes.writeBigUInt64BE(BigInt(SIZE), at + 48);
        bytes.writeUInt32BE(0, at + 64);
        const sum = bytes.subarray(at, at + 512).reduce((all, byte) => all + byte, 0);
        bytes.writeUInt32BE(~sum >>> 0, at + 64);
      }
      image.host.writeFile(PATH, bytes);
      const lengthBy = async (own: object): Promise<number> => {
        const node = await opened(image, { driver: 'vpc', file: file(), ...own }, { readOnly: true });
        const { length } = node;
        await image.graph.closeAll();
        return length;
      };
      const byGeometry = Math.ceil(SIZE / (4 * 17 * 512)) * 4 * 17 * 512;
      expect(await lengthBy({})).to.equal(byGeometry);
      expect(await lengthBy({ force_size_calc: 'chs' })).to.equal(byGeometry);
      expect(await lengthBy({ force_size_calc: 'current_size' })).to.equal(SIZE);
      await refusedOpen(
        image,
        { driver: 'vpc', file: file(), force_size_calc: 'x' },
        /Invalid size calculation mode: 'x'/,
      );
    },
  ],
};
