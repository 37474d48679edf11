// What the options for making a VDI image do: the header that they lead to.

import { expect } from 'chai';
import { type Bench, makeBench } from '../../drivers/support.js';
import { created, type Effects, file, PATH, refusedCreate, SIZE, withFile } from '../../schema/effects/kit.js';

async function made(own: object = {}): Promise<DataView> {
  const bench: Bench = makeBench();
  await created(bench, { driver: 'file', filename: PATH, size: 0 });
  await created(bench, { driver: 'vdi', file: file(), size: SIZE, ...own });
  const head = bench.host.readFile(PATH, 0, 512);
  return new DataView(head.buffer, head.byteOffset);
}

export const VDI_EFFECTS: Effects = {
  'BlockdevCreateOptionsVdi.file': [
    'is the node that is written',
    async () => expect((await made()).getUint32(0x40, true)).to.equal(0xbeda107f),
  ],
  'BlockdevCreateOptionsVdi.size': [
    'is the length of the disk, in whole sectors',
    async () => expect((await made({ size: 1000 })).getBigUint64(0x170, true)).to.equal(1024n),
  ],
  'BlockdevCreateOptionsVdi.preallocation': [
    'gives each block its place, or is refused',
    async () => {
      const kindAndCount = async (preallocation: string) => {
        const head = await made({ preallocation });
        return [head.getUint32(0x4c, true), head.getUint32(0x184, true)];
      };
      expect(await kindAndCount('off')).to.deep.equal([1, 0]);
      expect(await kindAndCount('metadata')).to.deep.equal([2, Math.ceil(SIZE / (1 << 20))]);
      const options = { driver: 'vdi', file: file(), size: SIZE, preallocation: 'full' };
      await refusedCreate(withFile(), options, /Preallocation mode 'full' is not supported/);
    },
  ],
};
