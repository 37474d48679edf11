// Checks of the library's settings, which are not QAPI types: names in camelCase, functions, signals. An interface describes settings to the
// compiler, a shape checks them at run time; `Shape<T>` must have a check for every member of the interface `T`, or it does not compile.
//
//   const SHAPE: Shape<MirrorSettings> = { sync: qapi('MirrorSyncMode'), priority: integer(0, 9) }
//   const settings = takeSettings(SHAPE, given, 'settings')      a checked copy, with these members and no others
//
// Errors are in QMP's words, as those of `validate` are.

import { BlockError } from '../util/errors.js';
import { didYouMean } from '../util/nearest.js';

/** Returns `value` with its type, or throws `invalid-argument` or `unknown-option`. Messages call the value `path`. */
export type Check<T> = (value: unknown, path: string) => T;

/** A check for each member; members that are undefined are not checked. */
export type Shape<T> = { readonly [K in keyof Required<T>]: Check<Required<T>[K]> };

/**
 * Returns a checked copy of `value`, with the members of the shape and no others; undefined stands for empty settings. Throws `unknown-option` for
 * an unknown member, with a suggestion, and `invalid-argument` for a wrong value and for a missing member that is `required`.
 */
export function takeSettings<T extends object>(
  shape: Shape<T>,
  value: unknown,
  path: string,
  required: readonly (keyof T & string)[] = [],
): T {
  const given = plainObject(value === undefined ? {} : value, path);
  const inner = path === '' ? '' : `${path}.`;
  const result: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(given)) {
    if (member === undefined) continue;
    if (!Object.hasOwn(shape, name)) {
      const hint = didYouMean(name, Object.keys(shape));
      throw new BlockError('unknown-option', `Parameter '${inner}${name}' is unexpected${hint}`);
    }
    result[name] = (shape[name as keyof T] as Check<unknown>)(member, `${inner}${name}`);
  }
  for (const name of required) {
    if (result[name] === undefined) throw invalid(`Parameter '${inner}${name}' is missing`);
  }
  return result as T;
}

/** `value` as an object. Throws `invalid-argument` for one of a class, since the members that it inherits would be overlooked. */
export function plainObject(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongType(path, 'object');
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw invalid(`Invalid parameter type for '${path}', expected: a plain object, not ${describe(value)}`);
  }
  return value as Record<string, unknown>;
}

// ---- checks of single values ------------------------------------------------------------------------------------

export const bool: Check<boolean> = (value, path) => {
  if (typeof value !== 'boolean') throw wrongType(path, 'boolean', value);
  return value;
};

export const text: Check<string> = (value, path) => {
  if (typeof value !== 'string') throw wrongType(path, 'string', value);
  return value;
};

/** A name of a file: text without NUL. */
export const fileName: Check<string> = (value, path) => {
  const name = text(value, path);
  if (name.includes('\0')) throw invalid(`Parameter '${path}' contains a NUL, which a file name cannot`);
  return name;
};

/** A whole number in [min, max]. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): Check<number> {
  return (value, path) => {
    if (typeof value !== 'number') throw wrongType(path, 'integer', value);
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      const end = max === Number.MAX_SAFE_INTEGER ? '2^53 - 1' : String(max);
      throw invalid(`Parameter '${path}' expects a whole number from ${min} to ${end}, not ${value}`);
    }
    return value === 0 ? 0 : value;
  };
}

/** One of the words. */
export function choice<T extends string>(...words: readonly T[]): Check<T> {
  return (value, path) => {
    const found = words.find((word) => word === text(value, path));
    if (found !== undefined) return found;
    throw invalid(`Parameter '${path}' does not accept value '${value}'${didYouMean(String(value), words)}`);
  };
}

export function callback<T>(): Check<T> {
  return (value, path) => {
    if (typeof value !== 'function') throw wrongType(path, 'function', value);
    return value as T;
  };
}

export const bytes: Check<Uint8Array> = (value, path) => {
  if (!(value instanceof Uint8Array)) throw wrongType(path, 'Uint8Array', value);
  return value;
};

export const abortSignal: Check<AbortSignal> = (value, path) => {
  const signal = value as AbortSignal | null;
  if (typeof signal?.aborted !== 'boolean' || typeof signal.addEventListener !== 'function') {
    throw wrongType(path, 'AbortSignal', value);
  }
  return signal;
};

/** An instance of one of the library's classes. */
export function instance<T>(type: abstract new (...args: never[]) => T, name: string): Check<T> {
  return (value, path) => {
    if (!(value instanceof type)) throw wrongType(path, name, value);
    return value;
  };
}

export function settings<T extends object>(shape: Shape<T>): Check<T> {
  return (value, path) => takeSettings(shape, value, path);
}

export function list<T>(item: Check<T>): Check<T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) throw wrongType(path, 'array', value);
    return Array.from(value, (entry, index) => item(entry, `${path}[${index}]`));
  };
}

/** The kind of a value, for messages: never its content, which may be long or secret. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== 'object') return typeof value;
  return (value as { constructor?: { name?: unknown } }).constructor?.name === undefined
    ? 'object'
    : String((value as object).constructor.name);
}

export function wrongType(path: string, expected: string, value?: unknown): BlockError {
  const got = value === undefined ? '' : `, not ${describe(value)}`;
  return invalid(`Invalid parameter type for '${path}', expected: ${expected}${got}`);
}

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message);
}
