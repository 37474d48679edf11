// Text from outside that is printed for people: names inside images, messages of servers. A terminal obeys control characters, so they are
// printed as escapes.

import { hasRawBytes } from './name-bytes.js';

/**
 * What must not reach a terminal as it is: C0 and C1 control characters, DEL, characters that turn the direction of text or have no
 * width, line and paragraph separators, and bytes that are no UTF-8.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\u2028\u2029\p{Surrogate}]/gu;

/** Nearly all text has nothing but these. The test is ten times as fast as the first use of the other, for which node makes tables of all characters. */
const PLAIN = /^[\x20-\x7e\n]*$/;

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\t': '\\t', '\r': '\\r' };

/** `text` with what is unsafe as escapes: `\x1b`, `\n`, `\xff` for a byte that is no UTF-8, `\u202e`. One line. */
export function printable(text: string): string {
  return PLAIN.test(text) && !text.includes('\n') ? text : text.replace(UNSAFE, escaped);
}

/** As `printable`, for several lines: line feeds and tabs, which are harmless on a terminal, stay. */
export function printableLines(text: string): string {
  return PLAIN.test(text)
    ? text
    : text.replace(UNSAFE, (unit) => (unit === '\n' || unit === '\t' ? unit : escaped(unit)));
}

function escaped(unit: string): string {
  const short = SHORT[unit];
  if (short !== undefined) return short;
  const code = unit.codePointAt(0)!;
  if (hasRawBytes(unit)) return `\\x${(code & 0xff).toString(16).padStart(2, '0')}`;
  return code < 0x80 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
}
