// The signals that a command's caller has it ignore: `nohup`, `trap '' HUP`, SIGINT of a job that a script starts with `&`. Node makes them the system's again before anything of
// ours runs; so the scripts of `shims`, which run before node, look what is ignored, and pass it.
//
//   script: SigIgn of /proc/self/status --> DISKWRIGHT_IGNORED_SIGNALS --> node --> ignoreSignals --> signals of the set end nothing, but for servers

import { constants } from 'node:os';
import { ENDING_SIGNALS, type EndingSignal } from './end-process.js';

/** A set of signals in hexadecimal digits, as the system has it: the lowest bit is signal 1. */
export const IGNORED_VARIABLE = 'DISKWRIGHT_IGNORED_SIGNALS';

let ignored: ReadonlySet<EndingSignal> = new Set();

/** From now on, the signals that the caller ignores do nothing, unless somebody listens to them. Is called once. */
export function ignoreSignals(): void {
  const passed = process.env[IGNORED_VARIABLE];
  // It is about this process, and not about those that it starts.
  delete process.env[IGNORED_VARIABLE];
  if (passed === undefined || !/^[0-9a-f]{1,32}$/.test(passed)) return;
  const set = BigInt(`0x${passed}`);
  ignored = new Set(ENDING_SIGNALS.filter((each) => (set >> BigInt(constants.signals[each] - 1)) & 1n));
  for (const signal of ignored) process.on(signal, () => undefined);
}

/** The signals that end a command. */
export function heardSignals(): EndingSignal[] {
  return ENDING_SIGNALS.filter((each) => !ignored.has(each));
}
