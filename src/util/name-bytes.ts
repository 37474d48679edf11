// Names of files as text. To the system a name is bytes, mostly but not always UTF-8. In our strings, a byte that is not part of valid UTF-8
// is a lone low surrogate, which no valid text contains, so that every name can be turned back into the bytes that it came from:
//
//   61 FF 62   <-->   'a' U+DCFF 'b'
//
// Use `decodeName` wherever the bytes of a name come in, `encodeName` wherever a name goes out. Text from elsewhere with other lone surrogates
// is not a name.

import { BlockError } from './errors.js';

/** U+DC00. A byte is added to it. */
const ESCAPE = 0xdc00;
/** Made at the first need, as it takes node a while. */
let strict: InstanceType<typeof TextDecoder> | undefined;

/** The text that stands for `bytes`. */
export function decodeName(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    if (byte >= 0x80) return decodeOther(bytes);
    text += String.fromCharCode(byte);
  }
  return text;
}

/** Of a name that is not ASCII. */
function decodeOther(bytes: Uint8Array): string {
  strict ??= new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  try {
    return strict.decode(bytes);
  } catch {
    return decodePieces(bytes, strict);
  }
}

function decodePieces(bytes: Uint8Array, strict: InstanceType<typeof TextDecoder>): string {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = validLength(bytes, at);
    if (length === 0) text += String.fromCharCode(ESCAPE + bytes[at++]);
    else {
      text += strict.decode(bytes.subarray(at, at + length));
      at += length;
    }
  }
  return text;
}

/** Length of the valid sequence at `at`; 0 where there is none. */
function validLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at];
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte rules out overlong sequences, surrogates, and what is beyond the last code point.
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (!(bytes[at + 1] >= low && bytes[at + 1] <= high)) return 0;
  for (let i = 2; i < length; i++) if (!((bytes[at + i] & 0xc0) === 0x80)) return 0;
  return length;
}

/** The bytes that `text` stands for. Throws `invalid-argument` where it stands for none. */
export function encodeName(text: string): Buffer {
  if (!hasRawBytes(text)) return Buffer.from(text);
  const parts = text.split(/(\p{Surrogate}+)/u).map((part, index) => {
    if (index % 2 === 0) return Buffer.from(part);
    return Buffer.from([...part].map((unit) => byteOf(unit, text)));
  });
  return Buffer.concat(parts);
}

function byteOf(unit: string, text: string): number {
  const byte = unit.charCodeAt(0) - ESCAPE;
  if (byte >= 0x80 && byte <= 0xff) return byte;
  throw new BlockError('invalid-argument', 'A file name cannot contain an unpaired surrogate', { path: text });
}

/** Bytes of the name. Throws as `encodeName`. */
export function nameLength(text: string): number {
  return hasRawBytes(text) ? encodeName(text).length : Buffer.byteLength(text);
}

/** True where `text` stands for a name with bytes that are not valid UTF-8. */
export function hasRawBytes(text: string): boolean {
  return !text.isWellFormed();
}

/**
 * `text` as QEMU prints it in JSON: each sequence that is not UTF-8 becomes U+FFFD, so that the name cannot be got back from it; the bytes
 * C0 80 become a NUL.
 */
export function withoutRawBytes(text: string): string {
  return text.replace(/\p{Surrogate}+/gu, (run) => {
    let result = '';
    for (let at = 0; at < run.length; ) {
      const lead = run.charCodeAt(at) & 0xff;
      const wanted = lead >= 0xc0 && lead < 0xfe ? Math.clz32(~(lead << 24)) : 1;
      let length = 1;
      while (length < wanted && at + length < run.length && (run.charCodeAt(at + length) & 0xc0) === 0x80) length++;
      const zero = length === 2 && lead === 0xc0 && (run.charCodeAt(at + 1) & 0xff) === 0x80;
      result += zero ? '\0' : '\ufffd';
      at += length;
    }
    return result;
  });
}
