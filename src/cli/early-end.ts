// A signal that ends a command while its images are still being opened, which takes long where a server does not answer or a key is derived:
//
//   session --early end--> [images are opened] --> Interrupt, End: signals are theirs
//   BreakOff --> session                       --> [all is closed]: signals are its own throughout
//
// A command that has the system's calls done on the main thread (`waits`, `opens`) has no early end: it hears of a signal after the call, so while it only reads, the system ends
// it. One that changes an image has a `BreakOff` all the same: its calls are short, but for an fsync on a slow disk, after which the signal is heard.

import { endProcess } from './end-process.js';
import { EndingSignals } from './ending-signals.js';
import { heardSignals } from './ignored-signals.js';
import { reportError } from './output.js';
import { failProgress } from './progress.js';

export const BEFORE_THE_WORK = 'Interrupted before the work began.';
export const AFTER_THE_WORK = 'Interrupted after the work was done.';

/** Whoever listens to signals while a session is open. */
export interface SignalListener {
  /** Of the signal that has come; null: none has. */
  readonly exitCode: number | null;
  /** All is done and closed: from now on a signal is only taken note of. */
  done?(): void;
  /** The work has failed, and all is closed. Ends the process where a signal has kept it from beginning. */
  endedInOrder?(): void;
  /** Signals are the system's again. */
  stop(): void;
}

let early: EndingSignals | null = null;

/** From now on a signal ends the command after one sentence, unless somebody listens to signals already. */
export function beginEarlyEnd(): void {
  if (early !== null || heardSignals().some((each) => process.listenerCount(each) > 0)) return;
  const signals = new EndingSignals(() => endEarly(signals.exitCode));
  early = signals;
}

/** Ends the command at once, as by a signal that comes while images are being opened. */
export function endEarly(exitCode: number): never {
  endAtOnce(exitCode, BEFORE_THE_WORK);
}

/** Ends the command at once, by a signal: `sentence` says what state the files are in. */
export function endAtOnce(exitCode: number, sentence: string): never {
  reportError(sentence);
  failProgress();
  endProcess(exitCode);
}

/**
 * Signals are somebody else's from now on, or the system's. Whoever takes them over listens first: with the last listener, node forgets a signal that has come and that it has
 * not told of yet, and the command would go on.
 */
export function stopEarlyEnd(): void {
  early?.stop();
  early = null;
}
