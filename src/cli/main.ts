// The entry of the command line: finds the verb, loads no module but its own, runs it and returns the exit code.

import { nearestWord } from '../util/nearest.js';
import type { FormatNames } from './format-names.js';
import { OWN_WORDS, ParsedOptions, parseOptions, QEMU_IMG_WORDS, UsageError } from './getopt.js';
import { PROGRAM, program, QEMU_IMG, reportFailure, setProgram, write } from './output.js';
import { beginProgress, failProgress } from './progress.js';
import { commandOf, optionsOf, UNTRUSTED, type Verb, verbHelp, wrap } from './verb.js';
import { REFUSED, REPLACED_PROGRAMS, VERBS } from './verb-table.js';

/** The word that asks for help as a verb does: `diskwright help info`. */
const HELP = 'help';

/**
 * Runs one command line and resolves with its exit code. `args` are without node and the script; `calledAs` is the name that the program was
 * called by.
 */
export async function main(args: readonly string[], calledAs = PROGRAM): Promise<number> {
  try {
    if (calledAs === QEMU_IMG) {
      setProgram(calledAs);
      return await (await import('./qemu-img.js')).runAsQemuImg(args);
    }
    if (Object.hasOwn(REPLACED_PROGRAMS, calledAs)) {
      setProgram(calledAs);
      return await runVerb(await verbCalled(REPLACED_PROGRAMS[calledAs]), args);
    }
    const [name, ...rest] = args;
    if (name === undefined) throw new UsageError('Not enough arguments', true);
    if (name === '--help' || name === '-h') return print(generalHelp(await formats()));
    if (name === '--version' || name === '-V') return print(await versionFor(rest));
    if (name.startsWith('-')) throw new UsageError(`unrecognized option '${name}'`, true);
    if (name === HELP) return print(await helpOn(rest));
    return await runVerb(await verbCalled(name), rest);
  } catch (error) {
    reportFailure(error);
    return 1;
  }
}

/** Loads a verb. Throws `UsageError` where there is none of that name. */
export async function verbCalled(name: string): Promise<Verb> {
  if (Object.hasOwn(VERBS, name)) return (await VERBS[name].load()).verb;
  if (REFUSED.includes(name)) throw new UsageError(`command '${name}' is not supported yet`);
  const nearest = nearestWord(name, [...Object.keys(VERBS), HELP]);
  throw new UsageError(`Command not found: ${name}`, true, nearest === undefined ? [] : [`Did you mean '${nearest}'?`]);
}

/** `diskwright help`, `diskwright help VERB`. */
async function helpOn(args: readonly string[]): Promise<string> {
  const [name, extra] = args;
  if (extra !== undefined) throw new UsageError(`Unexpected argument: ${extra}`, true);
  if (name === undefined || name === '--help' || name === '-h') return generalHelp(await formats());
  return verbHelp(await verbCalled(name), await formats());
}

/** `--version`, and `--version --json`. */
async function versionFor(rest: readonly string[]): Promise<string> {
  const wrong = rest.find((word) => word !== '--json');
  if (wrong !== undefined) throw new UsageError(`Unexpected argument: ${wrong}`, true);
  const { versionText, versionJson } = await import('./version.js');
  return rest.length > 0 ? versionJson() : versionText();
}

/** Runs a verb, and reports its failure. */
export async function runVerb(verb: Verb, args: readonly string[]): Promise<number> {
  try {
    if (asksForHelp(args)) return print(await helpFor(verb));
    const options = optionsIn(verb, args);
    if (options.has('help')) return print(await helpFor(verb));
    if (options.has(UNTRUSTED.key)) (await import('./session.js')).trustNoImage();
    beginProgress(options);
    const code = await verb.run(options);
    if (code !== 0) failProgress();
    return code;
  } catch (error) {
    reportFailure(error, commandOf(verb));
    failProgress();
    return error instanceof UsageError ? 1 : (verb.failureCode ?? 1);
  }
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
  if (program() === QEMU_IMG) return (await import('./qemu-img.js')).qemuImgHelp(await formats());
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

function generalHelp({ all }: FormatNames): string {
  const width = Math.max(...Object.keys(VERBS).map((name) => name.length));
  const verbs = Object.entries(VERBS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `usage: ${PROGRAM} COMMAND [options] ...
${wrap(`Works on disk images in files, on block devices and in NBD exports, and on chains of them. Formats: ${all}.`, 0)}

Commands:
${verbs.join('\n')}

  ${PROGRAM} help COMMAND, or ${PROGRAM} COMMAND --help
      explains a command, its options and its exit codes
  ${PROGRAM} --help
      shows this help
  ${PROGRAM} --version [--json]
      shows the version, the I/O engine and the codecs

Commands of qemu-img have its options and output, nbd has those of qemu-nbd;
salvage, compact and shims are Diskwright's own; the options of
stream, mirror and backup are QMP's. Long options cannot be abbreviated. Sizes
take the suffixes k, M, G, T, P and E (powers of 1024).

Not supported yet: qemu-img's ${REFUSED.slice(0, -1).join(', ')} and ${REFUSED.at(-1)};
several sources of one convert.
`;
}
