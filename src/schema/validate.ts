// Checks a value against a type of the schema; errors have QMP's messages. The result is a copy with the type's members and no others, so
// that nothing else of a caller's object (its prototype, its getters) gets into the program.
//
// Where strings are allowed (option strings, image file names in JSON), each number and switch may be given as text.

import { BlockError, type BlockErrorCode } from '../util/errors.js';
import { didYouMean, meantLine, nearestWord } from '../util/nearest.js';
import { MAX_BYTES, sizeOfOption } from '../util/size.js';
import { parseSwitch } from '../util/switches.js';
import { TYPES } from './generated/table.js';
import type { QapiTypes } from './generated/types.js';
import type { Members, TypeEntry, TypeReference } from './table.js';

export interface ValidateOptions {
  /** Numbers and switches may be given as text: `size=1G`, `read-only=on`. */
  strings?: boolean;
  /** Add a suggestion to the error for an unknown word. For programs: QEMU's tools print none. */
  suggest?: boolean;
}

const INT64_MAX = 2n ** 63n - 1n;
/** Deepest nesting of a value: a chain of 200 images, each in its `file` and its `backing`, and room to spare. */
const MAX_DEPTH = 512;

/**
 * Checks `value` and returns it as `type`. Throws `invalid-argument`, or `unknown-option` where a member is not known; the message
 * is that of QMP: `Parameter 'cache.direct' is unexpected`.
 */
export function validate<K extends keyof QapiTypes>(
  type: K,
  value: unknown,
  options: ValidateOptions = {},
): QapiTypes[K] {
  return new Visitor(options).visit(type, value, '', 0) as QapiTypes[K];
}

/** Checks that `value` is an object without members: the arguments of a command that has none. Throws as `validate`. */
export function validateEmpty(value: unknown): void {
  new Visitor({}).visitObject({ kind: 'struct', members: {} }, value);
}

/** As `validate`, for a value that is the member `path` of something else. */
export function validateMember(type: TypeReference, value: unknown, path: string, options: ValidateOptions): unknown {
  return new Visitor(options).visit(type, value, path, 0);
}

class Visitor {
  readonly #strings: boolean;
  readonly #suggest: boolean;
  /** Options of nodes that the value lies in. */
  #nodes = 0;

  constructor({ strings = false, suggest = false }: ValidateOptions) {
    this.#strings = strings;
    this.#suggest = suggest;
  }

