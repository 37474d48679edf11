// The ciphers, against published vectors and against node's own crypto.
import { pbkdf2Sync } from 'node:crypto';
import { expect } from 'chai';
import type { CipherMode, HashName, VectorMaker } from '../../src/host/cipher.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { failure, overEngines, pattern } from './engines.js';
import { hex, optionsOf, SECTOR, sectorBy, XTS } from './sectors.js';

const DERIVED: [HashName, string, string, number, string][] = [
  ['sha1', 'password', 'salt', 4096, '4b007901b765489abead49d926f721d065a429c1'],
  [
    'sha1',
    'passwordPASSWORDpassword',
    'saltSALTsaltSALTsaltSALTsaltSALTsalt',
    4096,
    '3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038',
  ],
  ['sha256', 'password', 'salt', 4096, 'c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a'],
];

const KINDS: [CipherMode, VectorMaker][] = [
  ['ecb', 'none'],
  ['cbc', 'plain'],
  ['cbc', 'plain64'],
  ['cbc', 'essiv'],
  ['xts', 'plain'],
  ['xts', 'plain64'],
  ['xts', 'essiv'],
  ['ctr', 'plain64'],
];

overEngines('ciphers', (bench) => {
  for (const [key, number, first, last] of XTS) {
    it(`XTS of IEEE 1619 with a key of ${key.length / 2} bytes`, async () => {
      const plain = Uint8Array.from({ length: SECTOR }, (_, i) => i & 255);
      const out = Buffer.alloc(SECTOR);
      const cipher = bench.host.ciphers.open({ mode: 'xts', vectors: 'plain64', key: hex(key) });
      await cipher.encrypt(number, plain, out);
      expect(out.toString('hex', 0, 16)).to.equal(first);
      expect(out.toString('hex', SECTOR - 16)).to.equal(last);
      cipher.close();
    });
  }

  for (const [mode, vectors] of KINDS) {
    it(`${mode}, ${vectors}: as node encrypts, for every key length, from inline sizes to those of workers`, async () => {
      for (const bytes of [16, 24, 32]) {
        const options = optionsOf(mode, vectors, bytes);
        const cipher = bench.host.ciphers.open(options);
        for (const [sectors, first] of [
          [1, 0],
          [8, 2 ** 32 - 3],
          [33, 77],
          [150, 2 ** 40],
        ]) {
          const plain = pattern(sectors * SECTOR, first % 251);
          const expected = Buffer.concat(
            Array.from({ length: sectors }, (_, i) =>
              sectorBy(options, first + i, plain.subarray(i * SECTOR, (i + 1) * SECTOR)),
            ),
          );
          const { memory } = bench.host;
          const input = memory.allocate(plain.length);
          const output = memory.allocate(plain.length);
          input.set(plain);
          await cipher.encrypt(first, input, output);
          expect(expected.equals(output), `${bytes} bytes, ${sectors} sectors`).to.equal(true);
          expect(plain.equals(input), 'the input stays').to.equal(true);
          await cipher.decrypt(first, output, output);
          expect(plain.equals(output), 'in place').to.equal(true);
          const outside = Buffer.from(plain);
          await cipher.encrypt(first, outside, outside);
          expect(expected.equals(outside), 'outside of the arena').to.equal(true);
          memory.free(input);
          memory.free(output);
        }
        cipher.close();
      }
    });
  }

  it('many requests at the same time, of one cipher', async () => {
    const options = optionsOf('xts', 'plain64', 32);
    const cipher = bench.host.ciphers.open(options);
    const parts = Array.from({ length: 40 }, (_, i) => pattern(SECTOR * (1 + (i % 7) * 20), i));
    const out = parts.map(({ length }) => Buffer.alloc(length));
    await Promise.all(parts.map((part, i) => cipher.encrypt(i * 1000, part, out[i])));
    for (const [i, part] of parts.entries()) {
      const last = part.length / SECTOR - 1;
      expect(
        sectorBy(options, i * 1000 + last, part.subarray(last * SECTOR)).equals(out[i].subarray(last * SECTOR)),
      ).to.equal(true);
    }
    cipher.close();
  });

  for (const [hash, password, salt, iterations, expected] of DERIVED) {
    it(`PBKDF2 with ${hash}, ${expected.length / 2} bytes: as published`, async () => {
      const key = Buffer.alloc(expected.length / 2);
      const tookMs = await bench.host.ciphers.derive(hash, Buffer.from(password), Buffer.from(salt), iterations, key);
      expect(key.toString('hex')).to.equal(expected);
      expect(tookMs).to.be.greaterThan(0);
    });
  }

  for (const hash of ['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const) {
    it(`PBKDF2 with ${hash}: as node derives, whatever the lengths`, async () => {
      for (const [passwordBytes, saltBytes, keyBytes, iterations] of [
        [0, 32, 64, 1],
        [1, 1, 1, 2],
        [63, 32, 20, 1000],
        [200, 100, 150, 17],
      ]) {
        const password = pattern(passwordBytes, 1);
        const salt = pattern(saltBytes, 2);
        const key = Buffer.alloc(keyBytes);
        await bench.host.ciphers.derive(hash, password, salt, iterations, key);
        expect(key.equals(pbkdf2Sync(password, salt, iterations, keyBytes, hash)), `${keyBytes} bytes`).to.equal(true);
      }
    });
  }

  it('refuses keys that AES does not have, and parts of sectors', async () => {
    const { ciphers } = bench.host;
    for (const length of [0, 8, 31, 33]) {
      expect(() => ciphers.open({ mode: 'cbc', vectors: 'plain', key: new Uint8Array(length) })).to.throw(
        /no keys of this length/,
      );
    }
    expect(() => ciphers.open({ mode: 'xts', vectors: 'plain', key: new Uint8Array(16) })).to.throw(/no keys/);
    const cipher = ciphers.open({ mode: 'cbc', vectors: 'plain', key: new Uint8Array(16) });
    const piece = new Uint8Array(100);
    expect((await failure(cipher.encrypt(0, piece, piece))).code).to.equal('invalid-argument');
    cipher.close();
    cipher.close();
    expect((await failure(cipher.encrypt(0, new Uint8Array(SECTOR), new Uint8Array(SECTOR)))).code).to.equal('closed');
  });

  it('a secret is zeroed when it is forgotten, once', () => {
    const { ciphers } = bench.host;
    const secret = ciphers.secret(100);
    expect(secret.every((byte) => byte === 0)).to.equal(true);
    secret.fill(7);
    ciphers.forget(secret);
    expect(secret.every((byte) => byte === 0)).to.equal(true);
    expect(() => ciphers.forget(secret)).to.throw(/forgotten twice/);
  });
});

describe('ciphers of the simulated host', () => {
  it('do the same', async () => {
    const host = createSimHost();
    const options = optionsOf('xts', 'essiv', 32);
    const cipher = host.ciphers.open(options);
    const plain = pattern(SECTOR, 3);
    const out = Buffer.alloc(SECTOR);
    await cipher.encrypt(5, plain, out);
    expect(out.equals(sectorBy(options, 5, plain))).to.equal(true);
    const key = Buffer.alloc(32);
    await host.ciphers.derive('sha256', Buffer.from('password'), Buffer.from('salt'), 4096, key);
    expect(key.toString('hex')).to.equal(DERIVED[2][4]);
    cipher.close();
  });
});
