// Ciphers of the simulated host: those of the addon, synchronously; the schedule decides when the result is delivered.

import { type Ciphers, type HashName, noCiphers, type SectorCipher, type SectorCipherOptions } from '../cipher.js';
import { errnoError } from '../errno.js';
import { loadNative } from '../real/binding.js';
import { derivationError, hashNumber, openNative } from '../real/ciphers.js';
import type { SimEngine } from './engine.js';
import type { SimOperation } from './faults.js';

const NS_PER_MS = 1e6;

export class SimCiphers implements Ciphers {
  readonly #engine: SimEngine;
  /** 32 random bits. */
  readonly #random: () => number;

  constructor(engine: SimEngine, random: () => number) {
    this.#engine = engine;
    this.#random = random;
  }

  get available(): boolean {
    return loadNative().hasCiphers;
  }

  open(options: SectorCipherOptions): SectorCipher {
    const number = openNative(loadNative(), options);
    const run = (operation: 'encrypt' | 'decrypt', sector: number, input: Uint8Array, output: Uint8Array) =>
      this.#engine.submit({
        operation,
        path: 'cipher',
        length: input.length,
        finish: () =>
          answered(loadNative().cipherNow(number, operation === 'encrypt' ? 1 : 0, sector, input, output), operation),
      });
    return {
      encrypt: (sector, input, output) => run('encrypt', sector, input, output),
      decrypt: (sector, input, output) => run('decrypt', sector, input, output),
      close: () => loadNative().closeCipher(number),
    };
  }

  /** The time that it takes depends on the iterations alone, so that a seed gives the same run on every machine. */
  derive(hash: HashName, password: Uint8Array, salt: Uint8Array, iterations: number, key: Uint8Array): Promise<number> {
    if (!this.available) return Promise.reject(noCiphers());
    return this.#engine.submit({
      operation: 'encrypt',
      path: 'cipher',
      length: key.length,
      finish: () => {
        const took = loadNative().deriveNow(hashNumber(hash), password, salt, iterations, key);
        if (took < 0) throw derivationError(hash, errnoError(took, { operation: 'derive', path: 'cipher' }));
        return (iterations * SIM_NS_PER_ITERATION) / NS_PER_MS;
      },
    });
  }

  fillRandom(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#random();
  }

  secret(bytes: number): Uint8Array {
    return new Uint8Array(bytes);
  }

  forget(secret: Uint8Array): void {
    secret.fill(0);
  }
}

/** A hundred thousand iterations a second. */
const SIM_NS_PER_ITERATION = 10_000;

function answered(answer: number, operation: SimOperation): void {
  if (answer < 0) throw errnoError(answer, { operation, path: 'cipher' });
}
