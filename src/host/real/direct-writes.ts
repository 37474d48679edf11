// Writes of a direct file whose results are passed to sinks: each holds its range, shared with other such writes, until it is done.
//
//   begin -> place (range, sink, tag) -> engine, with this as the sink -> completed(place) -> release, the sink's completed(tag)

import { LockedRange, type RangeLock } from '../../util/range-lock.js';
import type { RequestSink } from '../host.js';

interface Place {
  readonly range: LockedRange;
  sink: RequestSink | null;
  tag: number;
}

export class DirectWrites implements RequestSink {
  #ranges: RangeLock;
  #places: Place[] = [];
  #free: number[] = [];
  #touched: RequestSink[] = [];

  constructor(ranges: RangeLock) {
    this.#ranges = ranges;
  }

  /** Locks [start, end), shared, for a write. Returns its place, or -1 where another write holds the range exclusively. */
  enter(start: number, end: number, sink: RequestSink, tag: number): number {
    const index = this.#free.pop() ?? this.#places.length;
    if (index === this.#places.length) {
      this.#places.push({ range: new LockedRange(start, end, true), sink: null, tag: 0 });
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

  /** Releases a place: the write is done, or was not begun. */
  leave(index: number): void {
    const place = this.#places[index];
    place.sink = null;
    this.#ranges.release(place.range);
    this.#free.push(index);
  }

  completed(index: number, result: number): void {
    const { sink, tag } = this.#places[index];
    this.leave(index);
    if (sink === null) return;
    if (!this.#touched.includes(sink)) this.#touched.push(sink);
    sink.completed(tag, result);
  }

  settled(): void {
    const touched = this.#touched;
    this.#touched = [];
    for (const sink of touched) sink.settled();
  }
}
