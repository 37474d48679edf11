// The ciphers of the addon: what is short on the thread that asks, the rest on its codec workers. Buffers outside of the arena are copied in and out.

import { BlockError } from '../../util/errors.js';
import { roundUp } from '../../util/numbers.js';
import {
  type CipherMode,
  type Ciphers,
  type HashName,
  noCiphers,
  type SectorCipher,
  type SectorCipherOptions,
  type VectorMaker,
} from '../cipher.js';
import { errnoError } from '../errno.js';
import type { Native } from './binding.js';
import { closedError, type Engine, Requester } from './engine.js';
import type { ArenaMemory } from './memory.js';
import { Op } from './table.js';

/** Numbers in the addon (native/cipher.h). */
const MODES: Readonly<Record<CipherMode, number>> = { ecb: 0, cbc: 1, xts: 2, ctr: 3 };
const VECTORS: Readonly<Record<VectorMaker, number>> = { none: 0, plain: 1, plain64: 2, essiv: 3 };
const HASHES: Readonly<Record<HashName, number>> = {
  sha1: 0,
  sha224: 1,
  sha256: 2,
  sha384: 3,
  sha512: 4,
  ripemd160: 5,
  md5: 6,
};

const PAGE = 4096;
const NS_PER_MS = 1e6;
const NO_KEY = new Uint8Array(0);

/** The number of a new cipher in the addon. `path`: one of `Native.cipherPaths`, or else the best. Throws `invalid-argument`, `unsupported`. */
export function openNative(native: Native, options: SectorCipherOptions, path?: string): number {
  if (!native.hasCiphers) throw noCiphers();
  const { mode, vectors, key, vectorKey = NO_KEY } = options;
  const made = native.openCipher(MODES[mode], VECTORS[vectors], key, vectorKey, path);
  if (made > 0) return made;
  const failed = errnoError(made, { operation: 'encrypt', path: 'cipher' });
  if (failed.errno !== 'EINVAL') throw failed;
  throw new BlockError('invalid-argument', `AES has no keys of this length (${mode}, ${key.length} bytes)`, {
    operation: 'encrypt',
  });
}

export function hashNumber(hash: HashName): number {
  return HASHES[hash];
}

export function derivationError(hash: HashName, error: BlockError): BlockError {
  if (error.code !== 'unsupported') return error;
  return new BlockError('unsupported', `Hash algorithm '${hash}' is not supported`, { operation: 'derive' });
}

export class NativeCiphers implements Ciphers {
  readonly available: boolean;
  readonly #engine: Engine;
  readonly #memory: ArenaMemory;
  readonly #who = new Requester('cipher');
  /** The whole pages that a secret lies in. */
  readonly #pages = new WeakMap<Uint8Array, Uint8Array>();

  constructor(engine: Engine, memory: ArenaMemory) {
    this.#engine = engine;
    this.#memory = memory;
    this.available = engine.native.hasCiphers;
  }

  open(options: SectorCipherOptions): SectorCipher {
    return new NativeSectorCipher(this.#engine, this.#memory, openNative(this.#engine.native, options));
  }

  async derive(
    hash: HashName,
    password: Uint8Array,
    salt: Uint8Array,
    iterations: number,
    key: Uint8Array,
  ): Promise<number> {
    const memory = this.#memory;
    const input = this.secret(password.length);
    const output = this.secret(salt.length + key.length);
    try {
      input.set(password);
      output.set(salt);
      const request = this.#engine.prepare(Op.derive, HASHES[hash]);
      request.address = memory.addressOf(input);
      request.length = password.length;
      request.extra = salt.length;
      request.offset = iterations;
      request.offset2 = key.length;
      request.address2 = memory.addressOf(output);
      const tookNs = await this.#engine.start(this.#who);
      key.set(output.subarray(salt.length));
      return tookNs / NS_PER_MS;
    } catch (error) {
      throw error instanceof BlockError ? derivationError(hash, error) : error;
    } finally {
      this.forget(input);
      this.forget(output);
    }
  }

  fillRandom(bytes: Uint8Array): void {
    process.getBuiltinModule('node:crypto').randomFillSync(bytes);
  }

  secret(bytes: number): Uint8Array {
    // No page is shared with anything else: locking, and what ends it, concern whole pages.
    const pages = this.#memory.allocate(roundUp(Math.max(bytes, 1), PAGE));
    pages.fill(0);
    this.#engine.native.keepPrivate(pages, 1);
    const secret = pages.subarray(0, bytes);
    this.#pages.set(secret, pages);
    return secret;
  }

  forget(secret: Uint8Array): void {
    const pages = this.#pages.get(secret);
    if (pages === undefined) throw new BlockError('internal', 'no secret of this host, or forgotten twice');
    this.#pages.delete(secret);
    this.#engine.native.keepPrivate(pages, 0);
    this.#memory.free(pages);
  }
}

class NativeSectorCipher implements SectorCipher {
  readonly #engine: Engine;
  readonly #memory: ArenaMemory;
  readonly #number: number;
  readonly #who = new Requester('cipher');
  #closed = false;

  constructor(engine: Engine, memory: ArenaMemory, number: number) {
    this.#engine = engine;
    this.#memory = memory;
    this.#number = number;
  }

  encrypt(sector: number, input: Uint8Array, output: Uint8Array): Promise<void> {
    return this.#run(1, sector, input, output);
  }

  decrypt(sector: number, input: Uint8Array, output: Uint8Array): Promise<void> {
    return this.#run(0, sector, input, output);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // The addon keeps the keys until the requests that it has begun have ended; one that has not begun fails.
    void this.#who.idle().then(() => this.#engine.native.closeCipher(this.#number));
  }

  async #run(encrypts: 0 | 1, sector: number, input: Uint8Array, output: Uint8Array): Promise<void> {
    if (this.#closed) throw closedError(encrypts ? 'encrypt' : 'decrypt', 'cipher');
    const memory = this.#memory;
    const from = memory.addressOf(input) === 0 ? memory.allocate(input.length) : input;
    const to = output === input ? from : memory.addressOf(output) === 0 ? memory.allocate(output.length) : output;
    try {
      if (from !== input) from.set(input);
      const request = this.#engine.prepare(Op.cipher, this.#number);
      request.address = memory.addressOf(from);
      request.length = input.length;
      request.extra = encrypts;
      request.offset = sector;
      request.address2 = memory.addressOf(to);
      await this.#engine.start(this.#who);
      if (to !== output) output.set(to);
    } finally {
      if (from !== input) memory.free(from);
      if (to !== output && to !== from) memory.free(to);
    }
  }
}
