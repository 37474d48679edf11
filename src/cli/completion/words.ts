// What a shell completes: the verbs, and the options of each with what their arguments may be, from the tables that the command line itself is read by.
// A program of QEMU's in whose place Diskwright is called (`diskwright shims`) has the tables that it is read by then.

import type { FormatNames } from '../format-names.js';
import { formatted, type OptionSpec } from '../getopt.js';
import { AS, PROGRAM, SHIMS } from '../output.js';
import { HELP, type ListedVerb, NAMES_OF_FILES, optionsOf, type Verb } from '../verb.js';
import type { ListKind } from './lists.js';

export interface CompletedOption {
  /** `-f`, `--format`. */
  names: readonly string[];
  /** Placeholder of the argument; undefined: it takes none. */
  argument: string | undefined;
  /** What the argument may be. */
  values: readonly string[] | 'files' | 'anything' | OptionList;
  /** The first sentence of the help. */
  help: string;
}

/** The argument is a list `name=value,...`. */
export interface OptionList {
  kind: ListKind;
  /** The option that names the format whose options these are. */
  format: readonly string[];
}

export interface CompletedVerb {
  name: string;
  summary: string;
  options: readonly CompletedOption[];
  operands: readonly string[] | 'files' | 'folders';
  /** What those behind the first one are; undefined: the same. */
  later?: readonly string[];
}

export interface CompletedProgram {
  name: string;
  /** The only one of a program whose command line begins with options: `qemu-io`. */
  alone?: CompletedVerb;
  /** Empty where there is one alone. */
  verbs: readonly CompletedVerb[];
  /** Options that may stand in the place of a verb. */
  general: readonly GeneralOption[];
}

export interface GeneralOption {
  name: string;
  help: string;
  /** What the argument may be; undefined: it takes none. */
  values?: readonly string[];
}

/** The verbs of the command line, and by the names of QEMU's programs what those have. */
export interface CompletedTables {
  verbs: Readonly<Record<string, ListedVerb & { ofQemuImg?: true }>>;
  /** The verb that takes the command line of a program; qemu-img has verbs of its own. */
  replaced: Readonly<Record<string, string>>;
}

const OF_ALL: readonly GeneralOption[] = [
  { name: '--help', help: 'Show the general help' },
  { name: '--version', help: 'Show the version' },
];

/** The command that prints the completion of a program. */
export function madeBy(program: string, shell: string): string {
  return [PROGRAM, 'completion', shell, ...(program === PROGRAM ? [] : [program])].join(' ');
}

/** `name`: Diskwright, qemu-img, or one of the programs that a verb replaces. */
export async function completedProgram(
  name: string,
  { verbs: listed, replaced }: CompletedTables,
  formats: FormatNames,
): Promise<CompletedProgram> {
  const completedVerb = async ([word, { summary, load }]: [string, ListedVerb]): Promise<CompletedVerb> => {
    const { verb } = await load();
    const options = optionsOf(verb, name).filter(({ refused }) => !refused);
    return {
      name: word,
      summary,
      options: options.map((option) => completed(option, formats, listOf(verb, option))),
      operands: verb.operands ?? 'files',
      later: verb.laterOperands,
    };
  };
  if (name === PROGRAM) {
    const verbs = await Promise.all(Object.entries(listed).map(completedVerb));
    const help = { name: HELP, summary: 'explain a command', options: [], operands: Object.keys(listed), later: [] };
    const as = { name: AS.slice(0, -1), help: 'Take the command line of that tool', values: SHIMS };
    return { name, verbs: [...verbs, help], general: [as, ...OF_ALL] };
  }
  const alone = replaced[name];
  if (alone !== undefined) return { name, alone: await completedVerb([alone, listed[alone]]), verbs: [], general: [] };
  const its = Object.entries(listed).filter(([, { ofQemuImg }]) => ofQemuImg);
  return { name, verbs: await Promise.all(its.map(completedVerb)), general: OF_ALL };
}

/** The list that the argument of `option` is; undefined: it is none. */
function listOf(verb: Verb, { key }: OptionSpec): OptionList | undefined {
  if (key !== 'options') return undefined;
  const isAmend = verb.name === 'amend';
  const format = verb.options.find((one) => (isAmend ? one.key === 'format' : one.namesNewFormat));
  return { kind: isAmend ? 'amend' : 'create', format: format === undefined ? [] : namesOf(format) };
}

/** The options that take an argument as the next word. */
export function namesWithArgument({ options }: CompletedVerb): string[] {
  return options.flatMap(({ names, argument }) => (argument === undefined ? [] : names));
}

function namesOf({ short, long }: OptionSpec): string[] {
  return [...(short === undefined ? [] : [`-${short}`]), ...(long === undefined ? [] : [`--${long}`])];
}

function completed(option: OptionSpec, formats: FormatNames, list: OptionList | undefined): CompletedOption {
  const { argument, values, help } = option;
  const text = formatted(help, formats);
  return {
    names: namesOf(option),
    argument,
    values: list ?? values ?? valuesOf(option, formats),
    help: /^.*?[.:](?= |$)|^.*/.exec(text)![0].replace(/[.:]$/, ''),
  };
}

function valuesOf({ argument, namesNewFormat }: OptionSpec, formats: FormatNames): CompletedOption['values'] {
  if (argument?.endsWith('FMT')) return namesNewFormat ? formats.eachMade : formats.each;
  return argument !== undefined && NAMES_OF_FILES.has(argument) ? 'files' : 'anything';
}
