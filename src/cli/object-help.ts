// What `--object help` and `--object TYPE,help` print.

import { listTypes, settableOf } from '../block/objects/qom.js';

/** The kinds of objects, or the properties of one; null: no help is asked for. */
export function objectHelp(text: string): string | null {
  const [, type] = /^(?:([^,=]+),)?help$/.exec(text) ?? [null, null];
  if (type === null) return null;
  const types = listTypes('user-creatable').map(({ name }) => name);
  if (type === undefined || !types.includes(type)) return helpPage('List of user creatable objects:', types);
  const properties = settableOf(type).map(({ name, type: kind }) => `${name}=<${kind}>`);
  return helpPage(`${type} options:`, properties);
}

/** A title, and what it is of, in order. */
export function helpPage(title: string, lines: readonly string[]): string {
  return `${title}\n${[...lines]
    .sort()
    .map((line) => `  ${line}\n`)
    .join('')}`;
}
