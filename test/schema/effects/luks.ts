// What the options of encryption do: the header that they lead to, and who can read what is behind it.

import { expect } from 'chai';
import { type Bench, makeBench, readNode } from '../../drivers/support.js';
import {
  another,
  created,
  createdQcow2,
  type Effects,
  file,
  opened,
  PATH,
  qcow2,
  refusedCreate,
  refusedOpen,
  SIZE,
} from './kit.js';

const KIB = 1024;
const FAST = { 'iter-time': 1 };

async function withSecrets(bench: Bench): Promise<Bench> {
  for (const id of ['a', 'b']) await bench.graph.objects.add({ 'qom-type': 'secret', id, data: `password ${id}` });
  return bench;
}

async function madeLuks(own: object = {}): Promise<Bench> {
  const bench = await withSecrets(makeBench());
  await created(bench, { driver: 'file', filename: PATH, size: 0 });
  await created(bench, { driver: 'luks', file: file(), size: 64 * KIB, 'key-secret': 'a', ...FAST, ...own });
  return bench;
}

const luks = (own: object = {}): object => ({ driver: 'luks', file: file(), 'key-secret': 'a', ...own });

/** What the header says, and a proof that the image reads what is written to it. */
async function said(own: object): Promise<Record<string, unknown>> {
  const bench = await madeLuks(own);
  const node = await opened(bench, luks());
  await node.write(0, new Uint8Array(KIB).fill(7));
  await bench.graph.closeAll();
  const again = await opened(await withSecrets(another(bench)), luks());
  const content = new Uint8Array(KIB);
  await readNode(again, 0, content);
  expect(content.every((byte) => byte === 7)).to.equal(true);
  return again.abilities.details!().specific!.data as unknown as Record<string, unknown>;
}

const HEADER = { driver: 'file', filename: '/header' };

/** A disk whose header is detached; `parts`: which nodes it is made of. */
async function madeDetached(parts: object): Promise<Bench> {
  const bench = await withSecrets(makeBench());
  for (const filename of [PATH, HEADER.filename]) await created(bench, { driver: 'file', filename, size: 0 });
  await created(bench, { driver: 'luks', size: 64 * KIB, 'key-secret': 'a', ...FAST, ...parts });
  return bench;
}

const says = (own: object, name: string, value: unknown) => async () => expect((await said(own))[name]).to.equal(value);

/** A qcow2 image that was made with the options, which reads what is written to it. Gives what it says of its encryption. */
async function saidOfQcow2(encrypt: object, open: 'luks' | 'aes' = 'luks'): Promise<Record<string, unknown>> {
  const bench = await withSecrets(makeBench());
  await created(bench, { driver: 'file', filename: PATH, size: 0 });
  await created(bench, { driver: 'qcow2', file: file(), size: SIZE, encrypt });
  const node = await opened(bench, qcow2({ encrypt: { format: open, 'key-secret': 'a' } }));
  await node.write(0, new Uint8Array(KIB).fill(7));
  const content = new Uint8Array(KIB);
  await readNode(node, 0, content);
  expect(content.every((byte) => byte === 7)).to.equal(true);
  const specific = node.abilities.details!().specific!;
  return (specific.type === 'qcow2' ? specific.data.encrypt : {}) as unknown as Record<string, unknown>;
}

const LUKS = { format: 'luks', 'key-secret': 'a', ...FAST };

/** As `says`, of a qcow2 image. */
function saysInQcow2(own: object, name: string, value: unknown): Effects[string] {
  return [
    'does so in a qcow2 image',
    async () => expect((await saidOfQcow2({ ...LUKS, ...own }))[name]).to.equal(value),
  ];
}

