// The signals that end a program in order: Ctrl-C, `kill`, and a closed terminal. Those that come within a second of the first one are the same request:
// where a terminal is closed, the shell and the kernel both send SIGHUP; some service managers send SIGHUP after SIGTERM. A later one is of somebody who
// does not want to wait, and ends the process at once.

import { ENDING_CODES, type EndingSignal, endProcess } from './end-process.js';
import { heardSignals } from './ignored-signals.js';

const SAME_REQUEST_MS = 1000;

export class EndingSignals {
  #firstMs: number | null = null;
  #exitCode: number = ENDING_CODES.SIGINT;
  readonly #listener: (signal: NodeJS.Signals) => void;

  readonly #signals: readonly EndingSignal[];

  /** Calls `first` at the first signal, and `end` at one that does not wait. `signals`: those that the caller ignores are none of them, unless they are given. */
  constructor(
    first: () => void,
    {
      nowMs = () => performance.now(),
      end = endProcess,
      signals = heardSignals(),
    }: { nowMs?(): number; end?(exitCode: number): void; signals?: readonly EndingSignal[] } = {},
  ) {
    this.#signals = signals;
    this.#listener = (signal) => {
      if (this.#firstMs === null) {
        this.#firstMs = nowMs();
        this.#exitCode = ENDING_CODES[signal as EndingSignal];
        first();
      } else if (nowMs() - this.#firstMs >= SAME_REQUEST_MS) end(this.#exitCode);
    };
    for (const signal of signals) process.on(signal, this.#listener);
  }

  /** A signal has come. */
  get received(): boolean {
    return this.#firstMs !== null;
  }

  /** Stands for the first signal: a command that ends with it dies by that signal (see `endProcess`). */
  get exitCode(): number {
    return this.#exitCode;
  }

  /** Signals are the system's again. */
  stop(): void {
    for (const signal of this.#signals) process.off(signal, this.#listener);
  }
}
