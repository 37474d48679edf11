// Option strings: `driver=qcow2,file.filename=/a,,b.img` and what they stand for.
//
//   a.b=1,a.c.0=x,a.c.1=y   <->   { a: { b: '1', c: ['x', 'y'] } }

import { BlockError } from '../util/errors.js';

/** A scalar of a flat table: text in option strings, anything JSON has in `json:`. */
export type Scalar = string | number | boolean | null;
export type Nested = Scalar | Nested[] | { [key: string]: Nested };

const MAX_KEY_PART = 127;
/** Longest list and deepest nesting. */
const MAX_DEPTH = 512;

/**
 * Parses `key=value,key2=value2`: `,,` in a value is a comma, a later key wins, a comma at the end is allowed.
 * With `impliedKey`, the first item may be a value alone. Throws `invalid-argument` with QEMU's words.
 */
export function parseKeyval(text: string, impliedKey?: string): { [key: string]: Nested } {
  const flat = new Map<string, Scalar>();
  let position = 0;
  while (position < text.length) {
    let key: string;
    const item = /[=,]/.exec(text.slice(position));
    if (position === 0 && impliedKey !== undefined && item?.[0] !== '=') {
      key = impliedKey;
      const end = item === null ? text.length : item.index;
      // Without a key no comma can be escaped.
      flat.set(key, text.slice(0, end));
      position = end + 1;
      continue;
    }
    key = text.slice(position, item === null ? undefined : position + item.index);
    checkKey(key);
    if (item?.[0] !== '=') throw invalid(`Expected '=' after parameter '${key}'`);
    position += key.length + 1;
    const value = /^(?:[^,]|,,)*/.exec(text.slice(position))![0];
    flat.set(key, value.replaceAll(',,', ','));
    position += value.length + 1;
  }
  return unflatten(flat);
}

/** A flat table of dotted keys from nested objects and lists, keys inside which may be dotted themselves. */
export function flatten(value: { [key: string]: unknown }): Map<string, Scalar> {
  const flat = new Map<string, Scalar>();
  const walk = (item: unknown, path: string, depth: number): void => {
    if (depth > MAX_DEPTH) throw invalid('Options are nested too deeply');
    if (typeof item === 'object' && item !== null) {
      for (const [key, member] of Object.entries(item)) walk(member, path === '' ? key : `${path}.${key}`, depth + 1);
    } else if (item !== undefined) {
      flat.set(path, item as Scalar);
    }
  };
  walk(value, '', 0);
  return flat;
}

/**
 * Nested objects from dotted keys; keys that are all numbers make a list. Throws `invalid-argument` where a key is no name, is used
 * as a value and as a group, or where a list has a gap.
 */
export function unflatten(flat: ReadonlyMap<string, Scalar>): { [key: string]: Nested } {
  const root: Group = new Map();
  for (const [key, value] of flat) {
    const parts = checkKey(key);
    let group = root;
    for (const [index, part] of parts.slice(0, -1).entries()) {
      const next = group.get(part);
      if (next === undefined) {
        const made: Group = new Map();
        group.set(part, made);
        group = made;
      } else if (next instanceof Map) {
        group = next;
      } else {
        throw inconsistent(parts.slice(0, index + 1).join('.'));
      }
    }
    const last = parts.at(-1)!;
    if (group.get(last) instanceof Map) throw inconsistent(key);
    group.set(last, value);
  }
  return toObject(root, '');
}

type Group = Map<string, Scalar | Group>;

function toObject(group: Group, path: string): { [key: string]: Nested } {
  const object: { [key: string]: Nested } = {};
  for (const [key, value] of group) {
    object[key] = value instanceof Map ? fromGroup(value, path === '' ? key : `${path}.${key}`) : value;
  }
  return object;
}

function fromGroup(group: Group, path: string): Nested {
  const indexes = [...group.keys()].filter((key) => /^\d+$/.test(key));
  if (indexes.length === 0) return toObject(group, path);
  if (indexes.length < group.size) throw inconsistent(path);
  return indexes.map((_, index) => {
    const value = group.get(String(index));
    if (value === undefined) throw invalid(`Parameter '${path}.${index}' missing`);
    return value instanceof Map ? fromGroup(value, `${path}.${index}`) : value;
  });
}

/** Parts of a dotted key: a name first, then names and list indexes. */
function checkKey(key: string): string[] {
  const parts = key.split('.');
  const good = parts.every(
    (part, index) =>
      part.length <= MAX_KEY_PART && (/^[A-Za-z_][\w-]*$/.test(part) || (index > 0 && /^(0|[1-9]\d*)$/.test(part))),
  );
  if (!good || parts.length > MAX_DEPTH || parts.includes('__proto__')) throw invalid(`Invalid parameter '${key}'`);
  return parts;
}

function inconsistent(path: string): BlockError {
  return invalid(`Parameters '${path}.*' used inconsistently`);
}

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message);
}