  visit(type: TypeReference, value: unknown, path: string, depth: number): unknown {
    if (depth > MAX_DEPTH) throw invalid(`Parameter '${path}' is nested too deeply`);
    if (typeof type !== 'string') return this.#list(type[0], value, path, depth);
    const entry = entryOf(type);
    if (entry === undefined) return this.#builtIn(type, value, path);
    switch (entry.kind) {
      case 'enum': {
        const word = this.#text(value, path);
        if (!entry.values.includes(word)) {
          throw this.#misspelt(
            'invalid-argument',
            `Parameter '${this.#shown(path)}' does not accept value '${word}'`,
            word,
            entry.values,
          );
        }
        return word;
      }
      case 'struct':
      case 'union':
        if (type !== 'BlockdevOptions') return this.#object(entry, value, path, depth);
        this.#nodes++;
        try {
          return this.#object(entry, value, path, depth);
        } finally {
          this.#nodes--;
        }
      case 'alternate':
        return this.#alternate(type, entry.choices, value, path, depth);
    }
  }

  visitObject(entry: TypeEntry & { kind: 'struct' | 'union' }, value: unknown): unknown {
    return this.#object(entry, value, '', 0);
  }

  /** What the reference calls a member where it does not say the whole path: its last part, and `null` for an element of a list. */
  #shown(path: string): string {
    if (this.#suggest) return path;
    return path.endsWith(']') ? 'null' : path.slice(path.lastIndexOf('.') + 1);
  }

  #list(type: string, value: unknown, path: string, depth: number): unknown[] {
    if (!Array.isArray(value)) throw wrongType(path, 'array');
    return value.map((item, index) => this.visit(type, item, `${path}[${index}]`, depth + 1));
  }

  #object(entry: TypeEntry & { kind: 'struct' | 'union' }, value: unknown, path: string, depth: number): unknown {
    if (!isObject(value)) throw wrongType(path, 'object');
    const result: Record<string, unknown> = {};
    const known = new Set<string>();
    const take = (members: Members): void => {
      for (const [name, { type, optional }] of Object.entries(members)) {
        if (known.has(name)) continue;
        known.add(name);
        let member = Object.hasOwn(value, name) ? value[name] : undefined;
        // In a `json:` file name, null counts as left out.
        if (this.#strings && member === null && !takesNull(type)) member = undefined;
        if (member !== undefined) result[name] = this.visit(type, member, join(path, name), depth + 1);
        else if (!optional) {
          this.#refuseMisspelt(name, entry, value, path);
          throw invalid(`Parameter '${join(path, name)}' is missing`);
        }
      }
    };
    take(entry.members);
    if (entry.kind === 'union') {
      const tag = result[entry.tag] as string;
      const branch = Object.hasOwn(entry.branches, tag) ? entryOf(entry.branches[tag]!) : undefined;
      if (branch?.kind === 'struct') take(branch.members);
    }
    for (const name of Object.keys(value)) {
      if (!known.has(name) && value[name] !== undefined) {
        throw this.#misspelt('unknown-option', `Parameter '${join(path, name)}' is unexpected`, name, known);
      }
    }
    return result;
  }

  /** Throws `unknown-option` where one of the members of `value` is meant to be `missing`, by how it is spelled. */
  #refuseMisspelt(
    missing: string,
    entry: TypeEntry & { kind: 'struct' | 'union' },
    value: Record<string, unknown>,
    path: string,
  ): void {
    if (!this.#suggest) return;
    const known = new Set(Object.keys(entry.members));
    for (const type of entry.kind === 'union' ? Object.values(entry.branches) : []) {
      const branch = entryOf(type as string);
      if (branch?.kind === 'struct') for (const name of Object.keys(branch.members)) known.add(name);
    }
    refuseMisspelt(value, known, missing, path);
  }

  /** Where the message has to be the reference's, what may have been meant stands beside it. */
  #misspelt(code: BlockErrorCode, message: string, word: string, known: Iterable<string>): BlockError {
    if (this.#suggest) return new BlockError(code, message + didYouMean(word, known));
    return new BlockError(code, message, { hint: meantLine(word, known) });
  }

  #alternate(
    name: string,
    choices: Readonly<Record<string, TypeReference>>,
    value: unknown,
    path: string,
    depth: number,
  ): unknown {
    // In an option string, `backing=` means null.
    if (this.#strings && value === '' && choices['null'] !== undefined) return null;
    const kind = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
    const choice = Object.hasOwn(choices, kind) ? choices[kind] : undefined;
    if (choice === undefined) throw wrongType(this.#shown(path), name);
    return this.visit(choice, value, path, depth + 1);
  }

  #builtIn(type: string, value: unknown, path: string): unknown {
    switch (type) {
      case 'str':
        return this.#text(value, path);
      case 'bool':
        return this.#bool(value, path);
      case 'null':
        if (value !== null) throw wrongType(path, 'null');
        return null;
      case 'any':
        return value;
      case 'number':
        return this.#number(value, path);
      default:
        return this.#integer(type, value, path);
    }
  }

  /** Where numbers and switches may be given as text, text may be given as a number or a switch, too: `"path": 7`. */
  #text(value: unknown, path: string): string {
    if (typeof value === 'string') return value;
    if (this.#strings && typeof value === 'number') return String(value);
    if (this.#strings && typeof value === 'boolean') return value ? 'on' : 'off';
    throw wrongType(path, 'string');
  }

  #bool(value: unknown, path: string): boolean {
    if (typeof value === 'boolean') return value;
    if (!this.#strings || (typeof value !== 'string' && typeof value !== 'number')) throw wrongType(path, 'boolean');
    const switched = parseSwitch(String(value));
    if (switched === null) throw invalid(`Parameter '${path}' expects 'on' or 'off'`);
    return switched;
  }

  #noInteger(type: string, path: string): BlockError {
    if (this.#strings) return invalid(`Parameter '${path}' expects a number`);
    if (this.#suggest && isUnsigned(type)) return invalid(`Parameter '${path}' expects a whole number from 0 on`);
    return isUnsigned(type) && !this.#isNodeSize(type)
      ? invalid(`Parameter '${path}' expects uint64`)
      : wrongType(path, 'integer');
  }

  #number(value: unknown, path: string): number {
    const number = this.#strings && typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    if (typeof number !== 'number' || !Number.isFinite(number)) throw wrongType(path, 'number');
    return number;
  }

  /**
   * Of 64 bits, as a monitor hands it on: no number holds it exactly. Nothing here is as large as the largest number, which stands for it; a negative one
   * is a very large one where the type has no sign, as in QEMU.
   */
  #large(type: string, value: bigint, path: string): number {
    if (this.#strings || this.#suggest) throw beyond(path);
    const signed = lowest(type) < 0 || this.#isNodeSize(type);
    if (signed && value > INT64_MAX) throw this.#noInteger(type, path);
    if (highest(type) < Number.MAX_SAFE_INTEGER || (this.#isNodeSize(type) && value < 0n)) {
      throw this.#outOfRange(type, path);
    }
    return signed && value < 0n ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
  }

  /** Where a monitor asks for it, a size among the options of a node is an integer with a sign, which the driver refuses where it is negative. */
  #isNodeSize(type: string): boolean {
    return type === 'size' && this.#nodes > 0 && !this.#strings && !this.#suggest;
  }

  #outOfRange(type: string, path: string): BlockError {
    if (this.#suggest && isUnsigned(type)) return this.#noInteger(type, path);
    const expected = this.#isNodeSize(type) ? 'a non-negative number below 2^64' : cName(type);
    return invalid(`Parameter '${this.#shown(path)}' expects ${expected}`);
  }

  #integer(type: string, value: unknown, path: string): number {
    let number = value;
    if (this.#strings && typeof value === 'string') {
      if (type === 'size') return sizeOf(value, path);
      if (!/^[-+]?(\d+|0x[0-9a-f]+)$/i.test(value)) throw invalid(`Parameter '${path}' expects integer`);
      const digits = value.replace(/^[-+]/, '');
      number = value.startsWith('-') ? -Number(digits) : Number(digits);
    }
    if (typeof number === 'bigint') return this.#large(type, number, path);
    if (typeof number !== 'number') throw this.#noInteger(type, path);
    if (!Number.isSafeInteger(number)) {
      // A monitor hands on a number where 64 bits are not enough.
      const large = Math.abs(number) >= 2 ** 63 && !this.#strings && !this.#suggest;
      throw large || !Number.isInteger(number) ? this.#noInteger(type, path) : beyond(path);
    }
    if (
      (type === 'uint64' || (type === 'size' && !this.#isNodeSize(type) && !this.#strings)) &&
      number < 0 &&
      !this.#suggest
    )
      return Number.MAX_SAFE_INTEGER;
    if (number < lowest(type) || number > highest(type)) throw this.#outOfRange(type, path);
    return number === 0 ? 0 : number;
  }
}

/** Throws `unknown-option` where `given` has a member that is not known, and is spelled so much like `missing` that this is meant. */
export function refuseMisspelt(
  given: Readonly<Record<string, unknown>>,
  known: Iterable<string>,
  missing: string,
  path = '',
): void {
  const names = new Set(known);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || names.has(name) || nearestWord(name, [missing]) === undefined) continue;
    throw new BlockError(
      'unknown-option',
      `Parameter '${join(path, name)}' is unexpected (did you mean '${missing}'?)`,
    );
  }
}

