// Actions that must not run side by side: each begins when all that were given before it have ended, failed or not.

export class Serial {
  /** Resolves when the last action has ended. Never rejects. */
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `action` after those before it, and settles as it does. An action must not wait for one that is given later. */
  run<T>(action: () => Promise<T>): Promise<T> {
    const done = this.#last.then(action);
    // The caller handles a failure; the next action only waits for the end.
    this.#last = done.catch(() => undefined);
    return done;
  }
}
