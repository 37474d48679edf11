// PBKDF2 as LUKS uses it: how many iterations a new password gets, and a limit for those that a header asks for.

import type { Ciphers, HashName } from '../../../host/cipher.js';
import { BlockError } from '../../../util/errors.js';

/** One derivation takes no longer, whatever a header says. To open an image takes two for each active key slot that is tried. */
const MAX_DERIVATION_MS = 10_000;
/** So many are derived without an estimate: less than a second on any processor of today. */
const FREE_ITERATIONS = 100_000;
const FIRST_TRIAL = 1 << 15;
const TRIAL_MS = 100;
/** Fewer than the number of trials that any processor needs. */
const MAX_TRIALS = 20;
const MAX_ITERATIONS = 2 ** 31 - 1;
export const MIN_ITERATIONS = 1000;
export const DEFAULT_ITER_TIME_MS = 2000;

/** Iterations a millisecond for keys of so many bytes, measured: trials of twice the length, until one takes long enough to tell. */
async function iterationsPerMs(ciphers: Ciphers, hash: HashName, keyBytes: number): Promise<number> {
  const key = new Uint8Array(keyBytes);
  const password = new Uint8Array(keyBytes);
  const salt = new Uint8Array(32);
  for (let trial = 0, iterations = FIRST_TRIAL; ; trial++, iterations *= 2) {
    const tookMs = await ciphers.derive(hash, password, salt, iterations, key);
    if (tookMs >= TRIAL_MS || trial === MAX_TRIALS || iterations * 2 > MAX_ITERATIONS) {
      return iterations / Math.max(tookMs, 1);
    }
  }
}

/** How many iterations take `timeMs` here; at least `MIN_ITERATIONS`. Throws `limit` for more than a header can say. */
export async function calibrate(ciphers: Ciphers, hash: HashName, keyBytes: number, timeMs: number): Promise<number> {
  const iterations = Math.floor((await iterationsPerMs(ciphers, hash, keyBytes)) * timeMs);
  if (iterations > MAX_ITERATIONS) {
    throw new BlockError('limit', `PBKDF iterations ${iterations} larger than ${MAX_ITERATIONS}`, {
      operation: 'create',
    });
  }
  return Math.max(MIN_ITERATIONS, iterations);
}

/** Derives keys for one header, of which nothing is believed. */
export class Derivation {
  readonly #ciphers: Ciphers;
  readonly #hash: HashName;
  /** Iterations a millisecond, by the length of the key in bytes: a longer one takes several blocks of the hash. */
  readonly #perMs = new Map<number, number>();

  constructor(ciphers: Ciphers, hash: HashName) {
    this.#ciphers = ciphers;
    this.#hash = hash;
  }

  /** Fills `key`. Rejects with `limit` where that would take more than `MAX_DERIVATION_MS`, and with `unsupported`. */
  async derive(
    password: Uint8Array,
    salt: Uint8Array,
    iterations: number,
    key: Uint8Array,
    path: string,
  ): Promise<void> {
    if (iterations > FREE_ITERATIONS) {
      const perMs = this.#perMs.get(key.length) ?? (await iterationsPerMs(this.#ciphers, this.#hash, key.length));
      this.#perMs.set(key.length, perMs);
      const seconds = Math.round(iterations / perMs / 1000);
      if (iterations / perMs > MAX_DERIVATION_MS || iterations > MAX_ITERATIONS) {
        const limit = MAX_DERIVATION_MS / 1000;
        const reason = `the key derivation of ${iterations} iterations would take ${seconds} seconds; the limit is ${limit}`;
        throw BlockError.at(path, 'limit', reason, { operation: 'open' });
      }
    }
    await this.#ciphers.derive(this.#hash, password, salt, iterations, key);
  }
}
