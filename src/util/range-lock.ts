// A lock on ranges of numbers (bytes, clusters, blocks). Requests that overlap wait for each other, all others run side by side.
// An exclusive range is alone in its place; shared ranges may overlap one another. First come, first served: a request never
// overtakes an earlier one that it overlaps and may not share with, so that a wide request is not starved by many narrow ones.
//
// The lock keeps the number line cut into segments, and each segment names the ranges that asked for it last:
//
//   asked for, in this order       a: [0, 8) exclusive   b: [4, 12) exclusive   c: [6, 16) shared
//
//   segments after a               | a . . . . . . |
//   after b (waits for a)          | a . . | b . . . . . . |
//   after c (waits for b)          | a . . | b . | b, c . . . | c . . . |
//                                  0       4     6            12       16
//
// A new range waits for those that its segments name, and takes their place in them: an exclusive one replaces what is there, a
// shared one is added. Earlier ones need not be named again, since the named ones wait for them in turn. So each
// request looks at few segments, however many wait: finding them is a binary search, and n requests for one range make n steps,
// not n * n. A range counts those it waits for (`ahead`) and is granted when each of them was released.
//
// While there is no exclusive range, shared ones have none to wait for. They are kept in a plain list then, and enter the
// segments when the first exclusive range comes: `tryShare` on such a lock takes a few instructions and makes no object.

import { Waiters } from './waiters.js';

/** A range that is held, or waits to be. The caller of `tryShare` may keep one for use after use, and changes its borders between. */
export class LockedRange {
  start: number;
  end: number;
  readonly shared: boolean;
  /** Ranges that it waits for. */
  ahead = 0;
  /** Ranges that wait for it. */
  behind: LockedRange[] = [];
  granted: Waiters | null = null;
  /** Its place in the list of shared ranges that are not in the segments; -1 where it is in the segments. */
  place = -1;

  constructor(start: number, end: number, shared: boolean) {
    this.start = start;
    this.end = end;
    this.shared = shared;
  }
}

export type LockMode = 'exclusive' | 'shared';

/** The ranges that asked for [start, end) last: an exclusive one, then the shared ones that came after it. There is at least one. */
interface Segment {
  start: number;
  end: number;
  exclusive: LockedRange | null;
  sharers: Set<LockedRange>;
}

export class RangeLock {
  /** In order, without overlap. */
  #segments: Segment[] = [];
  /** Shared ranges that are held and not in the segments: only while there is no exclusive range. */
  #sharers: LockedRange[] = [];
  #exclusive = 0;
  #size = 0;

  /** Ranges that are held or waited for. */
  get size(): number {
    return this.#size;
  }

  /** True when no range that is held or waited for overlaps [start, end). */
  free(start: number, end: number): boolean {
    if (this.#sharers.length > 0) this.#enterSharers();
    const at = this.#find(start);
    return start >= end || at === this.#segments.length || this.#segments[at].start >= end;
  }

  /** Takes [start, end), and resolves when it is held. An empty range never waits. */
  async acquire(start: number, end: number, mode: LockMode = 'exclusive'): Promise<LockedRange> {
    const range = new LockedRange(start, end, mode === 'shared');
    if (range.shared && this.#exclusive === 0) {
      this.#addSharer(range);
      return range;
    }
    this.#enter(range);
    if (range.ahead > 0) {
      range.granted = new Waiters();
      await range.granted.wait();
    }
    return range;
  }

  /** Takes `range`, a shared one, if it need not wait. False, and nothing is taken, where an exclusive range is held or waited for there. */
  tryShare(range: LockedRange): boolean {
    if (this.#exclusive === 0) {
      this.#addSharer(range);
      return true;
    }
    for (let at = this.#find(range.start); at < this.#segments.length; at++) {
      const segment = this.#segments[at];
      if (segment.start >= range.end) break;
      if (segment.exclusive !== null) return false;
    }
    this.#enter(range);
    return true;
  }

  /** Releases a range that is held. Ranges that waited for it alone are granted. */
  release(range: LockedRange): void {
    this.#size--;
    if (range.place >= 0) {
      const last = this.#sharers.pop() as LockedRange;
      if (last !== range) {
        this.#sharers[range.place] = last;
        last.place = range.place;
      }
      range.place = -1;
      return;
    }
    if (!range.shared) this.#exclusive--;
    this.#clear(range);
    if (range.behind.length === 0) return;
    const behind = range.behind;
    range.behind = [];
    for (const next of behind) if (--next.ahead === 0) next.granted?.wake();
  }

  /** Runs `action` while [start, end) is held exclusively. */
  async with<T>(start: number, end: number, action: () => Promise<T>): Promise<T> {
    const range = await this.acquire(start, end);
    try {
      return await action();
    } finally {
      this.release(range);
    }
  }

  #addSharer(range: LockedRange): void {
    this.#size++;
    range.place = this.#sharers.length;
    this.#sharers.push(range);
  }

