// What a shell completes: the verbs, and the options of each with what their arguments may be, from the tables that the command line itself is read by.

import type { FormatNames } from '../format-names.js';
import type { OptionSpec } from '../getopt.js';
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
}

/** The verbs of `listed`, and the word `help`. */
export async function completedVerbs(
  listed: Readonly<Record<string, ListedVerb>>,
  formats: FormatNames,
): Promise<CompletedVerb[]> {
  const names = Object.keys(listed);
  const verbs = await Promise.all(
    Object.entries(listed).map(async ([name, { summary, load }]): Promise<CompletedVerb> => {
      const { verb } = await load();
      const options = optionsOf(verb).filter(({ refused }) => !refused);
      return {
        name,
        summary,
        options: options.map((option) => completed(option, formats, listOf(verb, option))),
        operands: verb.operands ?? 'files',
      };
    }),
  );
  return [...verbs, { name: HELP, summary: 'explain a command', options: [], operands: names }];
}

/** The list that the argument of `option` is; undefined: it is none. */
function listOf(verb: Verb, { key }: OptionSpec): OptionList | undefined {
  if (key !== 'options') return undefined;
  const format = ['output-format', 'target-format', 'format'].flatMap(
    (name) => verb.options.find((one) => one.key === name) ?? [],
  );
  return { kind: verb.name === 'amend' ? 'amend' : 'create', format: namesOf(format[0]!) };
}

function namesOf({ short, long }: OptionSpec): string[] {
  return [...(short === undefined ? [] : [`-${short}`]), ...(long === undefined ? [] : [`--${long}`])];
}

function completed(option: OptionSpec, formats: FormatNames, list: OptionList | undefined): CompletedOption {
  const { argument, values, help } = option;
  const text = typeof help === 'string' ? help : help(formats);
  return {
    names: namesOf(option),
    argument,
    values: list ?? values ?? valuesOf(argument, formats),
    help: /^.*?[.:](?= |$)|^.*/.exec(text)![0].replace(/[.:]$/, ''),
  };
}

function valuesOf(argument: string | undefined, formats: FormatNames): CompletedOption['values'] {
  if (argument?.endsWith('FMT')) return formats.each;
  return argument !== undefined && NAMES_OF_FILES.has(argument) ? 'files' : 'anything';
}
