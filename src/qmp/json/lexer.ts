// Cuts the bytes of a monitor's client into JSON tokens, as QEMU's monitor does. A message may come in pieces of any size.
//
//   bytes -> start --letter--> keyword        what is no token: `stray`, and then recovery: everything is skipped up to a
//                  --digit---> number         control character (a tab excepted), one of []{}:, or a byte that UTF-8 never has
//                  --quote---> string
//                  --[]{}:,--> structure
//
// Strings have single or double quotes; what they hold is decoded later (`string.ts`), with its place in the message's errors.

import { isStructure, type Token } from './token.js';

/** Of one token; longer ones end with an error. */
const MAX_TOKEN_BYTES = 64 << 20;
/** Room for most tokens. */
const FIRST_BYTES = 256;

/** One token for each of them, by its byte. */
const STRUCTURES: readonly (Token | undefined)[] = Array.from({ length: 256 }, (_, byte) =>
  isStructure(byte) ? { kind: 'structure', text: String.fromCharCode(byte) } : undefined,
);
const BACKSLASH = 0x5c;
const TAB = 0x09;

export interface TokenSink {
  token(token: Token): void;
  /** `text` is no token; the message that it belongs to is lost. */
  stray(text: string): void;
  /** A token is too long. */
  tooLong(): void;
}

type State = 'start' | 'string' | 'escape' | 'keyword' | 'recovery' | NumberState;
/** A number ends where its state may end it, see `mayEnd`. */
type NumberState = 'minus' | 'zero' | 'digits' | 'point' | 'fraction' | 'exponent' | 'sign' | 'power';

function mayEnd(state: State): boolean {
  return state === 'zero' || state === 'digits' || state === 'fraction' || state === 'power';
}

export class Lexer {
  readonly #sink: TokenSink;
  #state: State = 'start';
  #quote = 0;
  /** The token that has begun: the first `#length` bytes. */
  #bytes = Buffer.alloc(FIRST_BYTES);
  #length = 0;

  constructor(sink: TokenSink) {
    this.#sink = sink;
  }

  feed(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const plain = this.#state === 'string' ? this.#plainEnd(bytes, at) : at;
      if (plain > at) {
        this.#keepAll(bytes.subarray(at, plain));
        at = plain;
      } else this.#take(bytes[at++]);
    }
  }

  /** Where the bytes from `at` on end that are plain text of a string. */
  #plainEnd(bytes: Uint8Array, at: number): number {
    let end = at;
    // No further than the token may go: `#keep` says what is too long.
    const most = Math.min(bytes.length, at + MAX_TOKEN_BYTES - this.#length);
    while (end < most && isPlain(bytes[end]) && bytes[end] !== this.#quote) end++;
    return end;
  }

  #take(byte: number): void {
    switch (this.#state) {
      case 'start':
        this.#begin(byte);
        break;
      case 'string':
      case 'escape':
        this.#inString(byte);
        break;
      case 'keyword':
        if (isLetter(byte)) this.#keep(byte);
        else {
          this.#end('keyword');
          this.#begin(byte);
        }
        break;
      case 'recovery':
        if ((byte >= 0x20 || byte === TAB) && byte < 0xfe && !isStructure(byte)) break;
        this.#state = 'start';
        this.#begin(byte);
        break;
      default:
        this.#inNumber(this.#state, byte);
    }
  }

  #begin(byte: number): void {
    if (isBlank(byte)) return;
    const structure = STRUCTURES[byte];
    if (structure !== undefined) {
      this.#sink.token(structure);
      return;
    }
    const state = beginOf(byte);
    if (state === null) this.#fail(byte);
    else {
      this.#state = state;
      this.#quote = byte;
      this.#keep(byte);
    }
  }

  #inString(byte: number): void {
    if (byte < 0x20 || byte >= 0xfe) {
      this.#fail(byte);
      return;
    }
    const escaped = this.#state === 'escape';
    this.#state = !escaped && byte === BACKSLASH ? 'escape' : 'string';
    this.#keep(byte);
    if (!escaped && byte === this.#quote && this.#state === 'string') this.#end('string');
  }

  #inNumber(state: NumberState, byte: number): void {
    const next = nextInNumber(state, byte);
    if (next !== null) {
      this.#state = next;
      this.#keep(byte);
    } else if (!mayEnd(state) || (state === 'zero' && isDigit(byte))) {
      // A digit behind a leading zero is part of no number.
      this.#fail(byte);
    } else {
      this.#end(state === 'zero' || state === 'digits' ? 'integer' : 'double');
      this.#begin(byte);
    }
  }

  #keep(byte: number): void {
    if (this.#length === this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes], 2 * this.#length);
    this.#bytes[this.#length++] = byte;
    if (this.#length <= MAX_TOKEN_BYTES) return;
    this.#cut('recovery');
    this.#sink.tooLong();
  }

  #keepAll(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length)
      this.#bytes = Buffer.concat([this.#bytes], Math.max(length, 2 * this.#bytes.length));
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }

  #end(kind: Token['kind']): void {
    if (kind === 'string') {
      this.#sink.token({ kind, bytes: this.#cut('start') });
      return;
    }
    const text = this.#bytes.toString('latin1', 0, this.#length);
    this.#length = 0;
    this.#state = 'start';
    this.#sink.token({ kind, text });
  }

  #fail(byte: number): void {
    const bytes = Buffer.concat([this.#cut('recovery'), Buffer.of(byte)]);
    this.#sink.stray(bytes.toString());
  }

  /** Ends the token, and goes on in `state`. Returns its bytes. */
  #cut(state: State): Buffer {
    const bytes = Buffer.from(this.#bytes.subarray(0, this.#length));
    // What a long token took is not kept for the next ones.
    if (this.#bytes.length > FIRST_BYTES) this.#bytes = Buffer.alloc(FIRST_BYTES);
    this.#length = 0;
    this.#state = state;
    return bytes;
  }
}

function beginOf(byte: number): State | null {
  if (byte === 0x22 || byte === 0x27) return 'string';
  if (isLetter(byte)) return 'keyword';
  if (byte === 0x2d) return 'minus';
  if (byte === 0x30) return 'zero';
  return isDigit(byte) ? 'digits' : null;
}

function nextInNumber(state: NumberState, byte: number): NumberState | null {
  const digit = isDigit(byte);
  const exponent = byte === 0x65 || byte === 0x45;
  switch (state) {
    case 'minus':
      return byte === 0x30 ? 'zero' : digit ? 'digits' : null;
    case 'digits':
      if (digit) return 'digits';
      return byte === 0x2e ? 'point' : exponent ? 'exponent' : null;
    case 'zero':
      return byte === 0x2e ? 'point' : exponent ? 'exponent' : null;
    case 'point':
      return digit ? 'fraction' : null;
    case 'fraction':
      return digit ? 'fraction' : exponent ? 'exponent' : null;
    case 'exponent':
      return digit ? 'power' : byte === 0x2b || byte === 0x2d ? 'sign' : null;
    case 'sign':
    case 'power':
      return digit ? 'power' : null;
  }
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}

/** A byte of a string that is neither an escape nor an error; quotes are looked at apart. */
function isPlain(byte: number): boolean {
  return byte >= 0x20 && byte < 0xfe && byte !== BACKSLASH;
}

function isLetter(byte: number): boolean {
  return byte >= 0x61 && byte <= 0x7a;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}
