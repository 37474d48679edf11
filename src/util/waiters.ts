// Code that waits for a condition, and is woken when the condition may hold: the one list of resolvers that everything here uses.
//
//   while (!condition) await waiters.wait();      the waiting side looks again: another may have been faster
//   waiters.wake();                               the side that changed something
//
// A waiter is woken once. Waiters are woken in the order in which they came.

export class Waiters {
  #waiting: (() => void)[] = [];

  /** Number of those that wait. */
  get size(): number {
    return this.#waiting.length;
  }

  /** Resolves at the next `wake` that reaches this waiter; never rejects. */
  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Wakes all that wait now, or the `count` that have waited longest. One that begins to wait meanwhile is not woken. */
  wake(count = this.#waiting.length): void {
    if (this.#waiting.length === 0) return;
    for (const resume of this.#waiting.splice(0, count)) resume();
  }
}
