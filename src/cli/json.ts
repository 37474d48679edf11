// JSON as qemu-img prints it: four blanks a level, non-ASCII characters as \u escapes.

import { asciiJson, quoteJson } from '../util/json-quote.js';
import { withoutRawBytes } from '../util/name-bytes.js';

/** The text of `value`, without a line feed at its end; members that are undefined are left out. */
export function prettyJson(value: unknown, indent = 0): string {
  if (typeof value === 'string') return quoteJson(value);
  if (typeof value !== 'object' || value === null) return String(value);
  const isArray = Array.isArray(value);
  const inner = ' '.repeat(4 * (indent + 1));
  const items = isArray
    ? value.map((item) => inner + prettyJson(item, indent + 1))
    : Object.entries(value)
        .filter(([, member]) => member !== undefined)
        .map(([key, member]) => `${inner}${quoteJson(key)}: ${prettyJson(member, indent + 1)}`);
  const [open, close] = isArray ? '[]' : '{}';
  const body = items.length === 0 ? '' : `${items.join(',\n')}\n`;
  return `${open}\n${body}${' '.repeat(4 * indent)}${close}`;
}

/** `object` with its members in the order of `keys`; members that are not in `keys` come last. */
export function ordered(object: object, keys: readonly string[]): object {
  const rank = (key: string): number => (keys.includes(key) ? keys.indexOf(key) : keys.length);
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => rank(a) - rank(b)));
}

/** `value` with the names of its members, at any depth, as QAPI and all JSON of the command line have them: `lostBytes` becomes `lost-bytes`. */
export function kebabNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(kebabNames);
  if (typeof value !== 'object' || value === null) return value;
  const named = Object.entries(value).map(([name, member]) => [
    name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    kebabNames(member),
  ]);
  return Object.fromEntries(named);
}

/** One line of JSON, all of it ASCII. */
export function jsonLine(value: object): string {
  return asciiJson(
    JSON.stringify(value, (_, member) => (typeof member === 'string' ? withoutRawBytes(member) : member)),
  );
}
