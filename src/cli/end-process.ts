// The end of the process. A command that a signal has ended cleans up, says in what state the files are, and then dies by that signal, as a program that does not
// listen to it: a shell, make or xargs sees who has ended it. Bash goes on with a script behind a program that Ctrl-C was for and that has ended by itself,
// whatever its exit code is.
//
//   exit code 129, 130, 143 --> nobody listens any more --> the same signal again --> the system ends the process
//   any other               --> exit

/** The signals that end a command in order, and the exit code that stands for each, as in shells: 128 and its number. */
export const ENDING_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

export type EndingSignal = keyof typeof ENDING_CODES;

export const ENDING_SIGNALS = Object.keys(ENDING_CODES) as EndingSignal[];

/** The exit code of a command whose other process was ended by `signal`: as if it had been for the command, where it may be. */
export function exitCodeOf(signal: string | null): number {
  return ENDING_SIGNALS.includes(signal as EndingSignal) ? ENDING_CODES[signal as EndingSignal] : 1;
}

let interruptedWith: number | null = null;

/** A signal, for which `code` stands, has come while the command did its work: where that does not succeed, the command dies by the signal. */
export function wasInterrupted(code: number): void {
  interruptedWith ??= code;
}

/**
 * Ends the process at once: by the signal that `code` stands for, or with `code`, by `exit`. A `code` other than 0 gives way to the signal of `wasInterrupted`. What is
 * left to be written is lost.
 */
export function endProcess(code: number, exit: (code: number) => never = process.exit): never {
  const last = code === 0 ? 0 : (interruptedWith ?? code);
  const signal = ENDING_SIGNALS.find((each) => ENDING_CODES[each] === last);
  if (signal !== undefined) {
    // With its last listener it is the system's again.
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  }
  // The first process of a container is spared by a signal that it does not listen to.
  return exit(last);
}
