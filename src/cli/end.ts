// The end of a server: by `now`, or by a signal. A second signal ends the process at once. Until then the process stays, also where nothing
// else keeps it: a daemon whose monitor was at an input that has ended.

import { EXIT_INTERRUPTED } from './session.js';

/** The longest time of a timer. */
const LONG_MS = 2 ** 31 - 1;

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

export class End {
  /** Resolves when the server is to end. */
  readonly reached: Promise<void>;
  #over = false;
  #resolve: () => void = () => undefined;
  #signalled = false;
  readonly #stay = setInterval(() => undefined, LONG_MS);
  readonly #listener = (): void => {
    if (this.#signalled) process.exit(EXIT_INTERRUPTED);
    this.#signalled = true;
    this.now();
  };

  constructor() {
    this.reached = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    for (const signal of SIGNALS) process.on(signal, this.#listener);
  }

  get over(): boolean {
    return this.#over;
  }

  now(): void {
    this.#over = true;
    clearInterval(this.#stay);
    this.#resolve();
  }

  /** Stops listening to signals, and keeps the process no longer. */
  stop(): void {
    clearInterval(this.#stay);
    for (const signal of SIGNALS) process.off(signal, this.#listener);
  }
}
