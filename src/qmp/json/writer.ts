// JSON as QEMU's monitor writes it: all of it ASCII, a blank behind each comma and colon; `pretty` with four blanks a level.

import { quoteJson } from '../../util/json-quote.js';

/** The text of `value`, without a line end. Members that are undefined are left out. */
export function writeJson(value: unknown, pretty = false): string {
  return write(value, pretty ? 0 : -1);
}

/** `level`: of indentation; negative for one line. */
function write(value: unknown, level: number): string {
  if (typeof value === 'string') return quoteJson(value);
  if (typeof value === 'number') return double(value);
  if (typeof value !== 'object' || value === null) return String(value);
  const deeper = level < 0 ? level : level + 1;
  if (Array.isArray(value))
    return enclose(
      '[]',
      value.map((item) => write(item, deeper)),
      level,
    );
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return enclose(
    '{}',
    members.map(([key, member]) => `${quoteJson(key)}: ${write(member, deeper)}`),
    level,
  );
}

function enclose([open, close]: string, items: readonly string[], level: number): string {
  if (level < 0) return `${open}${items.join(', ')}${close}`;
  const outer = ' '.repeat(4 * level);
  const inner = ' '.repeat(4 * (level + 1));
  const body = items.map((item) => inner + item).join(',\n');
  return `${open}\n${body}${items.length === 0 ? '' : '\n'}${outer}${close}`;
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
