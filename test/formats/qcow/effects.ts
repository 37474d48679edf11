// What the options for making and opening a qcow image do: the header that they lead to, and the content.

import { expect } from 'chai';
import { type Bench, makeBench, readNode } from '../../drivers/support.js';
import {
  created,
  type Effects,
  file,
  opened,
  PATH,
  refusedCreate,
  refusedOpen,
  SIZE,
} from '../../schema/effects/kit.js';

const qcow = (own: object = {}): object => ({ driver: 'qcow', file: file(), ...own });
const encrypt = (id: string): object => ({ encrypt: { format: 'qcow', 'key-secret': id } });

async function bench(): Promise<Bench> {
  const made = makeBench();
  for (const id of ['a', 'b']) await made.graph.objects.add({ 'qom-type': 'secret', id, data: `password ${id}` });
  await created(made, { driver: 'file', filename: PATH, size: 0 });
  return made;
}

async function made(own: object = {}): Promise<Bench> {
  const on = await bench();
  await created(on, qcow({ size: SIZE, ...own }));
  return on;
}

async function headOf(own: object = {}): Promise<Buffer> {
  return Buffer.from((await made(own)).host.readFile(PATH, 0, 512));
}

const refused = async (own: object, message: RegExp): Promise<void> =>
  refusedCreate(await bench(), qcow({ size: SIZE, ...own }), message);

/** What an encrypted image that was written with the password `a` reads as with another secret. */
async function readWith(id: string): Promise<number> {
  const on = await made(encrypt('a'));
  const writer = await opened(on, qcow({ encrypt: { format: 'aes', 'key-secret': 'a' } }));
  await writer.write(0, new Uint8Array(512).fill(7));
  await on.graph.closeAll();
  const content = Buffer.alloc(512);
  await readNode(await opened(on, qcow({ encrypt: { format: 'aes', 'key-secret': id } })), 0, content);
  await on.graph.closeAll();
  return content.filter((byte) => byte === 7).length;
}

export const QCOW_EFFECTS: Effects = {
  'BlockdevOptionsQcow.file': [
    'is the node that is read',
    async () => expect((await opened(await made(), qcow())).length).to.equal(SIZE),
  ],
  'BlockdevOptionsQcow.backing': [
    'is read where the image has nothing',
    async () => {
      const backing = { driver: 'null-co', size: SIZE, 'read-zeroes': true };
      const node = await opened(await made(), qcow({ backing }));
      expect(node.children.get('backing')?.node.driver).to.equal('null-co');
    },
  ],
  'BlockdevCreateOptionsQcow.file': [
    'is the node that is written',
    async () => expect((await headOf()).toString('latin1', 0, 8)).to.equal('QFI\xfb\0\0\0\x01'),
  ],
  'BlockdevCreateOptionsQcow.size': [
    'is the length of the disk, in whole sectors, at least one',
    async () => {
      expect((await headOf({ size: 1000 })).readBigUInt64BE(24)).to.equal(1024n);
      await refused({ size: 0 }, /Image size is too small, cannot be zero length/);
      await refused({ size: 2 ** 49 }, /Image too large/);
    },
  ],
  'BlockdevCreateOptionsQcow.backing-file': [
    'stands in the header, and makes the clusters small',
    async () => {
      const head = await headOf({ 'backing-file': 'below' });
      const [offset, length] = [Number(head.readBigUInt64BE(8)), head.readUInt32BE(16)];
      expect(head.toString('latin1', offset, offset + length)).to.equal('below');
      expect([head[32], head[33]]).to.deep.equal([9, 12]);
      expect([...(await headOf()).subarray(32, 34)]).to.deep.equal([12, 9]);
      await refused({ 'backing-file': 'b'.repeat(1024) }, /Backing file name too long/);
    },
  ],
  'BlockdevCreateOptionsQcow.backing-fmt': [
    'stands nowhere in the image',
    async () => {
      const named = { 'backing-file': 'below' };
      expect(await headOf({ ...named, 'backing-fmt': 'raw' })).to.deep.equal(await headOf(named));
    },
  ],
  'BlockdevCreateOptionsQcow.encrypt': [
    'makes an encrypted image, of the format that there is',
    async () => {
      expect((await headOf(encrypt('a'))).readUInt32BE(36)).to.equal(1);
      expect((await headOf()).readUInt32BE(36)).to.equal(0);
      await refused(encrypt('c'), /No secret with id 'c'/);
      await refused({ encrypt: { format: 'luks', 'key-secret': 'a' } }, /Unsupported encryption format/);
    },
  ],
  'BlockdevOptionsQcow.encrypt': [
    'is the password of the content, of an image that is encrypted',
    async () => {
      expect(await readWith('a')).to.equal(512);
      expect(await readWith('b')).to.be.below(20);
      const plain = qcow({ encrypt: { format: 'aes', 'key-secret': 'a' } });
      await refusedOpen(await made(), plain, /No encryption in image header, but options specified format 'aes'/);
      await refusedOpen(await made(encrypt('a')), qcow(), /Parameter 'encrypt\.key-secret' is required for cipher/);
    },
  ],
  'BlockdevQcowEncryption.format': [
    'is the one that there is',
    async () => {
      const other = qcow({ encrypt: { format: 'luks', 'key-secret': 'a' } });
      expect(() => opened(makeBench(), other)).to.throw(/does not accept value 'luks'/);
    },
  ],
};
