// What the options for making a VMDK image do: the descriptor, and the header that they lead to.

import { expect } from 'chai';
import { type Bench, makeBench } from '../../drivers/support.js';
import { created, type Effects, file, opened, PATH, refusedCreate, SIZE, withFile } from '../../schema/effects/kit.js';

const EXTENT = '/image-flat';

async function made(own: object = {}): Promise<{ head: DataView; text: string }> {
  const bench = makeBench();
  for (const filename of [PATH, EXTENT]) await created(bench, { driver: 'file', filename, size: 0 });
  await created(bench, { driver: 'vmdk', file: file(), size: SIZE, ...own });
  const bytes = bench.host.readFile(PATH);
  return {
    head: new DataView(bytes.buffer, bytes.byteOffset),
    text: Buffer.from(bytes.subarray(0, 4096)).toString('latin1'),
  };
}

const says = async (own: object, words: string): Promise<void> => {
  expect((await made(own)).text).to.contain(words);
};

/** A base with a content of ones, and an overlay. */
async function chain(): Promise<Bench> {
  const bench = makeBench();
  const base = { driver: 'file', filename: '/base' };
  await created(bench, { ...base, size: 0 });
  await created(bench, { driver: 'vmdk', file: base, size: SIZE });
  const node = await opened(bench, { driver: 'vmdk', file: base });
  await node.write(0, new Uint8Array(512).fill(1));
  await bench.graph.closeAll();
  await created(bench, { driver: 'file', filename: PATH, size: 0 });
  await created(bench, { driver: 'vmdk', file: file(), size: SIZE, 'backing-file': 'base' });
  return bench;
}

async function firstByte(bench: Bench, own: object): Promise<number> {
  const byte = new Uint8Array(1);
  const node = await opened(bench, { driver: 'vmdk', file: file(), ...own });
  await node.read(0, byte);
  return byte[0];
}

export const VMDK_EFFECTS: Effects = {
  'BlockdevOptionsGenericCOWFormat.file': [
    'is what the image lies in',
    async () => expect(await firstByte(await chain(), {})).to.equal(1),
  ],
  'BlockdevOptionsGenericCOWFormat.backing': [
    'is what lies below, or that nothing does',
    async () => {
      expect(await firstByte(await chain(), { backing: null })).to.equal(0);
      const bench = await chain();
      bench.host.writeFile('/other', new Uint8Array(SIZE).fill(5));
      const other = { driver: 'raw', file: { driver: 'file', filename: '/other' } };
      expect(await firstByte(bench, { backing: other })).to.equal(5);
    },
  ],
  'BlockdevCreateOptionsVmdk.file': ['is the node that is written', () => says({}, 'KDMV')],
  'BlockdevCreateOptionsVmdk.size': [
    'is the length of the disk, in whole sectors',
    async () => expect((await made({ size: 1000 })).head.getBigUint64(12, true)).to.equal(2n),
  ],
  'BlockdevCreateOptionsVmdk.subformat': [
    'is how the image is stored',
    async () => {
      const extents = [{ driver: 'file', filename: EXTENT }];
      await says({ subformat: 'monolithicFlat', extents }, 'RW 2048 FLAT "image-flat" 0');
      await says({ subformat: 'monolithicSparse' }, 'createType="monolithicSparse"');
    },
  ],
  'BlockdevCreateOptionsVmdk.extents': [
    'are the nodes beside the descriptor, as many as are needed',
    async () => {
      const options = { driver: 'vmdk', file: file(), size: SIZE, subformat: 'twoGbMaxExtentSparse' };
      await refusedCreate(withFile(), options, /Extent \[0\] not specified/);
      await says({ ...options, extents: [{ driver: 'file', filename: EXTENT }] }, 'RW 2048 SPARSE "image-flat"');
    },
  ],
  'BlockdevCreateOptionsVmdk.backing-file': [
    'is named in the descriptor, with its content ID',
    async () => {
      const bench = makeBench();
      await created(bench, { driver: 'file', filename: '/base', size: 0 });
      await created(bench, { driver: 'vmdk', file: { driver: 'file', filename: '/base' }, size: SIZE });
      await created(bench, { driver: 'file', filename: PATH, size: 0 });
      await created(bench, { driver: 'vmdk', file: file(), size: SIZE, 'backing-file': 'base' });
      const text = (path: string): string => Buffer.from(bench.host.readFile(path, 0, 4096)).toString('latin1');
      expect(text(PATH)).to.contain('parentFileNameHint="base"');
      expect(/parentCID=(\w+)/.exec(text(PATH))![1]).to.equal(/CID=(\w+)/.exec(text('/base'))![1]);
    },
  ],
  'BlockdevCreateOptionsVmdk.backing-fmt': [
    'is vmdk, or refused',
    () =>
      refusedCreate(
        withFile(),
        { driver: 'vmdk', file: file(), size: SIZE, 'backing-file': 'base', 'backing-fmt': 'raw' },
        /backing_file must be a vmdk image/,
      ),
  ],
  'BlockdevCreateOptionsVmdk.adapter-type': [
    'is in the descriptor, and decides the geometry',
    async () => {
      await says({}, 'ddb.geometry.heads = "16"');
      await says({ 'adapter-type': 'lsilogic' }, 'ddb.geometry.heads = "255"');
      await says({ 'adapter-type': 'buslogic' }, 'ddb.adapterType = "buslogic"');
    },
  ],
  'BlockdevCreateOptionsVmdk.hwversion': [
    'is in the descriptor',
    () => says({ hwversion: '9' }, 'ddb.virtualHWVersion = "9"'),
  ],
  'BlockdevCreateOptionsVmdk.toolsversion': [
    'is in the descriptor',
    () => says({ toolsversion: '12' }, 'ddb.toolsVersion = "12"'),
  ],
  'BlockdevCreateOptionsVmdk.zeroed-grain': [
    'is a flag of the header, of version 2',
    async () => {
      const { head } = await made({ 'zeroed-grain': true });
      expect([head.getUint32(4, true), head.getUint32(8, true) & 4]).to.deep.equal([2, 4]);
    },
  ],
};
