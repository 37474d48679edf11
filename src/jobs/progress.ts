// How far a job is, how fast it goes and how long it will take. Arithmetic over a clock: a sample is taken at most four times a
// second, and samples are smoothed exponentially. Time in which the job was paused does not count.

import type { Clock } from '../host/host.js';
import type { ProgressSink } from './driver.js';

const SAMPLE_MS = 250;
/** After this long an old rate has a weight of 1/e. */
const SMOOTHING_MS = 5000;

export interface ProgressSnapshot {
  current: number;
  total: number;
  /** Share that is done, 0 to 1; 1 where there is nothing to do. */
  ratio: number;
  /** Smoothed; undefined until there is something to tell it from. */
  bytesPerSecond: number | undefined;
  /** Time that is left at this rate, in ms. */
  etaMs: number | undefined;
}

export class Progress implements ProgressSink {
  readonly #clock: Clock;
  #current = 0;
  #total = 0;
  #running = false;
  #sampleMs = 0;
  #sampleCurrent = 0;
  #rate: number | undefined;
  /** Time of all samples so far. */
  #measuredMs = 0;
  readonly #watchers = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get current(): number {
    return this.#current;
  }
  get total(): number {
    return this.#total;
  }

  /** Calls `watcher` after each change, until the result is called. It must not throw. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  setTotal(total: number): void {
    this.#total = Math.max(total, this.#current);
    for (const watcher of this.#watchers) watcher();
  }
  addTotal(delta: number): void {
    this.setTotal(this.#total + delta);
  }
  setRemaining(remaining: number): void {
    this.setTotal(this.#current + remaining);
  }
  advance(amount: number): void {
    this.#current += amount;
    if (this.#total < this.#current) this.#total = this.#current;
    this.#sample();
    for (const watcher of this.#watchers) watcher();
  }

  /** The job works from now on; `pause` until then. */
  resume(): void {
    this.#running = true;
    this.#sampleMs = this.#clock.now();
    this.#sampleCurrent = this.#current;
  }
  pause(): void {
    this.#sample();
    this.#running = false;
  }

  snapshot(): ProgressSnapshot {
    this.#sample();
    const remaining = this.#total - this.#current;
    const rate = this.#rate;
    return {
      current: this.#current,
      total: this.#total,
      ratio: this.#total === 0 ? 1 : this.#current / this.#total,
      bytesPerSecond: rate,
      etaMs: remaining === 0 ? 0 : rate === undefined || rate < 1e-3 ? undefined : (remaining / rate) * 1000,
    };
  }

  #sample(): void {
    if (!this.#running) return;
    const elapsed = this.#clock.now() - this.#sampleMs;
    if (elapsed < SAMPLE_MS) return;
    const rate = ((this.#current - this.#sampleCurrent) / elapsed) * 1000;
    this.#measuredMs += elapsed;
    // At first the mean of all samples, so that the burst that a limit lets through at once does not count for longer than its time.
    const weight = Math.max(1 - Math.exp(-elapsed / SMOOTHING_MS), elapsed / this.#measuredMs);
    this.#rate = this.#rate === undefined ? rate : this.#rate + (rate - this.#rate) * weight;
    this.#sampleMs += elapsed;
    this.#sampleCurrent = this.#current;
  }
}
