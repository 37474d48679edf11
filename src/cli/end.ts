// The end of a server: by `now`, or by a signal (`ending-signals.ts`). Until then the process stays, also where nothing else keeps it: a daemon whose
// monitor was at an input that has ended.

import { stopEarlyEnd } from './early-end.js';
import { ENDING_SIGNALS } from './end-process.js';
import { EndingSignals } from './ending-signals.js';

/** The longest time of a timer. */
const LONG_MS = 2 ** 31 - 1;

export class End {
  /** Resolves when the server is to end. */
  readonly reached: Promise<void>;
  #over = false;
  #resolve: () => void = () => undefined;
  readonly #stay = setInterval(() => undefined, LONG_MS);
  // As QEMU's servers, also those that the caller ignores.
  readonly #signals = new EndingSignals(() => this.now(), { signals: ENDING_SIGNALS });

  constructor() {
    stopEarlyEnd();
    this.reached = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get over(): boolean {
    return this.#over;
  }

  /** The exit code of a program that a signal ended. */
  get exitCode(): number {
    return this.#signals.exitCode;
  }

  now(): void {
    this.#over = true;
    clearInterval(this.#stay);
    this.#resolve();
  }

  /** Stops listening to signals, and keeps the process no longer. */
  stop(): void {
    clearInterval(this.#stay);
    this.#signals.stop();
  }
}
