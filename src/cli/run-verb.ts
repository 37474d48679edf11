// Runs one verb: options in, help where it is asked for, the failure reported, the exit code out.

import type { FormatNames } from './format-names.js';
import { OWN_WORDS, ParsedOptions, parseOptions, QEMU_IMG_WORDS, UsageError } from './getopt.js';
import { ONLY_CONVERT, PROGRAM, program, QEMU_IMG, reportFailure, STANDARD, write, writeHints } from './output.js';
import { beginProgress, failProgress } from './progress.js';
import { commandOf, NAMES_OF_FILES, optionsOf, UNTRUSTED, type Verb, verbHelp } from './verb.js';
import { isOwn } from './verb-table.js';

/** Runs a verb, and reports its failure. */
export async function runVerb(verb: Verb, args: readonly string[]): Promise<number> {
  let given: ParsedOptions | null = null;
  try {
    if (asksForHelp(args)) return print(await helpFor(verb));
    const options = optionsIn(verb, args);
    given = options;
    if (options.has('help')) return print(await helpFor(verb));
    const objects = options.all('object').find((text) => text.endsWith('help'));
    const help = objects === undefined ? null : (await import('./object-help.js')).objectHelp(objects);
    if (help !== null) return print(help);
    refuseStandard(verb, options);
    if (options.has(UNTRUSTED.key)) (await import('./session.js')).trustNoImage();
    beginProgress(options);
    const code = await verb.run(options);
    if (code !== 0) {
      writeHints(await hintsOn(verb, given, false));
      failProgress();
    }
    return code;
  } catch (error) {
    reportFailure(error, commandOf(verb), await hintsOn(verb, given, error instanceof UsageError));
    failProgress();
    return error instanceof UsageError ? 1 : (verb.failureCode ?? 1);
  }
}

/** Our own verbs have no `-`: who types it means standard input or output. Throws `UsageError`. */
function refuseStandard(verb: Verb, options: ParsedOptions): void {
  if (!isOwn(verb)) return;
  const files = optionsOf(verb).filter(({ argument }) => argument !== undefined && NAMES_OF_FILES.has(argument));
  const named = [...options.positional, ...files.flatMap(({ key }) => options.all(key))];
  if (!named.includes(STANDARD)) return;
  throw new UsageError(`'-' is no image: '${verb.name}' works on files`, false, [
    `${ONLY_CONVERT} A file that is called - is './-'.`,
  ]);
}

/** Lines about words that may be misspelt; none where the program was called by another's name. */
async function hintsOn(verb: Verb, given: ParsedOptions | null, misused: boolean): Promise<string[]> {
  if (given === null || program() !== PROGRAM) return [];
  const { lineOnOperands, linesOnWords } = await import('./misspelt.js');
  const lines = linesOnWords(verb, optionsOf(verb), given);
  return lines.length > 0 || !misused ? lines : lineOnOperands(optionsOf(verb), given);
}

function optionsIn(verb: Verb, args: readonly string[]): ParsedOptions {
  const words = verb.words ?? (program() === QEMU_IMG ? QEMU_IMG_WORDS : OWN_WORDS);
  if (!verb.lastIsOperand) return parseOptions(args, optionsOf(verb), words);
  const last = args.at(-1);
  if (last === undefined || args.length < 2) throw new UsageError('Not enough arguments', true);
  const { inOrder, positional } = parseOptions(args.slice(0, -1), optionsOf(verb), words);
  return new ParsedOptions(inOrder, [...positional, last]);
}

/** As qemu-img, there is one help for all verbs. */
async function helpFor(verb: Verb): Promise<string> {
  if (program() === QEMU_IMG) return (await import('./qemu-img-help.js')).qemuImgHelp(await formats());
  return verbHelp(verb, await formats());
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end < 0 ? undefined : end).some((word) => word === '--help' || word === '-h');
}

export function print(text: string): number {
  write(text);
  return 0;
}

export async function formats(): Promise<FormatNames> {
  return (await import('./format-names.js')).formatNames();
}
