// What a verb of the command line is, and its help text.

import type { OptionSpec, ParsedOptions } from './getopt.js';
import { PROGRAM } from './output.js';

export interface Verb {
  name: string;
  /** Behind the name: `[options] FILENAME`. */
  synopsis: string;
  /** What it does, in a few sentences; paragraphs are separated by empty lines. */
  description: string;
  options: readonly OptionSpec[];
  /** Further sections of the help: title and text. */
  notes?: readonly (readonly [string, string])[];
  /** Command line, and what it does. */
  examples: readonly (readonly [string, string])[];
  /** Resolves with the exit code. */
  run(options: ParsedOptions): Promise<number>;
}

const WIDTH = 100;

/** The help of one verb. */
export function verbHelp(verb: Verb): string {
  const supported = verb.options.filter((option) => !option.refused);
  const refused = verb.options.filter((option) => option.refused);
  const sections = [
    `usage: ${PROGRAM} ${verb.name} ${verb.synopsis}`,
    verb.description
      .split('\n\n')
      .map((paragraph) => wrap(paragraph, 0))
      .join('\n\n'),
    `Options:\n${supported.map(optionHelp).join('\n')}`,
  ];
  for (const [title, text] of verb.notes ?? []) sections.push(`${title}:\n${indent(text)}`);
  if (refused.length > 0) {
    sections.push(wrap(`Known to qemu-img, not supported yet: ${refused.map(optionNames).join(', ')}.`, 0));
  }
  sections.push(`Examples:\n${verb.examples.map(([line, what]) => `  ${line}\n      ${what}`).join('\n')}`);
  return `${sections.join('\n\n')}\n`;
}

function optionNames({ short, long }: OptionSpec): string {
  return [short && `-${short}`, long && `--${long}`].filter(Boolean).join(', ');
}

function optionHelp(option: OptionSpec): string {
  const { argument, long } = option;
  const joint = long === undefined ? ' ' : '=';
  return `  ${optionNames(option)}${argument === undefined ? '' : joint + argument}\n${wrap(option.help, 6)}`;
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n');
}

function wrap(text: string, margin: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line !== '' && margin + line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  lines.push(line);
  return lines.map((text) => ' '.repeat(margin) + text).join('\n');
}
