// Sectors as other code encrypts them: published ones, and those that node's own crypto makes.
import { createCipheriv, createHash } from 'node:crypto';
import type { CipherMode, SectorCipherOptions, VectorMaker } from '../../src/host/cipher.js';
import { pattern } from './engines.js';

export const SECTOR = 512;
export const hex = (text: string): Buffer => Buffer.from(text, 'hex');

/** IEEE 1619: mode, keys, number of the data unit, first and last block of the ciphertext. The plaintext is 00, 01, ... ff, twice. */
export const XTS: [string, number, string, string][] = [
  [
    '2718281828459045235360287471352631415926535897932384626433832795',
    0,
    '27a7479befa1d476489f308cd4cfa6e2',
    '0a282df920147beabe421ee5319d0568',
  ],
  [
    '27182818284590452353602874713526624977572470936999595749669676273141592653589793238462643383279502884197169399375105820974944592',
    0xff,
    '1c3b3a102f770386e4836c99e370cf9b',
    'c4f36ffda9fcea70b9c6e693e148c151',
  ],
];

/** What a sector is encrypted to, by node's own crypto. */
export function sectorBy(options: SectorCipherOptions, number: number, plain: Uint8Array): Buffer {
  const { mode, vectors, key, vectorKey } = options;
  let vector: Buffer = Buffer.alloc(16);
  if (vectors === 'plain') vector.writeUInt32LE(number % 2 ** 32);
  else if (vectors !== 'none') vector.writeBigUInt64LE(BigInt(number));
  if (vectors === 'essiv') vector = raw(`aes-${vectorKey!.length * 8}-ecb`, vectorKey!, null, vector);
  if (mode !== 'xts') return raw(`aes-${key.length * 8}-${mode}`, key, mode === 'ecb' ? null : vector, plain);
  const half = key.length / 2;
  if (half !== 24) return raw(`aes-${half * 8}-xts`, key, vector, plain);
  // OpenSSL has no XTS of AES-192.
  let tweak = BigInt(`0x${raw('aes-192-ecb', key.subarray(half), null, vector).reverse().toString('hex')}`);
  const out = Buffer.alloc(plain.length);
  for (let at = 0; at < plain.length; at += 16) {
    const t = hex(tweak.toString(16).padStart(32, '0')).reverse();
    const mixed = plain.slice(at, at + 16).map((byte, i) => byte ^ t[i]);
    out.set(
      raw('aes-192-ecb', key.subarray(0, half), null, mixed).map((byte, i) => byte ^ t[i]),
      at,
    );
    tweak <<= 1n;
    if (tweak >> 128n !== 0n) tweak = (tweak & (2n ** 128n - 1n)) ^ 0x87n;
  }
  return out;
}

function raw(name: string, key: Uint8Array, vector: Uint8Array | null, data: Uint8Array): Buffer {
  return createCipheriv(name, key, vector).setAutoPadding(false).update(data) as Buffer;
}

export function optionsOf(mode: CipherMode, vectors: VectorMaker, bytes: number): SectorCipherOptions {
  const key = pattern(bytes * (mode === 'xts' ? 2 : 1), bytes);
  if (vectors !== 'essiv') return { mode, vectors, key };
  return { mode, vectors, key, vectorKey: createHash('sha256').update(key).digest() };
}
