// A clock that stands still until a test moves it.
import type { Clock } from '../../src/host/host.js';

interface Timer {
  due: number;
  order: number;
  callback: () => void;
}

/** Lets everything that is ready run: promise reactions, also chains of them. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
  await new Promise<void>((resolve) => setImmediate(resolve));
}

export class FakeClock implements Clock {
  #now = 0;
  #order = 0;
  #timers: Timer[] = [];

  now(): number {
    return this.#now;
  }
  wall(): { seconds: number; nanoseconds: number } {
    return { seconds: Math.floor(this.#now / 1000), nanoseconds: 0 };
  }
  timer(delayMs: number, callback: () => void): () => void {
    const timer = { due: this.#now + delayMs, order: this.#order++, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Timers that wait now. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Moves time forward, stopping at each timer that falls due and letting what it woke run. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      this.#timers.sort((a, b) => a.due - b.due || a.order - b.order);
      const next = this.#timers[0];
      if (next === undefined || next.due > end) break;
      this.#timers.shift();
      this.#now = Math.max(this.#now, next.due);
      next.callback();
      await settle();
    }
    this.#now = end;
  }
}
