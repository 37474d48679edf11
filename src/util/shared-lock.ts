// A lock that many hold side by side, or one alone. Who wants to be alone comes before those that ask later.

import { Waiters } from './waiters.js';

export class SharedLock {
  #sharing = 0;
  /** Those that are alone, or wait to be. */
  #alone = 0;
  readonly #left = new Waiters();
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `action` beside others that share. It must not ask for the lock itself. */
  async share<T>(action: () => Promise<T>): Promise<T> {
    while (this.#alone > 0) await this.#last;
    this.#sharing++;
    try {
      return await action();
    } finally {
      this.#sharing--;
      if (this.#sharing === 0) this.#left.wake();
    }
  }

  /** Runs `action` while nobody else holds the lock. It must not ask for the lock itself. */
  alone<T>(action: () => Promise<T>): Promise<T> {
    this.#alone++;
    const done = this.#last.then(async () => {
      while (this.#sharing > 0) await this.#left.wait();
      try {
        return await action();
      } finally {
        this.#alone--;
      }
    });
    // The caller handles a failure; the next action only waits for the end.
    this.#last = done.catch(() => undefined);
    return done;
  }
}
