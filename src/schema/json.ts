// JSON as QEMU reads it: strings may be in single quotes, a key may occur once in an object, and errors are in QEMU's words.
// Numbers that a double cannot hold exactly stay text, so that the validator can report an integer that is too large.

import { BlockError } from '../util/errors.js';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Deepest nesting. */
const MAX_DEPTH = 1024;

const ESCAPES: Readonly<Record<string, string>> = {
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  '/': '/',
  '\\': '\\',
  '"': '"',
  "'": "'",
};

/** The one value that `text` holds. Throws `invalid-argument`. */
export function parseJson(text: string): Json {
  return new Reader(text).whole();
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Json {
    this.#skipBlanks();
    if (this.#ended) throw new BlockError('invalid-argument', 'Expecting a JSON value');
    const value = this.#value(0);
    this.#skipBlanks();
    if (!this.#ended) throw new BlockError('invalid-argument', 'Expecting at most one JSON value');
    return value;
  }

  get #ended(): boolean {
    return this.#at >= this.#text.length;
  }

  #fail(what: string): never {
    throw new BlockError('invalid-argument', `JSON parse error, ${what}`);
  }

  /** Fails at a character that no token begins with. */
  #stray(): never {
    const rest = /^\S[^\s\0,:{}[\]]*/.exec(this.#text.slice(this.#at))?.[0] ?? '';
    return this.#fail(`stray '${rest}'`);
  }

  #skipBlanks(): void {
    while (!this.#ended && ' \t\r\n'.includes(this.#text[this.#at])) this.#at++;
  }

  /** The next character that is not a blank, without consuming it. */
  #peek(): string {
    this.#skipBlanks();
    if (this.#ended) this.#fail('premature EOI');
    return this.#text[this.#at];
  }

  #value(depth: number): Json {
    if (depth > MAX_DEPTH) this.#fail('nesting is too deep');
    const next = this.#peek();
    if (next === '{') return this.#object(depth);
    if (next === '[') return this.#array(depth);
    if (next === '"' || next === "'") return this.#string(next);
    if (/[-0-9]/.test(next)) return this.#number();
    if (/[a-z]/.test(next)) return this.#keyword();
    if ('}],:'.includes(next)) this.#fail('expecting value');
    return this.#stray();
  }

  #object(depth: number): Json {
    const object: { [key: string]: Json } = {};
    this.#at++;
    if (this.#peek() === '}') {
      this.#at++;
      return object;
    }
    for (;;) {
      const key = this.#value(depth + 1);
      if (typeof key !== 'string') this.#fail('key is not a string in object');
      if (this.#peek() !== ':') this.#fail('missing : in object pair');
      this.#at++;
      const value = this.#value(depth + 1);
      if (Object.hasOwn(object, key)) this.#fail('duplicate key');
      Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
      if (!this.#goesOn('}', 'dict')) return object;
    }
  }

  #array(depth: number): Json {
    const array: Json[] = [];
    this.#at++;
    if (this.#peek() === ']') {
      this.#at++;
      return array;
    }
    for (;;) {
      array.push(this.#value(depth + 1));
      if (!this.#goesOn(']', 'list')) return array;
    }
  }

  /** Reads a comma or `end`; true for the comma. */
  #goesOn(end: string, what: string): boolean {
    const next = this.#peek();
    if (next !== ',' && next !== end) this.#fail(`expected separator in ${what}`);
    this.#at++;
    return next === ',';
  }

  #string(quote: string): string {
    const start = this.#at++;
    let value = '';
    for (;;) {
      const next = this.#text[this.#at++];
      if (next === undefined || next < ' ') {
        this.#at = start;
        this.#stray();
      }
      if (next === quote) return value;
      value += next === '\\' ? this.#escape() : next;
    }
  }

  #escape(): string {
    const next = this.#text[this.#at++] ?? '';
    if (next !== 'u') return ESCAPES[next] ?? this.#fail('invalid escape sequence in string');
    const one = this.#hex();
    if (one >= 0xd800 && one < 0xdc00 && this.#text.startsWith('\\u', this.#at)) {
      this.#at += 2;
      const two = this.#hex();
      if (two >= 0xdc00 && two < 0xe000) return String.fromCharCode(one, two);
    } else if (one < 0xd800 || one >= 0xe000) {
      return String.fromCharCode(one);
    }
    return this.#fail(`\\u${one.toString(16)} is not a valid Unicode character`);
  }

  #hex(): number {
    const digits = this.#text.slice(this.#at, this.#at + 4);
    if (!/^[0-9a-f]{4}$/i.test(digits)) this.#fail(`\\u${digits} is not a valid Unicode character`);
    this.#at += 4;
    return Number.parseInt(digits, 16);
  }

  #number(): number | string {
    const found = /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?(?![.\d])/.exec(this.#text.slice(this.#at));
    if (found === null) return this.#stray();
    this.#at += found[0].length;
    const number = Number(found[0]);
    const exact = Number.isSafeInteger(number) || found[2] !== undefined || found[3] !== undefined;
    return exact ? number : found[0];
  }

  #keyword(): boolean | null {
    const word = /^[a-z]+/.exec(this.#text.slice(this.#at))![0];
    this.#at += word.length;
    if (word === 'true') return true;
    if (word === 'false') return false;
    return word === 'null' ? null : this.#fail(`invalid keyword '${word}'`);
  }
}
