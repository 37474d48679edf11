// Text in JSON as QEMU writes it: all of it ASCII, every other character as \u and four capital digits.

import { withoutRawBytes } from './name-bytes.js';

/** The text of a JSON string, its quotes included. A name that is no UTF-8 has U+FFFD in place of its other bytes. */
export function quoteJson(text: string): string {
  return asciiJson(JSON.stringify(withoutRawBytes(text)));
}

/** JSON text with the same meaning and nothing but ASCII in it. */
export function asciiJson(json: string): string {
  // An escaped backslash may stand before a letter u that begins no escape.
  return json.replace(/\\\\|\\u[0-9a-f]{4}|[\u007f-\uffff]/g, (unit) => {
    if (unit === '\\\\') return unit;
    const digits = unit.length > 1 ? unit.slice(2) : unit.charCodeAt(0).toString(16).padStart(4, '0');
    return `\\u${digits.toUpperCase()}`;
  });
}