function sizeOf(text: string, path: string): number {
  const size = sizeOfOption(path, text);
  if (size > MAX_BYTES) throw invalid(`Parameter '${path}' is beyond ${MAX_BYTES} (2^53 - 1)`);
  return Number(size);
}

function isUnsigned(type: string): boolean {
  return type === 'size' || type.startsWith('uint');
}

/** The smallest value of an integer type. 64-bit types end at the safe integers. */
function lowest(type: string): number {
  if (isUnsigned(type)) return 0;
  const bits = Number(/\d+$/.exec(type)?.[0] ?? 64);
  return bits === 64 ? Number.MIN_SAFE_INTEGER : -(2 ** (bits - 1));
}

/** The largest value of an integer type. */
function highest(type: string): number {
  const bits = Number(/\d+$/.exec(type)?.[0] ?? 64);
  if (bits === 64) return Number.MAX_SAFE_INTEGER;
  return 2 ** (type.startsWith('uint') ? bits : bits - 1) - 1;
}

function cName(type: string): string {
  return type === 'int' ? 'int64' : type === 'size' ? 'uint64' : `${type}_t`;
}

function entryOf(name: string): TypeEntry | undefined {
  return Object.hasOwn(TYPES, name) ? TYPES[name as keyof typeof TYPES] : undefined;
}

function takesNull(type: TypeReference): boolean {
  const entry = typeof type === 'string' ? entryOf(type) : undefined;
  return type === 'null' || type === 'any' || (entry?.kind === 'alternate' && entry.choices['null'] !== undefined);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function beyond(path: string): BlockError {
  return invalid(`Parameter '${path}' is beyond ${Number.MAX_SAFE_INTEGER} (2^53 - 1)`);
}

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message);
}

function wrongType(path: string, expected: string): BlockError {
  return invalid(`Invalid parameter type for '${path}', expected: ${expected}`);
}
