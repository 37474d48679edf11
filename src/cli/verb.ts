// The type of a verb of the command line, and its help text.

import type { FormatNames } from './format-names.js';
import { type FormattedText, formatted, type GetoptWords, type OptionSpec, type ParsedOptions } from './getopt.js';
import { PROGRAM, program, QEMU_IMG } from './output.js';

export interface Verb {
  name: string;
  /** The arguments after the name: `[options] FILENAME`. */
  synopsis: string;
  /** What it does, in a few sentences; paragraphs are separated by empty lines. */
  description: FormattedText;
  options: readonly OptionSpec[];
  /** Messages for wrong options. Default: those of qemu-img, with a suggestion unless the program was called by its name. */
  words?: GetoptWords;
  /** The program or protocol that the options are taken from. Default: qemu-img. */
  peer?: string;
  /** Further sections of the help: title and text. */
  notes?: readonly (readonly [string, string])[];
  /** Pairs of a command line and what it does. */
  examples: readonly (readonly [string, string])[];
  /** Exit code where `run` rejects with anything but wrong options. Default: 1. */
  failureCode?: number;
  /** The last argument is no option, whatever it begins with: `-2M` is a size. There must be one argument before it. */
  lastIsOperand?: true;
  /** What its operands are, or its first one, for completion and for what may have been meant. Default: files. */
  operands?: 'folders' | readonly string[];
  /** What its operands behind the first one are, for completion; empty: a size, or a name that no shell knows. Default: as the first one. */
  laterOperands?: readonly string[];
  /** It opens no image: `--untrusted` would mean nothing. */
  opensNoImage?: true;
  /** Resolves with the exit code. */
  run(options: ParsedOptions): Promise<number>;
}

/** A verb in a list: its module is loaded when it is asked for. */
export interface ListedVerb {
  /** One line of the general help. */
  summary: string;
  load(): Promise<{ verb: Verb }>;
}

/** Placeholders of arguments that are names of files. */
export const NAMES_OF_FILES: ReadonlySet<string> = new Set([
  'BACKING_FILE',
  'BASE',
  'FILE',
  'MONITOR',
  'PATH',
  'SOURCE_FILE',
  'TARGET',
]);

/** The word that asks for help as a verb does: `diskwright help info`. */
export const HELP = 'help';

const WIDTH = 80;
const PLAIN_GROUP = 'Options';

/** The command whose `--help` explains a verb: `diskwright nbd`, or the other name that the program was called by. */
export function commandOf({ name }: Verb): string {
  return program() === PROGRAM ? `${PROGRAM} ${name}` : program();
}

/** An option of every verb that opens images; `main` and the session implement it. */
export const UNTRUSTED: OptionSpec = {
  key: 'untrusted',
  long: 'untrusted',
  help: 'The images come from strangers: a backing file is opened only if it is a plain file in the folder of the image that names it.',
};

/** A verb's own options and those of all verbs; where the program is called as qemu-img, only what that has. */
export function optionsOf(verb: Verb, called: string = program()): readonly OptionSpec[] {
  if (called === QEMU_IMG) {
    const its = verb.options.filter(({ own }) => own !== true);
    return its.map((option) => (option.own === 'long' ? { ...option, long: undefined } : option));
  }
  if (verb.opensNoImage) return verb.options;
  return [...verb.options, { ...UNTRUSTED, group: verb.options.find(({ key }) => key === 'help')?.group }];
}

/** The help of one verb. */
export function verbHelp(verb: Verb, formats: FormatNames): string {
  const supported = optionsOf(verb).filter((option) => !option.refused);
  const refused = verb.options.filter((option) => option.refused);
  const sections = [
    usage(verb),
    formatted(verb.description, formats)
      .split('\n\n')
      .map((paragraph) => wrap(paragraph, 0))
      .join('\n\n'),
    ...groupsOf(supported).map(
      ([title, options]) => `${title}:\n${options.map((option) => optionHelp(option, formats)).join('\n')}`,
    ),
  ];
  for (const [title, text] of verb.notes ?? []) sections.push(`${title}:\n${indent(text)}`);
  if (refused.length > 0) {
    const peer = verb.peer ?? 'qemu-img';
    sections.push(wrap(`Known to ${peer}, not supported yet: ${refused.map(optionNames).join(', ')}.`, 0));
  }
  sections.push(`Examples:\n${verb.examples.map((example) => exampleHelp(verb, example)).join('\n')}`);
  return `${sections.join('\n\n')}\n`;
}

/** The synopsis, wrapped; a part in brackets is not broken. */
function usage(verb: Verb): string {
  const command = `usage: ${commandOf(verb)}`;
  const margin = command.length + 1;
  const parts = verb.synopsis.match(/\[[^\]]*\]\S*|\S+/g) ?? [];
  return `${command} ${fill(parts, margin).trimStart()}`;
}

/** Options by the headings that they stand under, in the order of the first of each. */
export function groupsOf(options: readonly OptionSpec[]): [string, OptionSpec[]][] {
  const groups = new Map<string, OptionSpec[]>();
  for (const option of options) {
    const title = option.group ?? PLAIN_GROUP;
    groups.set(title, [...(groups.get(title) ?? []), option]);
  }
  return [...groups];
}

function exampleHelp(verb: Verb, [line, what]: readonly [string, string]): string {
  const command = line.replaceAll(`${PROGRAM} ${verb.name}`, commandOf(verb));
  return `  ${continued(command)}\n${wrap(what, 6)}`;
}

function optionNames({ short, long }: OptionSpec): string {
  return [short && `-${short}`, long && `--${long}`].filter(Boolean).join(', ');
}

function optionHelp(option: OptionSpec, formats: FormatNames): string {
  const { argument, long, help } = option;
  const text = formatted(help, formats);
  const joint = long === undefined ? ' ' : '=';
  return `  ${optionNames(option)}${argument === undefined ? '' : joint + argument}\n${wrap(text, 6)}`;
}

/** A command line that a shell reads as one, also where it takes several lines. */
function continued(command: string): string {
  return command.length + 2 <= WIDTH ? command : fill(command.split(' '), 4, ' \\').trimStart();
}

/** Indents lines; those that are too long are wrapped. */
function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => (line.length + 2 > WIDTH ? wrap(line, 2) : `  ${line}`))
    .join('\n');
}

export function wrap(text: string, margin: number): string {
  return fill(text.split(/\s+/), margin);
}

/** Fills lines of at most `WIDTH` columns with words, indented by `margin`. A line that is continued ends with `joint`. */
function fill(words: readonly string[], margin: number, joint = ''): string {
  const lines: string[] = [];
  const width = WIDTH - margin - joint.length;
  let line = '';
  for (const word of words) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  lines.push(line);
  return lines.map((text) => ' '.repeat(margin) + text).join(`${joint}\n`);
}
