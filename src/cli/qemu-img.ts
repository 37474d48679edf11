// The program under the name qemu-img: that tool's standard options, its verbs and no others, and its messages.

import { parseOptions, QEMU_IMG_WORDS, UsageError } from './getopt.js';
import { qemuImgHelp, qemuImgVersion } from './qemu-img-help.js';
import { formats, print, runVerb } from './run-verb.js';
import { checkTrace } from './trace.js';
import { VERBS, verbCalled } from './verb-table.js';

const STANDARD_OPTIONS = [
  { key: 'help', short: 'h', long: 'help', help: '' },
  { key: 'version', short: 'V', long: 'version', help: '' },
  { key: 'trace', short: 'T', long: 'trace', argument: 'PATTERN', help: '' },
] as const;

/** Runs a command line of qemu-img and resolves with its exit code. Throws `UsageError`. */
export async function runAsQemuImg(args: readonly string[]): Promise<number> {
  if (args.length === 0) throw new UsageError('Not enough arguments', true);
  // The standard options stand before the verb.
  const end = standardEnd(args);
  const { inOrder } = parseOptions(args.slice(0, end), STANDARD_OPTIONS, QEMU_IMG_WORDS);
  for (const [key, value] of inOrder) {
    if (key === 'help') return print(await qemuImgHelp(await formats()));
    if (key === 'version') return print(qemuImgVersion());
    checkTrace(value);
  }
  const [name, ...rest] = args.slice(args[end] === '--' ? end + 1 : end);
  if (name === undefined) return 0;
  if (!VERBS[name]?.ofQemuImg) throw new UsageError(`Command not found: ${name}`, true);
  return runVerb(await verbCalled(name), rest);
}

/** Index of the first word that is no standard option, nor the argument of one. */
function standardEnd(args: readonly string[]): number {
  let at = 0;
  while (at < args.length && args[at].startsWith('-') && args[at] !== '-' && args[at] !== '--') {
    const takesNext = /^-[hV]*T$/.test(args[at]) || (args[at].length > 2 && '--trace'.startsWith(args[at]));
    at += takesNext ? 2 : 1;
  }
  return Math.min(at, args.length);
}