  /** Moves the shared ranges of the list into the segments, when the first exclusive range comes. */
  #enterSharers(): void {
    const sharers = this.#sharers;
    this.#sharers = [];
    this.#size -= sharers.length;
    for (const range of sharers) {
      range.place = -1;
      this.#enter(range);
    }
  }

  /** Puts `range` into the segments, behind those that it must wait for. */
  #enter(range: LockedRange): void {
    if (this.#sharers.length > 0) this.#enterSharers();
    this.#size++;
    if (!range.shared) this.#exclusive++;
    const { start, end } = range;
    if (start >= end) return;
    this.#cut(start);
    this.#cut(end);
    const first = this.#find(start);
    let next = first;
    if (!range.shared) {
      for (; next < this.#segments.length && this.#segments[next].start < end; next++) {
        const { exclusive, sharers } = this.#segments[next];
        if (sharers.size === 0) waitFor(range, exclusive as LockedRange);
        else for (const sharer of sharers) waitFor(range, sharer);
      }
      this.#segments.splice(first, next - first, { start, end, exclusive: range, sharers: new Set() });
      return;
    }
    // Between existing segments, this range is the only one.
    const joined: Segment[] = [];
    let at = start;
    for (; next < this.#segments.length && this.#segments[next].start < end; next++) {
      const segment = this.#segments[next];
      if (at < segment.start)
        joined.push({ start: at, end: segment.start, exclusive: null, sharers: new Set([range]) });
      if (segment.exclusive !== null) waitFor(range, segment.exclusive);
      segment.sharers.add(range);
      joined.push(segment);
      at = segment.end;
    }
    if (at < end) joined.push({ start: at, end, exclusive: null, sharers: new Set([range]) });
    this.#segments.splice(first, next - first, ...joined);
  }

  /** Takes `range` out of the segments that still name it. */
  #clear(range: LockedRange): void {
    const first = this.#find(range.start);
    let kept = first;
    let next = first;
    for (; next < this.#segments.length && this.#segments[next].start < range.end; next++) {
      const segment = this.#segments[next];
      if (segment.exclusive === range) segment.exclusive = null;
      else segment.sharers.delete(range);
      if (segment.exclusive !== null || segment.sharers.size > 0) this.#segments[kept++] = segment;
    }
    if (kept < next) this.#segments.splice(kept, next - kept);
  }

  /** Makes `at` a border of the segment that it lies in, if any. */
  #cut(at: number): void {
    const index = this.#find(at);
    const segment = this.#segments[index];
    if (segment === undefined || segment.start >= at) return;
    const { end, exclusive, sharers } = segment;
    segment.end = at;
    this.#segments.splice(index + 1, 0, { start: at, end, exclusive, sharers: new Set(sharers) });
  }

  /** Index of the first segment that ends after `at`. */
  #find(at: number): number {
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#segments[middle].end > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** `range` is granted when `other` was released, among others. */
function waitFor(range: LockedRange, other: LockedRange): void {
  // Neighbouring segments may name the same range: then it was linked in the step before.
  if (other.behind.at(-1) === range) return;
  other.behind.push(range);
  range.ahead++;
}
