// What a named device counts beside its operations and bytes: how long its requests took, and which of them failed or were refused.
//
//   a request of the long way      start .. ended        its time is added when it ends
//   a located request              begun .. answered     the time now is taken off, then added: what remains is how long it took
//
// So a located request has no record of its own. The clock is read once for all that begin one after the other, and once for all that are answered one
// after the other: those of one batch.

import type { Clock } from '../host/host.js';
import type { BlockDeviceTimedStats } from '../schema/generated/types.js';
import type { BlockError } from '../util/errors.js';
import { IntervalFigures, LatencyHistogram } from './latency.js';

/** Kinds of requests that are counted. */
export type RequestKind = 'read' | 'write' | 'flush' | 'discard';

const NS_PER_MS = 1e6;

/** Figures of one kind. */
class KindFigures {
  failed = 0;
  /** Refused before anything was done. */
  invalid = 0;
  /** Null: nobody has asked for one. */
  histogram: LatencyHistogram | null = null;
  #totalMs = 0;
  /** Located requests under way: the time of their begin was taken off `#totalMs`. */
  #underWay = 0;

  begun(nowMs: number): void {
    this.#underWay++;
    this.#totalMs -= nowMs;
  }

  answered(nowMs: number): void {
    this.#underWay--;
    this.#totalMs += nowMs;
  }

  add(elapsedMs: number): void {
    this.#totalMs += elapsedMs;
    this.histogram?.add(elapsedMs);
  }

  /** Time of all requests together, nanoseconds; of those that are under way, until now. */
  totalNs(nowMs: number): number {
    return Math.round((this.#totalMs + this.#underWay * nowMs) * NS_PER_MS);
  }
}

export interface AccountingOptions {
  /** Refused requests end the idle time. Default: true. */
  invalid?: boolean;
  /** Failed requests count for times and the idle time. Default: true. */
  failed?: boolean;
  /** Lengths of intervals, seconds, of which there are figures of their own. Default: none. */
  intervals?: readonly number[];
}

/** Kinds of which single requests are looked at. */
export type LatencyKind = Exclude<RequestKind, 'discard'>;

type Interval = { readonly seconds: number } & Readonly<Record<LatencyKind, IntervalFigures>>;

export class Accounting {
  readonly accountInvalid: boolean;
  readonly accountFailed: boolean;
  readonly kinds: Readonly<Record<RequestKind, KindFigures>> = {
    read: new KindFigures(),
    write: new KindFigures(),
    flush: new KindFigures(),
    discard: new KindFigures(),
  };
  readonly #clock: Clock;
  readonly #intervals: readonly Interval[];
  /** When the last request ended; null: there was none. */
  #lastMs: number | null = null;
  /** The clock as it was read last, and for what: nothing since this turn ended. */
  #readMs = 0;
  #readFor: 'begin' | 'answer' | null = null;
  readonly #turnEnds = (): void => {
    this.#readFor = null;
  };

  constructor(clock: Clock, { invalid = true, failed = true, intervals = [] }: AccountingOptions = {}) {
    this.#clock = clock;
    const made = (seconds: number) => new IntervalFigures(seconds, clock.now());
    this.#intervals = intervals.map((seconds) => ({
      seconds,
      read: made(seconds),
      write: made(seconds),
      flush: made(seconds),
    }));
    this.accountInvalid = invalid;
    this.accountFailed = failed;
  }

  /** Milliseconds, for `ended`. */
  now(): number {
    return this.#clock.now();
  }

  /** A request that began at `startMs` has ended, with `error` where it failed. */
  ended(kind: RequestKind, startMs: number, error: BlockError | null): void {
    const figures = this.kinds[kind];
    const nowMs = this.#clock.now();
    const refused = error !== null && isRefusal(error);
    if (refused) figures.invalid++;
    else if (error !== null) figures.failed++;
    if (error !== null && !(refused ? this.accountInvalid : this.accountFailed)) return;
    this.#lastMs = nowMs;
    if (refused) return;
    figures.add(nowMs - startMs);
    if (kind !== 'discard') for (const interval of this.#intervals) interval[kind].add(nowMs, nowMs - startMs);
  }

  /** Single requests are looked at: none may be located. */
  get single(): boolean {
    const { read, write, flush } = this.kinds;
    return this.#intervals.length > 0 || [read, write, flush].some(({ histogram }) => histogram !== null);
  }

  /** Begins to count requests by how long they take, nanoseconds; null: ends that. Throws `invalid-argument`. */
  setHistogram(kind: LatencyKind, boundaries: readonly number[] | null): void {
    this.kinds[kind].histogram = boundaries === null ? null : new LatencyHistogram(boundaries);
  }

  /** Figures of the intervals. */
  get timed(): BlockDeviceTimedStats[] {
    const nowMs = this.#clock.now();
    return this.#intervals.map(({ seconds, read, write, flush }) => {
      const [reads, writes, flushes] = [read, write, flush].map((kind) => kind.figures(nowMs));
      return {
        interval_length: seconds,
        min_rd_latency_ns: reads.min,
        max_rd_latency_ns: reads.max,
        avg_rd_latency_ns: reads.avg,
        min_wr_latency_ns: writes.min,
        max_wr_latency_ns: writes.max,
        avg_wr_latency_ns: writes.avg,
        min_flush_latency_ns: flushes.min,
        max_flush_latency_ns: flushes.max,
        avg_flush_latency_ns: flushes.avg,
        avg_rd_queue_depth: reads.depth,
        avg_wr_queue_depth: writes.depth,
      };
    });
  }

  /** A located request was begun. */
  begun(write: boolean): void {
    this.#located(write).begun(this.#nowFor('begin'));
  }

  /** It has its answer, or was not begun after all. */
  answered(write: boolean): void {
    const nowMs = this.#nowFor('answer');
    this.#lastMs = nowMs;
    this.#located(write).answered(nowMs);
  }

  /** Time since the last request ended, nanoseconds; null: there was none. */
  get idleNs(): number | null {
    return this.#lastMs === null ? null : Math.round((this.#clock.now() - this.#lastMs) * NS_PER_MS);
  }

  #located(write: boolean): KindFigures {
    return write ? this.kinds.write : this.kinds.read;
  }

  /** Reading the clock takes as long as much else that a located request does. */
  #nowFor(what: 'begin' | 'answer'): number {
    if (this.#readFor === what) return this.#readMs;
    if (this.#readFor === null) queueMicrotask(this.#turnEnds);
    this.#readFor = what;
    this.#readMs = this.#clock.now();
    return this.#readMs;
  }
}

/** Nothing was asked of a disk: the request itself is wrong. */
export function isRefusal({ code }: BlockError): boolean {
  return (
    code === 'out-of-bounds' ||
    code === 'invalid-argument' ||
    code === 'read-only' ||
    code === 'unsupported' ||
    code === 'closed' ||
    code === 'permission'
  );
}
