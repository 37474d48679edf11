// What the options for making a QED image do: the header that they lead to.

import { expect } from 'chai';
import { type Bench, makeBench } from '../../drivers/support.js';
import { created, type Effects, file, PATH, refusedCreate, SIZE, withFile } from '../../schema/effects/kit.js';

async function made(own: object = {}): Promise<{ head: DataView; bytes: Buffer }> {
  const bench: Bench = makeBench();
  await created(bench, { driver: 'file', filename: PATH, size: 0 });
  await created(bench, { driver: 'qed', file: file(), size: SIZE, ...own });
  const bytes = Buffer.from(bench.host.readFile(PATH, 0, 512));
  return { bytes, head: new DataView(bytes.buffer, bytes.byteOffset) };
}

const refused = (own: object, message: RegExp): Promise<void> =>
  refusedCreate(withFile(), { driver: 'qed', file: file(), size: SIZE, ...own }, message);

export const QED_EFFECTS: Effects = {
  'BlockdevCreateOptionsQed.file': [
    'is the node that is written',
    async () => expect((await made()).bytes.toString('latin1', 0, 4)).to.equal('QED\0'),
  ],
  'BlockdevCreateOptionsQed.size': [
    'is the length of the disk, in whole sectors, as far as the tables reach',
    async () => {
      expect((await made({ size: 1000 })).head.getBigUint64(48, true)).to.equal(1024n);
      const own = { size: 2 ** 30 + 512, 'cluster-size': 4096, 'table-size': 1 };
      await refused(own, /image size must be a non-zero multiple of cluster size and less than 1073741824 bytes/);
    },
  ],
  'BlockdevCreateOptionsQed.backing-file': [
    'stands in the header',
    async () => {
      const { head, bytes } = await made({ 'backing-file': 'below' });
      const [offset, length] = [head.getUint32(56, true), head.getUint32(60, true)];
      expect(bytes.toString('latin1', offset, offset + length)).to.equal('below');
      expect(head.getUint32(16, true)).to.equal(1);
    },
  ],
  'BlockdevCreateOptionsQed.backing-fmt': [
    'is remembered where it is raw',
    async () => {
      const features = async (format: string) =>
        (await made({ 'backing-file': 'below', 'backing-fmt': format })).head.getUint32(16, true);
      expect([await features('raw'), await features('qcow2')]).to.deep.equal([5, 1]);
    },
  ],
  'BlockdevCreateOptionsQed.cluster-size': [
    'is that of a cluster, or is refused',
    async () => {
      expect((await made({ 'cluster-size': 8192 })).head.getUint32(4, true)).to.equal(8192);
      const message = /QED cluster size must be within range \[4096, 67108864\] and power of 2/;
      for (const size of [0, 2048, 5000, 2 ** 27]) await refused({ 'cluster-size': size }, message);
    },
  ],
  'BlockdevCreateOptionsQed.table-size': [
    'is that of a table, or is refused',
    async () => {
      expect((await made({ 'table-size': 2 })).head.getUint32(8, true)).to.equal(2);
      const message = /QED table size must be within range \[1, 16\] and power of 2/;
      for (const size of [0, 3, 32, -1]) await refused({ 'table-size': size }, message);
    },
  ],
};
