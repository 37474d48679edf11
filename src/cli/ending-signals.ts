// The signals that end a program in order: Ctrl-C, `kill`, and a closed terminal. Those that come within a second of the first one are the same request:
// where a terminal is closed, the shell and the kernel both send SIGHUP; some service managers send SIGHUP after SIGTERM. A later one is of somebody who
// does not want to wait, and ends the process at once.

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SAME_REQUEST_MS = 1000;

/** Exit code of a command that was ended by Ctrl-C: 128 + SIGINT, as in shells. */
export const EXIT_INTERRUPTED = 130;

export class EndingSignals {
  #firstMs: number | null = null;
  readonly #listener: () => void;

  /** Calls `first` at the first signal. */
  constructor(first: () => void, nowMs = () => performance.now()) {
    this.#listener = () => {
      if (this.#firstMs === null) {
        this.#firstMs = nowMs();
        first();
      } else if (nowMs() - this.#firstMs >= SAME_REQUEST_MS) process.exit(EXIT_INTERRUPTED);
    };
    for (const signal of SIGNALS) process.on(signal, this.#listener);
  }

  /** Signals are the system's again. */
  stop(): void {
    for (const signal of SIGNALS) process.off(signal, this.#listener);
  }
}
