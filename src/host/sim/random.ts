// A small seeded random generator (sfc32, 32-bit arithmetic only, so every machine draws the same numbers).

export class Random {
  private a: number;
  private b: number;
  private c: number;
  private counter = 1;

  /** Each `stream` of a seed is an independent sequence: the schedule, the crash and the guest must not influence one another. */
  constructor(seed: number, stream = 0) {
    this.a = seed | 0;
    this.b = stream | 0;
    this.c = Math.floor(seed / 0x100000000) | 0;
    for (let i = 0; i < 15; i++) this.next();
  }

  /** 32 random bits, unsigned. */
  next(): number {
    const t = (((this.a + this.b) | 0) + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + t) | 0;
    return t >>> 0;
  }

  /** At least 0, below 1. */
  fraction(): number {
    return this.next() / 0x100000000;
  }

  /** An integer, at least 0 and below `limit` (at most 2^53). */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return probability > 0 && this.fraction() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  /** Fills `bytes` with random bytes. */
  fill(bytes: Uint8Array): void {
    let i = 0;
    for (; i + 4 <= bytes.length; i += 4) {
      const bits = this.next();
      bytes[i] = bits;
      bytes[i + 1] = bits >>> 8;
      bytes[i + 2] = bits >>> 16;
      bytes[i + 3] = bits >>> 24;
    }
    for (; i < bytes.length; i++) bytes[i] = this.next();
  }
}
