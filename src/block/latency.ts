// How long single requests took: histograms, and figures of the last seconds.
//
//   histogram   boundaries b0 < b1 < ... nanoseconds: bins [0, b0) [b0, b1) ... [bn, infinity)
//
//   interval    two windows of its length, half of it apart; the older one is told of, so that it covers between half of the interval and all
//               |---- older ----|
//                       |---- younger ----|

import type { BlockLatencyHistogramInfo } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';

const MS_PER_S = 1000;
const NS_PER_MS = 1e6;

export class LatencyHistogram {
  readonly #boundaries: readonly number[];
  readonly #bins: number[];

  /** Throws `invalid-argument` unless the boundaries ascend, from above 0. */
  constructor(boundaries: readonly number[]) {
    if (boundaries.some((boundary, i) => boundary <= (i === 0 ? 0 : boundaries[i - 1]))) {
      throw new BlockError('invalid-argument', 'boundaries of a histogram ascend, and the first is greater than 0');
    }
    this.#boundaries = boundaries;
    this.#bins = new Array<number>(boundaries.length + 1).fill(0);
  }

  add(elapsedMs: number): void {
    const ns = elapsedMs * NS_PER_MS;
    let low = 0;
    for (let high = this.#boundaries.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (ns < this.#boundaries[middle]) high = middle;
      else low = middle + 1;
    }
    this.#bins[low]++;
  }

  get info(): BlockLatencyHistogramInfo {
    return { boundaries: [...this.#boundaries], bins: [...this.#bins] };
  }
}

interface Window {
  startMs: number;
  count: number;
  sumMs: number;
  minMs: number;
  maxMs: number;
}

/** Requests of one kind, of the last seconds. */
export class IntervalFigures {
  readonly #lengthMs: number;
  readonly #windows: [older: Window, younger: Window];

  constructor(seconds: number, nowMs: number) {
    this.#lengthMs = seconds * MS_PER_S;
    this.#windows = [emptyWindow(nowMs), emptyWindow(nowMs + this.#lengthMs / 2)];
  }

  add(nowMs: number, elapsedMs: number): void {
    for (const window of this.#current(nowMs)) {
      if (nowMs < window.startMs) continue;
      window.count++;
      window.sumMs += elapsedMs;
      window.minMs = Math.min(window.minMs, elapsedMs);
      window.maxMs = Math.max(window.maxMs, elapsedMs);
    }
  }

  /** Nanoseconds; `depth`: the mean number of requests under way. */
  figures(nowMs: number): { min: number; max: number; avg: number; depth: number } {
    const [{ startMs, count, sumMs, minMs, maxMs }] = this.#current(nowMs);
    if (count === 0) return { min: 0, max: 0, avg: 0, depth: 0 };
    const ns = (ms: number) => Math.round(ms * NS_PER_MS);
    const elapsedMs = nowMs - startMs;
    return { min: ns(minMs), max: ns(maxMs), avg: ns(sumMs / count), depth: elapsedMs > 0 ? sumMs / elapsedMs : 0 };
  }

  #current(nowMs: number): readonly [Window, Window] {
    const windows = this.#windows;
    // After a long pause, both are over.
    if (nowMs >= windows[1].startMs + this.#lengthMs) {
      windows[0] = emptyWindow(nowMs);
      windows[1] = emptyWindow(nowMs + this.#lengthMs / 2);
    } else if (nowMs >= windows[0].startMs + this.#lengthMs) {
      windows[0] = windows[1];
      windows[1] = emptyWindow(windows[0].startMs + this.#lengthMs / 2);
    }
    return windows;
  }
}

function emptyWindow(startMs: number): Window {
  return { startMs, count: 0, sumMs: 0, minMs: Number.POSITIVE_INFINITY, maxMs: 0 };
}
