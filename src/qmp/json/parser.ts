// From bytes to messages: tokens go into a value until all brackets are closed.
//
//   bytes --Lexer--> tokens --Builder--> brackets closed --> value | JsonError
//
// What is wrong costs one message, and the next one is read as if nothing had happened. Integers beyond 2^53 become `bigint`, so that they go
// back exactly as they came; integers beyond 64 bits, and all others, are numbers.

import { Builder } from './builder.js';
import { Lexer } from './lexer.js';
import { JsonError } from './string.js';
import type { Token } from './token.js';

/** Brackets within brackets. */
const MAX_NESTING = 1024;
/** Tokens of one message. */
const MAX_TOKENS = 2 << 20;
/** Bytes of the strings of one message. */
const MAX_MESSAGE_BYTES = 64 << 20;

export interface MessageSink {
  message(value: unknown): void;
  /** A message that is no JSON. */
  malformed(error: JsonError): void;
}

export class MessageParser {
  readonly #sink: MessageSink;
  readonly #lexer: Lexer;
  #builder = new Builder();
  #tokens = 0;
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
    this.#tokens++;
    if (token.kind === 'string') this.#bytes += token.bytes.length;
    else if (token.kind === 'structure') this.#count(token.text);
    const limit = this.#limitExceeded();
    if (limit !== null) {
      this.#drop(`JSON ${limit} limit exceeded`);
      return;
    }
    this.#builder.add(token);
    if ((this.#braces > 0 || this.#brackets > 0) && this.#braces >= 0 && this.#brackets >= 0) return;
    const builder = this.#builder;
    this.#forget();
    let value: unknown;
    try {
      value = builder.end();
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      this.#sink.malformed(error);
      return;
    }
    this.#sink.message(value);
  }

  #limitExceeded(): string | null {
    if (this.#bytes > MAX_MESSAGE_BYTES) return 'token size';
    if (this.#tokens > MAX_TOKENS) return 'token count';
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
    this.#builder = new Builder();
    this.#tokens = 0;
    this.#bytes = 0;
    this.#braces = 0;
    this.#brackets = 0;
  }
}
