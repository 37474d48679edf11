// JSON as QEMU's monitor writes it: all of it ASCII, a blank behind each comma and colon; `pretty` with four blanks a level.

import { quoteJson } from '../../util/json-quote.js';

/** The text of `value`, without a line end. Members that are undefined are left out. */
export function writeJson(value: unknown, pretty = false): string {
  return write(value, pretty ? 0 : -1);
}

/** `level`: of indentation; negative for one line. A long answer is some 10,000 members: no array is made for each object. */
function write(value: unknown, level: number): string {
  if (typeof value === 'string') return quoteJson(value);
  if (typeof value === 'number') return double(value);
  if (typeof value !== 'object' || value === null) return String(value);
  const deeper = level < 0 ? level : level + 1;
  const inner = level < 0 ? '' : ' '.repeat(4 * deeper);
  const between = level < 0 ? ', ' : `,\n${inner}`;
  let items = '';
  let first = true;
  if (Array.isArray(value)) {
    for (const item of value) {
      items += first ? inner : between;
      items += write(item, deeper);
      first = false;
    }
  } else {
    for (const key of Object.keys(value)) {
      const member = (value as Record<string, unknown>)[key];
      if (member === undefined) continue;
      items += first ? inner : between;
      items += quotedKey(key) + write(member, deeper);
      first = false;
    }
  }
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  if (level < 0) return open + items + close;
  return `${open}\n${items}${first ? '' : '\n'}${' '.repeat(4 * level)}${close}`;
}

/** Names of members are the same few again and again. */
const quotedKeys = new Map<string, string>();
const MAX_QUOTED_KEYS = 4096;
/** Longer keys come from clients, who get their ids back: these are not kept. */
const MAX_KEPT_KEY_LENGTH = 64;

function quotedKey(key: string): string {
  const known = quotedKeys.get(key);
  if (known !== undefined) return known;
  const quoted = `${quoteJson(key)}: `;
  if (key.length <= MAX_KEPT_KEY_LENGTH && quotedKeys.size < MAX_QUOTED_KEYS) quotedKeys.set(key, quoted);
  return quoted;
}

/** As C's `%.17g`. */
function double(value: number): string {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return String(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value < 0 ? '-inf' : 'inf';
  if (value === 0) return '-0';
  const [mantissa, exponent] = value.toExponential(16).split('e');
  const power = Number(exponent);
  if (power >= -4 && power < 17) return trimmed(value.toFixed(16 - power));
  const digits = String(Math.abs(power)).padStart(2, '0');
  return `${trimmed(mantissa)}e${power < 0 ? '-' : '+'}${digits}`;
}

function trimmed(digits: string): string {
  return digits.includes('.') ? digits.replace(/\.?0+$/, '') : digits;
}
