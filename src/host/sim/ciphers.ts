// Ciphers of the simulated host: those of the addon, synchronously; the schedule decides when the result is delivered.

import { type Ciphers, type HashName, noCiphers, type SectorCipher, type SectorCipherOptions } from '../cipher.js';
import { errnoError } from '../errno.js';
import { loadNative } from '../real/binding.js';
import { derivationError, hashNumber, openNative } from '../real/ciphers.js';
import { closedError, Requester } from '../real/engine.js';
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
    return new SimSectorCipher(this.#engine, openNative(loadNative(), options));
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

class SimSectorCipher implements SectorCipher {
  readonly #engine: SimEngine;
  readonly #number: number;
  readonly #who = new Requester('cipher');
  #closed = false;

  constructor(engine: SimEngine, number: number) {
    this.#engine = engine;
    this.#number = number;
  }

  encrypt(sector: number, input: Uint8Array, output: Uint8Array): Promise<void> {
    return this.#run('encrypt', sector, input, output);
  }

  decrypt(sector: number, input: Uint8Array, output: Uint8Array): Promise<void> {
    return this.#run('decrypt', sector, input, output);
  }

  /** As on the real host: requests that were made before end as they would have. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    void this.#who.idle().then(() => loadNative().closeCipher(this.#number));
  }

  async #run(operation: 'encrypt' | 'decrypt', sector: number, input: Uint8Array, output: Uint8Array): Promise<void> {
    if (this.#closed) throw closedError(operation, 'cipher');
    this.#who.inFlight++;
    try {
      await this.#engine.submit({
        operation,
        path: 'cipher',
        length: input.length,
        finish: () => {
          const encrypts = operation === 'encrypt' ? 1 : 0;
          answered(loadNative().cipherNow(this.#number, encrypts, sector, input, output), operation);
        },
      });
    } finally {
      this.#who.done();
    }
  }
}

/** A hundred thousand iterations a second. */
const SIM_NS_PER_ITERATION = 10_000;

function answered(answer: number, operation: SimOperation): void {
  if (answer < 0) throw errnoError(answer, { operation, path: 'cipher' });
}