export const luksEffects: Effects = {
  'BlockdevOptionsQcow2.encrypt': [
    'opens the image, or says that it is not encrypted',
    async () => {
      await saidOfQcow2(LUKS);
      const plain = await withSecrets(makeBench());
      await createdQcow2(plain);
      await refusedOpen(plain, qcow2({ encrypt: { format: 'luks' } }), /No encryption in image header/);
    },
  ],
  'BlockdevQcow2Encryption.format': [
    'must be what the image says',
    async () => {
      const bench = await withSecrets(makeBench());
      await createdQcow2(bench, { encrypt: { format: 'qcow', 'key-secret': 'a' } });
      const wrong = qcow2({ encrypt: { format: 'luks', 'key-secret': 'a' } });
      await refusedOpen(bench, wrong, /Header reported 'aes' encryption format but options specify 'luks'/);
    },
  ],
  'QCryptoBlockOptionsLUKS.key-secret': ['is the password', async () => void (await saidOfQcow2(LUKS))],
  'QCryptoBlockOptionsQCow.key-secret': [
    'is the password',
    async () => void (await saidOfQcow2({ format: 'qcow', 'key-secret': 'a' }, 'aes')),
  ],
  'BlockdevCreateOptionsQcow2.encrypt': saysInQcow2({}, 'format', 'luks'),
  'QCryptoBlockCreateOptions.format': [
    'is the format',
    async () =>
      expect(await saidOfQcow2({ format: 'qcow', 'key-secret': 'a' }, 'aes')).to.deep.equal({ format: 'aes' }),
  ],
  'QCryptoBlockCreateOptionsLUKS.key-secret': ['is the password', async () => void (await saidOfQcow2(LUKS))],
  'QCryptoBlockCreateOptionsLUKS.cipher-alg': saysInQcow2({ 'cipher-alg': 'aes-192' }, 'cipher-alg', 'aes-192'),
  'QCryptoBlockCreateOptionsLUKS.cipher-mode': saysInQcow2({ 'cipher-mode': 'cbc' }, 'cipher-mode', 'cbc'),
  'QCryptoBlockCreateOptionsLUKS.ivgen-alg': saysInQcow2({ 'ivgen-alg': 'plain' }, 'ivgen-alg', 'plain'),
  'QCryptoBlockCreateOptionsLUKS.ivgen-hash-alg': saysInQcow2(
    { 'ivgen-alg': 'essiv', 'ivgen-hash-alg': 'md5' },
    'ivgen-hash-alg',
    'md5',
  ),
  'QCryptoBlockCreateOptionsLUKS.hash-alg': saysInQcow2({ 'hash-alg': 'sha1' }, 'hash-alg', 'sha1'),
  'QCryptoBlockCreateOptionsLUKS.iter-time': [
    'is the time of a password',
    async () => {
      const { slots } = (await saidOfQcow2({ ...LUKS, 'iter-time': 50 })) as { slots: { iters: number }[] };
      expect(slots[0].iters).to.equal(5000);
    },
  ],
  'BlockdevOptionsLUKS.file': [
    'is the file',
    async () => expect((await opened(await madeLuks(), luks())).length).to.equal(64 * KIB),
  ],
  'BlockdevOptionsLUKS.header': [
    'has the header and the key material, and the disk is all of the file',
    async () => {
      const bench = await madeDetached({ file: file(), header: HEADER });
      await refusedOpen(bench, luks(), /Volume is not in LUKS format/);
      expect((await opened(bench, luks({ header: HEADER }))).length).to.equal(64 * KIB);
      expect(bench.host.readFile(PATH).length).to.equal(64 * KIB);
    },
  ],
  'BlockdevOptionsLUKS.key-secret': [
    'opens the image, or does not',
    async () => {
      const bench = await madeLuks();
      await refusedOpen(bench, luks({ 'key-secret': 'b' }), /Invalid password/);
      await refusedOpen(bench, luks({ 'key-secret': 'c' }), /No secret with id 'c'/);
      await opened(bench, luks());
    },
  ],
  'BlockdevCreateOptionsLUKS.file': ['is the file', async () => void (await madeLuks())],
  'BlockdevCreateOptionsLUKS.header': [
    'gets the header, also where no disk is made',
    async () => {
      const bench = await madeDetached({ header: HEADER, size: 0 });
      expect(bench.host.readFile(PATH).length).to.equal(0);
      expect((await opened(bench, luks({ header: HEADER }))).length).to.equal(0);
    },
  ],
  'BlockdevCreateOptionsLUKS.detached-header': [
    'makes the file a header without a disk',
    async () => {
      const bench = await madeDetached({ file: HEADER, size: 0, 'detached-header': true });
      expect((await opened(bench, luks({ header: HEADER }))).length).to.equal(0);
      await bench.graph.closeAll();
      const sized = { driver: 'luks', file: HEADER, size: 512, 'key-secret': 'a', 'detached-header': true };
      await refusedCreate(bench, sized, /no disk is made that could have a size/);
    },
  ],
  'BlockdevCreateOptionsLUKS.size': [
    'is the size of the disk, rounded up to whole sectors',
    async () => expect((await opened(await madeLuks({ size: 1000 }), luks())).length).to.equal(1024),
  ],
  'BlockdevCreateOptionsLUKS.preallocation': [
    'takes the space',
    async () => {
      expect((await madeLuks({ size: SIZE, preallocation: 'off' })).host.used).to.be.lessThan(SIZE);
      expect((await madeLuks({ size: SIZE, preallocation: 'falloc' })).host.used).to.be.at.least(SIZE);
      expect((await madeLuks({ size: SIZE, preallocation: 'full' })).host.used).to.be.at.least(SIZE);
      const bench = await madeLuks();
      const options = { driver: 'luks', file: file(), size: SIZE, 'key-secret': 'a', preallocation: 'metadata' };
      await refusedCreate(bench, options, /Unsupported preallocation mode/);
    },
  ],
  'BlockdevCreateOptionsLUKS.key-secret': [
    'is the password from then on',
    async () => {
      const bench = await madeLuks({ 'key-secret': 'b' });
      await refusedOpen(bench, luks(), /Invalid password/);
      await opened(bench, luks({ 'key-secret': 'b' }));
    },
  ],
  'BlockdevCreateOptionsLUKS.cipher-alg': ['is the cipher', says({ 'cipher-alg': 'aes-192' }, 'cipher-alg', 'aes-192')],
  'BlockdevCreateOptionsLUKS.cipher-mode': ['is its mode', says({ 'cipher-mode': 'cbc' }, 'cipher-mode', 'cbc')],
  'BlockdevCreateOptionsLUKS.ivgen-alg': ['makes the vectors', says({ 'ivgen-alg': 'plain' }, 'ivgen-alg', 'plain')],
  'BlockdevCreateOptionsLUKS.ivgen-hash-alg': [
    'is the digest of essiv',
    says({ 'ivgen-alg': 'essiv', 'ivgen-hash-alg': 'md5' }, 'ivgen-hash-alg', 'md5'),
  ],
  'BlockdevCreateOptionsLUKS.hash-alg': ['is the digest', says({ 'hash-alg': 'sha1' }, 'hash-alg', 'sha1')],
  'BlockdevCreateOptionsLUKS.iter-time': [
    'is the time of a password: on the simulated host, a hundred thousand iterations a second',
    async () => {
      const { slots } = (await said({ 'iter-time': 50 })) as { slots: { iters: number }[] };
      expect(slots[0].iters).to.equal(5000);
    },
  ],
};
