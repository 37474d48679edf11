// What the options for making a cow image do: the header that they lead to.

import { expect } from 'chai';
import { type Bench, makeBench } from '../../drivers/support.js';
import { created, type Effects, file, PATH, refusedCreate, SIZE, withFile } from '../../schema/effects/kit.js';

async function made(own: object = {}): Promise<Buffer> {
  const bench: Bench = makeBench();
  bench.host.writeFile('/below', Buffer.alloc(SIZE));
  await created(bench, { driver: 'file', filename: PATH, size: 0 });
  await created(bench, { driver: 'cow', file: file(), size: SIZE, ...own });
  return Buffer.from(bench.host.readFile(PATH, 0, 4096));
}

export const COW_EFFECTS: Effects = {
  'BlockdevCreateOptionsCow.file': [
    'is the node that is written',
    async () => expect((await made()).toString('latin1', 0, 8)).to.equal('OOOM\0\0\0\x03'),
  ],
  'BlockdevCreateOptionsCow.size': [
    'is the length of the disk, in whole sectors',
    async () => expect((await made({ size: 1000 })).readBigUInt64BE(12)).to.equal(1024n),
  ],
  'BlockdevCreateOptionsCow.backing-file': [
    'stands in the header',
    async () => {
      const head = await made({ 'backing-file': '/below' });
      expect(head.toString('latin1', 32, 39)).to.equal('/below\0');
    },
  ],
  'BlockdevCreateOptionsCow.backing-fmt': [
    'is raw, or refused',
    async () => {
      const own = { driver: 'cow', file: file(), size: SIZE, 'backing-file': '/below', 'backing-fmt': 'qcow2' };
      await refusedCreate(withFile(), own, /must be raw/);
      expect((await made({ 'backing-file': '/below', 'backing-fmt': 'raw' })).readUInt32BE(20)).to.equal(512);
    },
  ],
};
