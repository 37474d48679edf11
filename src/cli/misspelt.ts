// What may have been meant by the words of a command line that has failed: values of options, formats, and words that are options without their dashes.

import { existsSync } from 'node:fs';
import { hintOn } from '../block/registry.js';
import { registerDrivers } from '../drivers/index.js';
import { meantLine, suggestion } from '../util/nearest.js';
import type { OptionSpec, ParsedOptions } from './getopt.js';
import type { Verb } from './verb.js';

/** Lines for a person about the first word that cannot be right; empty where all may be. */
export function linesOnWords({ operands }: Verb, specs: readonly OptionSpec[], given: ParsedOptions): string[] {
  const [first] = given.positional;
  const options = given.inOrder.map(([key, value]) => lineOnValue(specs.find((spec) => spec.key === key)!, value));
  const operand =
    first !== undefined && typeof operands === 'object' && !operands.includes(first)
      ? meantLine(first, operands)
      : undefined;
  const line = [...options, operand].find((each) => each !== undefined);
  return line === undefined ? [] : [line];
}

/** The line about an operand that is called as an option is, for a command line that is refused; a file of that name is meant as it stands. */
export function lineOnOperands(specs: readonly OptionSpec[], given: ParsedOptions): string[] {
  const option = specs.find(({ long }) => long !== undefined && given.positional.includes(long) && !existsSync(long));
  return option === undefined ? [] : [suggestion(`--${option.long}`)];
}

function lineOnValue({ argument, values }: OptionSpec, value: string): string | undefined {
  if (values !== undefined) return values.includes(value) ? undefined : meantLine(value, values);
  if (!argument?.endsWith('FMT')) return undefined;
  registerDrivers();
  return hintOn(value);
}
