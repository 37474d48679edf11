// A guest that makes its disk longer at the moment that a job starts. Either it comes first, and the job begins with the new size or refuses
// it, or the job does, and lets nobody change the size. Never is the disk longer than what the job looks after.

import type { Device } from '../../src/block/device.js';
import type { Random, SimHost } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { isZero } from '../support/zeroes.js';
import { Violation } from './guest.js';
import { type GuestModel, SECTOR } from './model.js';
import { sleep } from './torment.js';

interface Plugged {
  host: SimHost;
  device: Device;
  model: GuestModel;
  expectedErrors: ReadonlySet<string>;
}

export class Resizer {
  readonly #random: Random;
  #plugged: Plugged | null = null;
  /** Sectors that the disk has at least, and at most, after power loss. */
  #durable = 0;
  #longest = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  plug(host: SimHost, device: Device, model: GuestModel, expectedErrors: ReadonlySet<string>): void {
    this.#plugged = { host, device, model, expectedErrors };
    this.#durable = model.sectors;
    this.#longest = model.sectors;
  }

  /** Makes the disk longer, once. The guests find the new sectors in the model, and write there. */
  async run(): Promise<void> {
    const plugged = this.#plugged;
    if (plugged === null) return;
    const { host, device, model, expectedErrors } = plugged;
    const random = this.#random;
    if (random.chance(0.5)) await sleep(host, random.fraction() * 10);
    const sectors = model.sectors + random.between(1, 64) * 8;
    this.#longest = Math.max(this.#longest, sectors);
    try {
      await device.truncate(sectors * SECTOR);
      model.resize(sectors);
      await device.flush();
      this.#durable = sectors;
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      // A job that has begun lets nobody change the size.
      if (error.code === 'permission' || expectedErrors.has(error.code)) return;
      throw new Violation('refused', `resize to ${sectors} sectors failed: ${error.stack}`, { cause: error });
    }
  }

  /** A job may have found that its target is of another size now. */
  explains(error: unknown): boolean {
    if (!(error instanceof BlockError) || this.#longest === 0) return false;
    return error.code === 'permission' || (error.code === 'invalid-argument' && /siz|larger/.test(error.message));
  }

  /** The disk as long as the model says, where it may be of the size that was found. What a lost resize takes away read as zeroes. */
  fit(content: Uint8Array, { sectors }: GuestModel, clean: boolean): Uint8Array {
    const found = content.length / SECTOR;
    if (this.#longest === 0 || clean) return content;
    if (found < this.#durable || found > this.#longest) {
      throw new Violation('content', `the disk has ${found} sectors, not ${this.#durable} to ${this.#longest}`);
    }
    if (!isZero(content.subarray(sectors * SECTOR))) {
      throw new Violation('content', 'what a resize adds does not read as zeroes');
    }
    const whole = new Uint8Array(sectors * SECTOR);
    whole.set(content.subarray(0, whole.length));
    return whole;
  }
}
