// Writes of a direct file that go to the engine as they are: each holds its range, shared with other such writes, until it is done. Its result is passed
// to a sink, or settles a promise.
//
//   enter -> place (range; sink and tag, or promise) -> engine, with this as the sink -> completed(place) -> release, then the answer

import type { BlockError } from '../../util/errors.js';
import { LockedRange, type RangeLock } from '../../util/range-lock.js';
import type { RequestSink } from '../host.js';

interface Place {
  readonly range: LockedRange;
  sink: RequestSink | null;
  tag: number;
  resolve: () => void;
  reject: (error: BlockError) => void;
}

// The executor of every promise: one function for all, whose results are taken right after the call.
let lastResolve: () => void;
let lastReject: (error: BlockError) => void;
function capture(resolve: () => void, reject: (error: BlockError) => void): void {
  lastResolve = resolve;
  lastReject = reject;
}

export class DirectWrites implements RequestSink {
  #ranges: RangeLock;
  #places: Place[] = [];
  #free: number[] = [];
  #touched: RequestSink[] = [];
  readonly #errorOf: (offset: number, length: number, result: number) => BlockError;

  /** `errorOf` makes the error of a write that failed. */
  constructor(ranges: RangeLock, errorOf: (offset: number, length: number, result: number) => BlockError) {
    this.#ranges = ranges;
    this.#errorOf = errorOf;
  }

  /** Locks [start, end), shared, for a write. Returns its place, or -1 where another write holds the range exclusively. */
  enter(start: number, end: number, sink: RequestSink | null, tag: number): number {
    const index = this.#free.pop() ?? this.#places.length;
    if (index === this.#places.length) {
      const range = new LockedRange(start, end, true);
      this.#places.push({ range, sink: null, tag: 0, resolve: unused, reject: unused });
    }
    const place = this.#places[index];
    place.range.start = start;
    place.range.end = end;
    if (!this.#ranges.tryShare(place.range)) {
      this.#free.push(index);
      return -1;
    }
    place.sink = sink;
    place.tag = tag;
    return index;
  }

  /** The result of the write at this place, which entered without a sink. */
  answer(index: number): Promise<void> {
    const promise = new Promise<void>(capture);
    const place = this.#places[index];
    place.resolve = lastResolve;
    place.reject = lastReject;
    return promise;
  }

  /** Releases a place: the write is done, or was not begun. */
  leave(index: number): void {
    const place = this.#places[index];
    place.sink = null;
    this.#ranges.release(place.range);
    this.#free.push(index);
  }

  completed(index: number, result: number): void {
    const { range, sink, tag, resolve, reject } = this.#places[index];
    this.leave(index);
    if (sink === null) {
      if (result >= 0) resolve();
      else reject(this.#errorOf(range.start, range.end - range.start, result));
      return;
    }
    if (!this.#touched.includes(sink)) this.#touched.push(sink);
    sink.completed(tag, result);
  }

  settled(): void {
    if (this.#touched.length === 0) return;
    const touched = this.#touched;
    this.#touched = [];
    for (const sink of touched) sink.settled();
  }
}

function unused(): void {}
