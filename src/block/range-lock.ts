// Requests that overlap wait for each other, all others run side by side. First come, first served: a later
// request does not overtake an earlier one that it overlaps.

export interface HeldRange {
  readonly start: number;
  readonly end: number;
  /** Called once when the range is released. */
  wake: (() => void)[];
}

export class RangeLock {
  #held: HeldRange[] = [];

  get size(): number {
    return this.#held.length;
  }

  /** True when nothing overlaps [start, end) now. */
  free(start: number, end: number): boolean {
    return this.#overlap(start, end, this.#held.length) === undefined;
  }

  /** Takes [start, end), waiting for every overlapping range that was asked for earlier. Bytes or any other unit. */
  async acquire(start: number, end: number): Promise<HeldRange> {
    const range: HeldRange = { start, end, wake: [] };
    this.#held.push(range);
    for (;;) {
      const blocker = this.#overlap(start, end, this.#held.indexOf(range));
      if (blocker === undefined) return range;
      await new Promise<void>((resolve) => blocker.wake.push(resolve));
    }
  }

  release(range: HeldRange): void {
    const at = this.#held.indexOf(range);
    if (at >= 0) this.#held.splice(at, 1);
    const wake = range.wake;
    range.wake = [];
    for (const resume of wake) resume();
  }

  /** Runs `action` while [start, end) is held. */
  async with<T>(start: number, end: number, action: () => Promise<T>): Promise<T> {
    const range = await this.acquire(start, end);
    try {
      return await action();
    } finally {
      this.release(range);
    }
  }

  /** The first range before position `before` in the queue that overlaps. */
  #overlap(start: number, end: number, before: number): HeldRange | undefined {
    for (let i = 0; i < before; i++) {
      const other = this.#held[i];
      if (other.start < end && start < other.end) return other;
    }
    return undefined;
  }
}
