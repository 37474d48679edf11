// The end, by a signal, of a command whose every step leaves a valid image: it ends at once, as by a power cut, after it has said in what state the files are.

import { endAtOnce, stopEarlyEnd } from './early-end.js';
import { EndingSignals } from './ending-signals.js';

interface BreakOffOptions {
  /** Called first, with the exit code. */
  end?(exitCode: number): void;
  afterMs?: number;
}

export class BreakOff {
  #signals: EndingSignals | null = null;
  readonly #timer: NodeJS.Timeout | null = null;

  /**
   * From now on, or after `afterMs`, a signal ends the process: `end` is called with the exit code, and `state`, a sentence, is reported. Until then it is the
   * system that a signal is for. What changes an image gives it to the session (`SessionOptions.breakOff`): an open and a close may write, too.
   */
  constructor(state: string | (() => string), { end, afterMs = 0 }: BreakOffOptions = {}) {
    const listen = (): void => {
      stopEarlyEnd();
      const signals = new EndingSignals(() => {
        end?.(signals.exitCode);
        endAtOnce(signals.exitCode, `Interrupted. ${typeof state === 'string' ? state : state()}`);
      });
      this.#signals = signals;
    };
    if (afterMs === 0) listen();
    else this.#timer = setTimeout(listen, afterMs).unref();
  }

  /** Signals are the system's again. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#signals?.stop();
  }
}
