// The speed limit of a job: bytes per second, in slices of 100 ms, changeable at any time. It is arithmetic over a clock, without timers: a caller calls
// `delayMs()`, sleeps, and calls it again, since the speed may have changed.
//
//   while ((delay = limit.delayMs()) > 0) sleep(delay);   then, without an `await` in between:   limit.charge(bytes)
//
// `admit` does that for a caller that cannot be paused and whose speed does not change.

import { BlockError } from '../util/errors.js';
import type { Clock } from './host.js';
import { sleep } from './sleep.js';

const SLICE_MS = 100;
/** Shorter delays come from rounding, and count as 0. */
const SHORTEST_MS = 0.001;

/** Throws `invalid-argument` where `speed` is not an integer from 0 (no limit) to 2^53 - 1, in bytes per second. */
export function checkSpeed(speed: number): void {
  if (!Number.isSafeInteger(speed) || speed < 0) {
    throw new BlockError('invalid-argument', `Parameter 'speed' expects a non-negative value`);
  }
}

export class RateLimit {
  readonly #clock: Clock;
  #speed: number;
  /** Start of the current slice, and the bytes charged since. */
  #startMs = 0;
  #used = 0;

  constructor(clock: Clock, speed = 0) {
    checkSpeed(speed);
    this.#clock = clock;
    this.#speed = speed;
  }

  get speed(): number {
    return this.#speed;
  }

  /** Changes the speed. Bytes that were charged and not paid for yet are paid for at the new speed. Throws `invalid-argument`. */
  setSpeed(speed: number): void {
    checkSpeed(speed);
    const now = this.#clock.now();
    this.#used = Math.max(0, this.#used - ((now - this.#startMs) * this.#speed) / 1000);
    this.#startMs = now;
    this.#speed = speed;
  }

  /** How long to wait before the next charge: 0 until a slice's share is used up; then until the charged bytes are paid for. */
  delayMs(): number {
    if (this.#speed === 0 || this.#used < Math.max(1, (this.#speed * SLICE_MS) / 1000)) return 0;
    const delay = this.#startMs + this.#paidMs() - this.#clock.now();
    return delay < SHORTEST_MS ? 0 : delay;
  }

  /** Charges `bytes`, without a check whether they may go. */
  charge(bytes: number): void {
    if (this.#speed === 0) return;
    const now = this.#clock.now();
    const end = this.#startMs + Math.max(SLICE_MS, this.#paidMs());
    if (now >= end - SHORTEST_MS) {
      // A timer that came late must not cost rate: the next slice follows this one, but where nothing was charged for longer than a slice.
      this.#startMs = now - end < SLICE_MS ? end : now;
      this.#used = 0;
    }
    this.#used += bytes;
  }

  /** Waits until `bytes` may go, and charges them. When `signal` is aborted, ends at once without charging. */
  async admit(bytes: number, signal?: AbortSignal): Promise<void> {
    for (let delayMs = this.delayMs(); delayMs > 0; delayMs = this.delayMs()) {
      if (signal?.aborted) return;
      await sleep(this.#clock, delayMs, signal);
    }
    this.charge(bytes);
  }

  /** Time that the bytes of this slice take at the current speed. */
  #paidMs(): number {
    return (this.#used / this.#speed) * 1000;
  }
}
