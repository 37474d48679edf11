// The signals that end a program in order: Ctrl-C, `kill`, and a closed terminal. Those that come within a second of the first one are the same request:
// where a terminal is closed, the shell and the kernel both send SIGHUP; some service managers send SIGHUP after SIGTERM. A later one is of somebody who
// does not want to wait, and ends the process at once.

const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;
const SAME_REQUEST_MS = 1000;

/** Exit code of a command that a signal ended: 128 and the signal's number, as in shells. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

export class EndingSignals {
  #firstMs: number | null = null;
  #exitCode: number = EXIT_CODES.SIGINT;
  readonly #listener: (signal: NodeJS.Signals) => void;

  /** Calls `first` at the first signal. */
  constructor(first: () => void, nowMs = () => performance.now()) {
    this.#listener = (signal) => {
      if (this.#firstMs === null) {
        this.#firstMs = nowMs();
        this.#exitCode = EXIT_CODES[signal as (typeof SIGNALS)[number]];
        first();
      } else if (nowMs() - this.#firstMs >= SAME_REQUEST_MS) process.exit(this.#exitCode);
    };
    for (const signal of SIGNALS) process.on(signal, this.#listener);
  }

  /** The exit code of a command that was ended by the first signal. */
  get exitCode(): number {
    return this.#exitCode;
  }

  /** Signals are the system's again. */
  stop(): void {
    for (const signal of SIGNALS) process.off(signal, this.#listener);
  }
}
