// PBKDF2 as LUKS uses it: how many iterations a new password gets, and a limit for those that a header asks for.

import type { Ciphers, HashName } from '../../../host/cipher.js';
import { BlockError } from '../../../util/errors.js';

/** One derivation takes no longer, whatever a header says. */
const MAX_DERIVATION_MS = 10_000;
/**
 * Nor do all that one password leads to: two for each active key slot that is tried. A header with eight slots, which were made in two seconds each by a processor
 * of twice the speed, needs 36 seconds for the last one.
 */
const MAX_TOTAL_MS = 40_000;
/** So many are derived without an estimate: less than a second on any processor of today. */
const FREE_ITERATIONS = 100_000;
const FIRST_TRIAL = 1 << 15;
const TRIAL_MS = 100;
/** Fewer than the number of trials that any processor needs. */
const MAX_TRIALS = 20;
const MAX_ITERATIONS = 2 ** 31 - 1;
const MIN_ITERATIONS = 1000;
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

/** Derives the keys that one password leads to, by one header, of which nothing is believed. */
export class Derivation {
  readonly #ciphers: Ciphers;
  readonly #hash: HashName;
  /** Iterations a millisecond, by the length of the key in bytes: a longer one takes several blocks of the hash. */
  readonly #perMs = new Map<number, number>();
  /** Milliseconds of a processor that it has taken so far. */
  #spentMs = 0;

  constructor(ciphers: Ciphers, hash: HashName) {
    this.#ciphers = ciphers;
    this.#hash = hash;
  }

  /**
   * Fills `key`. Rejects with `limit` where that would take more than `MAX_DERIVATION_MS`, by an estimate, or with all before it more than `MAX_TOTAL_MS`, and with
   * `unsupported`.
   */
  async derive(
    password: Uint8Array,
    salt: Uint8Array,
    iterations: number,
    key: Uint8Array,
    path: string,
  ): Promise<void> {
    if (iterations > FREE_ITERATIONS || this.#spentMs > 0) await this.#checkLimit(iterations, key.length, path);
    this.#spentMs += await this.#ciphers.derive(this.#hash, password, salt, iterations, key);
  }

  async #checkLimit(iterations: number, keyBytes: number, path: string): Promise<void> {
    const seconds = (ms: number): number => Math.round(ms / 1000);
    const refuse = (reason: string): never => {
      throw BlockError.at(path, 'limit', reason, { operation: 'open' });
    };
    const perMs = iterations > FREE_ITERATIONS ? await this.#perMsFor(keyBytes) : null;
    const ms = perMs === null ? 0 : iterations / perMs;
    if (ms > MAX_DERIVATION_MS || iterations > MAX_ITERATIONS) {
      const limit = seconds(MAX_DERIVATION_MS);
      refuse(`the key derivation of ${iterations} iterations would take ${seconds(ms)} seconds; the limit is ${limit}`);
    }
    if (this.#spentMs + ms > MAX_TOTAL_MS) {
      const done = `${seconds(this.#spentMs)} seconds of key derivation have found no key slot for the password, and the next would take ${seconds(ms)}`;
      refuse(`${done}; the limit is ${seconds(MAX_TOTAL_MS)}`);
    }
  }

  async #perMsFor(keyBytes: number): Promise<number> {
    const perMs = this.#perMs.get(keyBytes) ?? (await iterationsPerMs(this.#ciphers, this.#hash, keyBytes));
    this.#perMs.set(keyBytes, perMs);
    return perMs;
  }
}
