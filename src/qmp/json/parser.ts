// From bytes to messages: tokens are collected until all brackets are closed, and then read as one value.
//
//   bytes --Lexer--> tokens --brackets closed--> value | JsonError
//
// What is wrong costs one message, and the next one is read as if nothing had happened. Integers beyond 2^53 become `bigint`, so that they go
// back exactly as they came; integers beyond 64 bits, and all others, are numbers.

import { Lexer } from './lexer.js';
import { decodeString, JsonError } from './string.js';
import type { Token } from './token.js';

/** Brackets within brackets. */
const MAX_NESTING = 1024;
/** Tokens of one message. */
const MAX_TOKENS = 2 << 20;
/** Bytes of the strings of one message. */
const MAX_MESSAGE_BYTES = 64 << 20;

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

export interface MessageSink {
  message(value: unknown): void;
  /** A message that is no JSON. */
  malformed(error: JsonError): void;
}

export class MessageParser {
  readonly #sink: MessageSink;
  readonly #lexer: Lexer;
  #tokens: Token[] = [];
  #bytes = 0;
  #braces = 0;
  #brackets = 0;

  constructor(sink: MessageSink) {
    this.#sink = sink;
    this.#lexer = new Lexer({
      token: (token) => this.#token(token),
      // The text ends where a C string would.
      stray: (text) => this.#drop(`JSON parse error, stray '${text.replace(/\0.*/s, '')}'`),
      tooLong: () => this.#drop('JSON token size limit exceeded'),
    });
  }

  feed(bytes: Uint8Array): void {
    this.#lexer.feed(bytes);
  }

  #token(token: Token): void {
    this.#tokens.push(token);
    if (token.kind === 'string') this.#bytes += token.bytes.length;
    else if (token.kind === 'structure') this.#count(token.text);
    const limit = this.#limitExceeded();
    if (limit !== null) {
      this.#drop(`JSON ${limit} limit exceeded`);
      return;
    }
    if ((this.#braces > 0 || this.#brackets > 0) && this.#braces >= 0 && this.#brackets >= 0) return;
    const tokens = this.#tokens;
    this.#forget();
    let value: unknown;
    try {
      value = new Reader(tokens).whole();
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      this.#sink.malformed(error);
      return;
    }
    this.#sink.message(value);
  }

  #limitExceeded(): string | null {
    if (this.#bytes > MAX_MESSAGE_BYTES) return 'token size';
    if (this.#tokens.length > MAX_TOKENS) return 'token count';
    return this.#braces + this.#brackets > MAX_NESTING ? 'nesting depth' : null;
  }

  #count(structure: string): void {
    if (structure === '{') this.#braces++;
    else if (structure === '}') this.#braces--;
    else if (structure === '[') this.#brackets++;
    else if (structure === ']') this.#brackets--;
  }

  #drop(message: string): void {
    this.#forget();
    this.#sink.malformed(new JsonError(message));
  }

  #forget(): void {
    this.#tokens = [];
    this.#bytes = 0;
    this.#braces = 0;
    this.#brackets = 0;
  }
}

/** Reads the tokens of one message. */
class Reader {
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): unknown {
    return this.#value();
  }

  #value(): unknown {
    const token = this.#take();
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
        if (token.text === '{') return this.#object();
        if (token.text === '[') return this.#list();
        throw expectingValue();
    }
  }

  #object(): Record<string, unknown> {
    // A map has no prototype that a key could hit.
    const members = new Map<string, unknown>();
    if (this.#skip('}')) return {};
    do {
      const key = this.#value();
      if (typeof key !== 'string') throw new JsonError('JSON parse error, key is not a string in object');
      if (!this.#skip(':')) throw new JsonError('JSON parse error, missing : in object pair');
      const value = this.#value();
      if (members.has(key)) throw new JsonError('JSON parse error, duplicate key');
      members.set(key, value);
    } while (this.#goesOn('}', 'dict'));
    return Object.fromEntries(members);
  }

  #list(): unknown[] {
    const items: unknown[] = [];
    if (this.#skip(']')) return items;
    do items.push(this.#value());
    while (this.#goesOn(']', 'list'));
    return items;
  }

  /** Behind one item: true where another one follows. */
  #goesOn(end: string, what: string): boolean {
    if (this.#skip(end)) return false;
    if (this.#skip(',')) return true;
    throw new JsonError(`JSON parse error, expected separator in ${what}`);
  }

  #take(): Token {
    const token = this.#tokens[this.#next++];
    if (token === undefined) throw new JsonError('JSON parse error, premature EOI');
    return token;
  }

  #skip(structure: string): boolean {
    const token = this.#tokens[this.#next];
    if (token?.kind !== 'structure' || token.text !== structure) return false;
    this.#next++;
    return true;
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

function expectingValue(): JsonError {
  return new JsonError('JSON parse error, expecting value');
}
