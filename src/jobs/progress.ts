// How far a job is, how fast it goes and how long it will take. Arithmetic over a clock: a sample is taken at most four times a
// second, and samples are smoothed exponentially. Time in which the job was paused does not count.
//
//   |--moved--|..hole..|--moved--|      current: all of it; the rate is that of what was moved, which is what a speed limit limits

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
  /** Of `current`, what was copied: what a speed limit counts. The rest was passed over, since it reads as zeroes or is not to be copied. */
  moved: number;
  /** What is copied in a second, smoothed; undefined until there is something to tell it from. */
  bytesPerSecond: number | undefined;
  /** Time that is left at this rate, in ms, where the rest has as many holes as what is done. */
  etaMs: number | undefined;
}

export class Progress implements ProgressSink {
  readonly #clock: Clock;
  #current = 0;
  #total = 0;
  #moved = 0;
  #running = false;
  #sampleMs = 0;
  #sampleMoved = 0;
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
  /** Of `current`, what was copied. */
  get moved(): number {
    return this.#moved;
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
  advance(amount: number, moved = amount): void {
    this.#current += amount;
    this.#moved += moved;
    if (this.#total < this.#current) this.#total = this.#current;
    this.#sample();
    for (const watcher of this.#watchers) watcher();
  }

  /** The job works from now on; `pause` until then. */
  resume(): void {
    this.#running = true;
    this.#sampleMs = this.#clock.now();
    this.#sampleMoved = this.#moved;
  }
  pause(): void {
    this.#sample();
    this.#running = false;
  }

  snapshot(): ProgressSnapshot {
    this.#sample();
    const rate = this.#rate;
    return {
      current: this.#current,
      total: this.#total,
      ratio: this.#total === 0 ? 1 : this.#current / this.#total,
      moved: this.#moved,
      bytesPerSecond: rate,
      etaMs: timeLeft({ current: this.#current, total: this.#total, moved: this.#moved }, rate),
    };
  }

  #sample(): void {
    if (!this.#running) return;
    const elapsed = this.#clock.now() - this.#sampleMs;
    if (elapsed < SAMPLE_MS) return;
    // Nothing but holes so far is no rate.
    if (this.#moved === 0 && this.#current > 0) {
      this.#sampleMs += elapsed;
      return;
    }
    const rate = ((this.#moved - this.#sampleMoved) / elapsed) * 1000;
    this.#measuredMs += elapsed;
    // At first the mean of all samples, so that the burst that a limit lets through at once does not count for longer than its time.
    const weight = Math.max(1 - Math.exp(-elapsed / SMOOTHING_MS), elapsed / this.#measuredMs);
    this.#rate = this.#rate === undefined ? rate : this.#rate + (rate - this.#rate) * weight;
    this.#sampleMs += elapsed;
    this.#sampleMoved = this.#moved;
  }
}

/**
 * Time that is left at `rate` (bytes moved in a second), in ms. `left`: bytes that will be moved still, where that is known; otherwise the rest is taken to
 * have as many holes as what is done. Undefined where nothing can be said.
 */
export function timeLeft(
  { current, total, moved }: { current: number; total: number; moved: number },
  rate: number | undefined,
  left?: number,
): number | undefined {
  const remaining = total - current;
  if (remaining === 0) return 0;
  if (rate === undefined || rate < 1e-3) return undefined;
  const bytes = left === undefined ? (remaining * moved) / current : Math.min(remaining, left);
  return (bytes / rate) * 1000;
}
