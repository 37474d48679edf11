// Which ranges of a direct file are being written. A write that covers whole blocks shares its range with others of
// its kind (overlapping writes are the caller's business); one that reads, changes and writes a block must be alone
// there, or it would put back what another write has just replaced.

export interface HeldRange {
  start: number;
  end: number;
  alone: boolean;
}

export class WriteRanges {
  #held: HeldRange[] = [];
  #waiting: (() => void)[] = [];

  async hold(start: number, end: number, alone: boolean): Promise<HeldRange> {
    while (this.#held.some((other) => (alone || other.alone) && start < other.end && other.start < end)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    const range = { start, end, alone };
    this.#held.push(range);
    return range;
  }

  /** Holds `range` now, together with others of its kind; false where one that is alone is in the way. */
  tryHold(range: HeldRange): boolean {
    for (const other of this.#held) if (other.alone && range.start < other.end && other.start < range.end) return false;
    this.#held.push(range);
    return true;
  }

  release(range: HeldRange): void {
    const index = this.#held.indexOf(range);
    this.#held[index] = this.#held[this.#held.length - 1];
    this.#held.pop();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
