// The end of a server: by `now`, or by a signal. A second signal ends the process at once.

import { EXIT_INTERRUPTED } from './session.js';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

export class End {
  /** Resolves when the server is to end. */
  readonly reached: Promise<void>;
  #over = false;
  #resolve: () => void = () => undefined;
  #signalled = false;
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
    this.#resolve();
  }

  /** Stops listening to signals. */
  stop(): void {
    for (const signal of SIGNALS) process.off(signal, this.#listener);
  }
}
