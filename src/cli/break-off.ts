// The end, by a signal, of a command whose every step leaves a valid image. It says in what state the files are, and ends
//
//   at once, as by a power cut;
//   or in order (`inOrder`), where the images lose something by that (bitmaps stay marked as in use): before the work began nothing is done any more, and work that
//   has begun is done, if either takes no longer than `PATIENCE_MS`.

import type { BlockNode } from '../block/node/node.js';
import { BlockError } from '../util/errors.js';
import { BEFORE_THE_WORK, endAtOnce, type SignalListener, stopEarlyEnd } from './early-end.js';
import { EndingSignals } from './ending-signals.js';

/** A person who has typed Ctrl-C waits so long without asking what is wrong. */
const PATIENCE_MS = 1000;

interface BreakOffOptions {
  /** Called first, with the exit code. */
  end?(exitCode: number): void;
  /** A signal waits a while for the end in order. */
  inOrder?: boolean;
  afterMs?: number;
}

export class BreakOff implements SignalListener {
  #signals: EndingSignals | null = null;
  /** Until somebody listens, or until nobody waits any longer for the end in order. */
  #timer: NodeJS.Timeout | null = null;
  #begun = false;
  #done = false;
  readonly #state: string | (() => string);
  readonly #end: ((exitCode: number) => void) | undefined;

  /**
   * From now on, or after `afterMs`, a signal ends the process: `end` is called with the exit code, and `state`, a sentence, is reported. Until then it is the
   * system that a signal is for. What changes an image gives it to the session (`SessionOptions.breakOff`): an open and a close may write, too.
   */
  constructor(state: string | (() => string), { end, inOrder = false, afterMs = 0 }: BreakOffOptions = {}) {
    this.#state = state;
    this.#end = end;
    const listen = (): void => {
      this.#signals = new EndingSignals(() => {
        if (this.#done) return;
        if (inOrder) this.#timer = setTimeout(() => this.#now(), PATIENCE_MS).unref();
        else this.#now();
      });
      stopEarlyEnd();
    };
    if (afterMs === 0) listen();
    else this.#timer = setTimeout(listen, afterMs).unref();
  }

  get exitCode(): number | null {
    return this.#signals?.received ? this.#signals.exitCode : null;
  }

  /** The work begins. Throws `cancelled` where a signal came before. */
  begin(): void {
    if (this.exitCode !== null) throw new BlockError('cancelled', BEFORE_THE_WORK);
    this.#begun = true;
  }

  done(): void {
    this.#done = true;
  }

  endedInOrder(): void {
    const { exitCode } = this;
    if (exitCode === null || this.#begun) return;
    this.#end?.(exitCode);
    endAtOnce(exitCode, BEFORE_THE_WORK);
  }

  /** Signals are the system's again. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#signals?.stop();
  }

  #now(): void {
    const { exitCode } = this;
    if (exitCode === null || this.#done) return;
    this.#end?.(exitCode);
    endAtOnce(exitCode, `Interrupted. ${typeof this.#state === 'string' ? this.#state : this.#state()}`);
  }
}

/** The end of a sentence about an image that was changed in its place: clusters may be leaked where it has any. Null: it was not open yet. */
export function leaksIn(image: BlockNode | null): string {
  if (image?.abilities.repair === undefined) return '.';
  return '. Space may be lost: "diskwright check -r leaks" gives it back.';
}
