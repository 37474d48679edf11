// What a shell completes: the verbs, and the options of each with what their arguments may be, from the tables that the command line itself is read by.

import type { FormatNames } from '../format-names.js';
import type { OptionSpec } from '../getopt.js';
import { HELP, type ListedVerb, NAMES_OF_FILES, optionsOf } from '../verb.js';

export interface CompletedOption {
  /** `-f`, `--format`. */
  names: readonly string[];
  /** Placeholder of the argument; undefined: it takes none. */
  argument: string | undefined;
  /** What the argument may be. */
  values: readonly string[] | 'files' | 'anything';
  /** The first sentence of the help. */
  help: string;
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
        options: options.map((option) => completed(option, formats)),
        operands: verb.operands ?? 'files',
      };
    }),
  );
  return [...verbs, { name: HELP, summary: 'explain a command', options: [], operands: names }];
}

function completed({ short, long, argument, values, help }: OptionSpec, formats: FormatNames): CompletedOption {
  const text = typeof help === 'string' ? help : help(formats);
  return {
    names: [...(short === undefined ? [] : [`-${short}`]), ...(long === undefined ? [] : [`--${long}`])],
    argument,
    values: values ?? valuesOf(argument, formats),
    help: /^.*?[.:](?= |$)|^.*/.exec(text)![0].replace(/[.:]$/, ''),
  };
}

function valuesOf(argument: string | undefined, formats: FormatNames): CompletedOption['values'] {
  if (argument?.endsWith('FMT')) return formats.each;
  return argument !== undefined && NAMES_OF_FILES.has(argument) ? 'files' : 'anything';
}
