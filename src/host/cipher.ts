// Ciphers and hashes. What works on the sectors of a disk, and what takes long, is the host's (`Ciphers`): on the real host it runs on worker threads of
// the addon. Small pieces, and digests of keys, are made here, by `node:crypto`, the same on every host; it takes 6 ms to load: a command that needs
// none does without.
//
//   password --derive--> key of a key slot --\
//                                             +--> (drivers/formats/luks) --> key of the disk --open--> SectorCipher --> sectors
//   header of the image ----------------------/
//
// Key material lies in memory from `secret`: kept out of swap and of core dumps where the system allows it, and zeroed by `forget`. No error, no log and no
// printed object has a byte of it.

import { BlockError } from '../util/errors.js';

/** The unit of encryption, bytes. */
export const CIPHER_SECTOR = 512;

export type CipherMode = 'ecb' | 'cbc' | 'xts' | 'ctr';
/**
 * How a sector's number becomes its initialization vector. `none`: it has no vector; `plain`: its low 32 bits; `plain64`: all of it; `essiv`: all of it,
 * encrypted with a key of its own.
 */
export type VectorMaker = 'none' | 'plain' | 'plain64' | 'essiv';
export type HashName = 'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512' | 'ripemd160';

export interface SectorCipherOptions {
  mode: CipherMode;
  vectors: VectorMaker;
  /** Of AES: 16, 24 or 32 bytes; twice as many for XTS. */
  key: Uint8Array;
  /** Of `essiv`: 16, 24 or 32 bytes. */
  vectorKey?: Uint8Array;
}

/** AES over sectors of `CIPHER_SECTOR` bytes. Requests may overlap in time. */
export interface SectorCipher {
  /**
   * `input` is whole sectors, the first of which has the number `sector`. `output` is as long; it is `input` itself, or does not overlap it. Rejects with
   * `invalid-argument`, and with `closed` after `close`.
   */
  encrypt(sector: number, input: Uint8Array, output: Uint8Array): Promise<void>;
  decrypt(sector: number, input: Uint8Array, output: Uint8Array): Promise<void>;
  /** Zeroes the keys, when the requests under way have ended. May be called again. */
  close(): void;
}

export interface Ciphers {
  /** This node has OpenSSL. Where it is false, the other calls throw or reject with `unsupported`. */
  readonly available: boolean;
  /** Copies the keys. Throws `invalid-argument` for a length that AES does not have. */
  open(options: SectorCipherOptions): SectorCipher;
  /**
   * PBKDF2: fills `key`. Resolves with the milliseconds that a processor worked on it. Rejects with `unsupported` for a hash that OpenSSL does not have
   * here.
   */
  derive(hash: HashName, password: Uint8Array, salt: Uint8Array, iterations: number, key: Uint8Array): Promise<number>;
  /** Fills `bytes` with random ones that nobody can foresee (on the simulated host: that the seed says). */
  fillRandom(bytes: Uint8Array): void;
  /** Memory for key material, zeroed. To be given back by `forget`. */
  secret(bytes: number): Uint8Array;
  /** Zeroes memory from `secret`, and frees it. */
  forget(secret: Uint8Array): void;
}

/** Length of a digest in bytes. */
export const DIGEST_BYTES: Readonly<Record<HashName, number>> = {
  md5: 16,
  sha1: 20,
  sha224: 28,
  sha256: 32,
  sha384: 48,
  sha512: 64,
  ripemd160: 20,
};

/** The digest of `data`. Throws `unsupported` for a hash that OpenSSL does not have here. */
export function digestOf(hash: HashName, data: Uint8Array): Uint8Array {
  const { hash: digest } = process.getBuiltinModule('node:crypto');
  try {
    return digest(hash, data, 'buffer');
  } catch {
    throw new BlockError('unsupported', `Hash algorithm '${hash}' is not supported`);
  }
}

/** AES-256 in CBC mode; `data` is whole blocks of 16 bytes, whose padding is kept. */
export function decryptAes256Cbc(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
  const { createDecipheriv } = process.getBuiltinModule('node:crypto');
  const cipher = createDecipheriv('aes-256-cbc', key, iv).setAutoPadding(false);
  return Buffer.concat([cipher.update(data), cipher.final()]);
}

export function noCiphers(): BlockError {
  return new BlockError('unsupported', 'encryption is not available: this node was built without OpenSSL', {
    operation: 'encrypt',
  });
}
