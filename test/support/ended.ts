// How a command ends that a signal was for: by that signal, so that a shell sees it (`$?` is 128 and its number there). An exit code of its own would be another
// end: bash goes on with a script then.

import { constants } from 'node:os';

export type EndingSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** What `exit` and `close` of a child process pass where it died by `signal`. */
export function diedBy(signal: EndingSignal): [code: null, signal: EndingSignal] {
  return [null, signal];
}

/** `TerminalOutcome.code` of a program that died by `signal`. */
export function codeOfDeathBy(signal: EndingSignal): number {
  return -constants.signals[signal];
}
