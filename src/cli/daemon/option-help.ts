// What `help` in the place of an option's argument prints: the kinds of objects and of character devices, and the properties of an object.

import { listTypes, settableOf } from '../../block/objects/qom.js';
import { chardevKinds } from './chardev-options.js';

/** Null: no help is asked for. */
export function optionHelp(key: string, text: string): string | null {
  if (key === 'chardev') return text === 'help' ? page('Available chardev backend types: ', chardevKinds()) : null;
  if (key !== 'object') return null;
  const [, type] = /^(?:([^,=]+),)?help$/.exec(text) ?? [null, null];
  if (type === null) return null;
  const types = listTypes('user-creatable').map(({ name }) => name);
  if (type === undefined || !types.includes(type)) return page('List of user creatable objects:', types);
  const properties = settableOf(type).map(({ name, type: kind }) => `${name}=<${kind}>`);
  return page(`${type} options:`, properties);
}

function page(title: string, lines: readonly string[]): string {
  return `${title}\n${[...lines]
    .sort()
    .map((line) => `  ${line}\n`)
    .join('')}`;
}
