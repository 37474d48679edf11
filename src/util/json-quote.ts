// Text in JSON as QEMU writes it: all of it ASCII, every other character as \u and four capital digits.

import { withoutRawBytes } from './name-bytes.js';

/** Text in which nothing is to be escaped: nearly all. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** `text` as a JSON string, with quotes. In a name that is not UTF-8, the invalid bytes become U+FFFD. */
export function quoteJson(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  return asciiJson(JSON.stringify(withoutRawBytes(text)));
}

/** JSON text with the same meaning, in ASCII only. */
export function asciiJson(json: string): string {
  // An escaped backslash is matched as a unit, so that a `u` after it is not taken for an escape.
  return json.replace(/\\\\|\\u[0-9a-f]{4}|[\u007f-\uffff]/g, (unit) => {
    if (unit === '\\\\') return unit;
    const digits = unit.length > 1 ? unit.slice(2) : unit.charCodeAt(0).toString(16).padStart(4, '0');
    return `\\u${digits.toUpperCase()}`;
  });
}
