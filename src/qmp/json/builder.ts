// Makes one value of the tokens of a message, as they come: what is held is the value so far, not its tokens. The first thing that is wrong is kept for
// the end of the message; what follows is only counted (see parser.ts).
//
//   [ 1 , { "a" : 2 } ]       a stack of what is open: [1, ...  {key "a", ...
//   ^expects: value, then separator or end; in an object also a key and a colon

import { decodeString, JsonError } from './string.js';
import type { Token } from './token.js';

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

interface List {
  items: unknown[];
}

interface Members {
  // A map has no prototype that a key could hit.
  map: Map<string, unknown>;
  /** Null: a key comes next. */
  key: string | null;
}

/** `first`: a value, a key, or the end of what is empty. */
type Expected = 'value' | 'first' | 'colon' | 'separator';

export class Builder {
  readonly #open: (List | Members)[] = [];
  #expected: Expected = 'value';
  #error: JsonError | null = null;
  #value: unknown;
  #whole = false;

  add(token: Token): void {
    if (this.#error !== null || this.#whole) return;
    try {
      this.#take(token);
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      this.#error = error;
    }
  }

  /** The value, once the message is at its end. Throws `JsonError`. */
  end(): unknown {
    if (this.#error !== null) throw this.#error;
    if (!this.#whole) throw new JsonError('JSON parse error, premature EOI');
    return this.#value;
  }

  #take(token: Token): void {
    const structure = token.kind === 'structure' ? token.text : '';
    switch (this.#expected) {
      case 'first':
        if (structure === this.#closing) this.#close();
        else this.#begin(token, structure);
        break;
      case 'value':
        this.#begin(token, structure);
        break;
      case 'colon':
        if (structure !== ':') throw new JsonError('JSON parse error, missing : in object pair');
        this.#expected = 'value';
        break;
      case 'separator':
        if (structure === this.#closing) this.#close();
        else if (structure === ',') this.#expected = 'value';
        else {
          const what = this.#closing === ']' ? 'list' : 'dict';
          throw new JsonError(`JSON parse error, expected separator in ${what}`);
        }
    }
  }

  /** What ends the innermost of what is open. */
  get #closing(): string {
    const inner = this.#open[this.#open.length - 1];
    return 'items' in inner ? ']' : '}';
  }

  #begin(token: Token, structure: string): void {
    if (structure === '{') this.#enter({ map: new Map(), key: null });
    else if (structure === '[') this.#enter({ items: [] });
    else this.#put(scalar(token));
  }

  #enter(inner: List | Members): void {
    this.#open.push(inner);
    this.#expected = 'first';
  }

  #close(): void {
    const inner = this.#open.pop() as List | Members;
    this.#put('items' in inner ? inner.items : Object.fromEntries(inner.map));
  }

  /** A value is whole: it belongs to the innermost of what is open. */
  #put(value: unknown): void {
    const inner = this.#open[this.#open.length - 1];
    this.#expected = 'separator';
    if (inner === undefined) {
      this.#value = value;
      this.#whole = true;
    } else if ('items' in inner) inner.items.push(value);
    else if (inner.key === null) {
      if (typeof value !== 'string') throw new JsonError('JSON parse error, key is not a string in object');
      inner.key = value;
      this.#expected = 'colon';
    } else {
      if (inner.map.has(inner.key)) throw new JsonError('JSON parse error, duplicate key');
      inner.map.set(inner.key, value);
      inner.key = null;
    }
  }
}

function scalar(token: Token): unknown {
  switch (token.kind) {
    case 'string':
      return decodeString(token.bytes);
    case 'integer':
      return integer(token.text);
    case 'double':
      return Number(token.text);
    case 'keyword':
      return keyword(token.text);
    default:
      throw new JsonError('JSON parse error, expecting value');
  }
}

function integer(text: string): number | bigint {
  const number = Number(text);
  if (Number.isSafeInteger(number)) return number === 0 ? 0 : number;
  const exact = BigInt(text);
  return exact >= INT64_MIN && exact <= UINT64_MAX ? exact : number;
}

function keyword(text: string): boolean | null {
  if (text === 'true') return true;
  if (text === 'false') return false;
  if (text === 'null') return null;
  throw new JsonError(`JSON parse error, invalid keyword '${text}'`);
}
