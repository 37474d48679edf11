// What the options for making a Parallels image do: the header that they lead to.

import { expect } from 'chai';
import { makeBench } from '../../drivers/support.js';
import { created, type Effects, file, PATH, refusedCreate, SIZE, withFile } from '../../schema/effects/kit.js';

async function made(own: object = {}): Promise<Buffer> {
  const bench = makeBench();
  await created(bench, { driver: 'file', filename: PATH, size: 0 });
  await created(bench, { driver: 'parallels', file: file(), size: SIZE, ...own });
  return Buffer.from(bench.host.readFile(PATH, 0, 64));
}

export const PARALLELS_EFFECTS: Effects = {
  'BlockdevCreateOptionsParallels.file': [
    'is the node that is written',
    async () => expect((await made()).toString('latin1', 0, 16)).to.equal('WithouFreSpacExt'),
  ],
  'BlockdevCreateOptionsParallels.size': [
    'is the length of the disk, in whole sectors',
    async () => expect((await made({ size: 1000 })).readBigUInt64LE(36)).to.equal(2n),
  ],
  'BlockdevCreateOptionsParallels.cluster-size': [
    'is the size of a cluster, in whole sectors, or is refused',
    async () => {
      const of = async (own: object) => {
        const head = await made(own);
        return [head.readUInt32LE(28), head.readUInt32LE(32)];
      };
      expect(await of({})).to.deep.equal([2048, SIZE >> 20]);
      expect(await of({ 'cluster-size': 65536 })).to.deep.equal([128, SIZE >> 16]);
      expect(await of({ 'cluster-size': 1000 })).to.deep.equal([2, SIZE >> 10]);
      const options = { driver: 'parallels', file: file(), size: SIZE, 'cluster-size': 2 ** 31 };
      await refusedCreate(withFile(), options, /Cluster size is too large/);
    },
  ],
};
