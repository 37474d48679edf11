// Sizes as qemu-img reads and prints them: `1.5G` in, `1.5 GiB` out.

import { BlockError } from './errors.js';

const SUFFIXES = 'bkmgtpe';
const NAMES = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
/** Digits that are read: a number with more of them is beyond every limit. */
const MAX_DIGITS = 40;

export const INT64_MAX = 2n ** 63n - 1n;
export const UINT64_MAX = 2n ** 64n - 1n;
/** The largest size that Diskwright handles, in bytes. */
export const MAX_BYTES = BigInt(Number.MAX_SAFE_INTEGER);

/** Is told of each size that is read though it should be written otherwise. */
let warn: (warning: string) => void = () => undefined;

/** From now on, `listener` gets the warning about each size that has hexadecimal digits and a suffix. A program has one. */
export function onSizeWarning(listener: (warning: string) => void): void {
  warn = listener;
}

/**
 * Reads a size, of any magnitude: decimal digits, with a fraction that is cut off to whole bytes where a suffix follows (b, k, M, G, T, P, E in
 * either case; powers of 1024) and that is zero where none does, or `0x` and hexadecimal digits, with a warning where a suffix follows (k, M, G, T, P: the
 * others are digits). Null where it is none; there are no exponents.
 */
export function parseSize(text: string): bigint | null {
  const trimmed = text.trimStart();
  const hexadecimal = /^\+?(0x[0-9a-f]+)([kmgtp]?)(.*)$/is.exec(trimmed);
  if (hexadecimal !== null) {
    const [, digits, suffix, rest] = hexadecimal;
    if (suffix !== '') warn(`warning: Using a multiplier suffix on hex numbers is deprecated: ${text}`);
    return rest === '' ? bigOf(digits) * unitOf(suffix) : null;
  }
  const match = /^\+?(\d+)(?:\.(\d*))?([bkmgtpe]?)$/i.exec(trimmed);
  if (match === null) return null;
  const [, whole, fraction = '', suffix = ''] = match as unknown as [string, string, string?, string?];
  const unit = unitOf(suffix);
  // A size is whole bytes: without a suffix there is no fraction.
  if (unit === 1n && /[1-9]/.test(fraction)) return null;
  const digits = fraction.slice(0, MAX_DIGITS);
  return bigOf(whole) * unit + (BigInt(digits || '0') * unit) / 10n ** BigInt(digits.length);
}

/** What a suffix stands for; 1 where there is none. */
function unitOf(suffix: string): bigint {
  return 1n << BigInt(10 * Math.max(0, SUFFIXES.indexOf(suffix.toLowerCase())));
}

/** The number, read from at most `MAX_DIGITS` digits: converting very many takes long, and the number is beyond every limit anyway. */
function bigOf(digits: string): bigint {
  return BigInt(digits.replace(/^(0[xo])?0+(?=[\da-f])/i, '$1').slice(0, MAX_DIGITS));
}

/** Reads a whole number as the C library's strtoull does with base 0: decimal, `0x` hexadecimal, `0` octal. Null where it is none. */
export function parseWholeNumber(text: string): bigint | null {
  const match = /^([-+]?)(0x[\da-f]+|\d+)$/i.exec(text.trimStart());
  if (match === null) return null;
  const [, sign, given] = match;
  const octal = /^0[0-9]/.test(given);
  if (octal && !/^[0-7]+$/.test(given)) return null;
  const value = bigOf(octal ? `0o${given.slice(1)}` : given);
  return sign === '-' ? -value : value;
}

/** The value of the option `name` as a size, in the words of QEMU's options. Throws `invalid-argument`. */
export function sizeOfOption(name: string, text: string): bigint {
  const size = parseSize(text);
  if (size === null) {
    throw new BlockError(
      'invalid-argument',
      `Parameter '${name}' expects a non-negative number below 2^64\n` +
        'Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.',
    );
  }
  if (size <= UINT64_MAX) return size;
  throw new BlockError('invalid-argument', `Value '${text}' is out of range for parameter '${name}'`);
}

/** `1.5 GiB`: three significant digits, the unit in which the number is below 1000. */
export function formatSize(bytes: number): string {
  const power = powerOf(bytes);
  return `${threeDigits(bytes / 1024 ** power)} ${NAMES[power]}B`;
}

/** `part` in the unit that `formatSize` takes for `total`, with as many decimals for each part of it: `0.50 GiB`. */
export function formatShare(part: number, total: number): string {
  const power = powerOf(total);
  const unit = 1024 ** power;
  const decimals = power === 0 || total >= 100 * unit ? 0 : total >= 10 * unit ? 1 : 2;
  return `${(part / unit).toFixed(decimals)} ${NAMES[power]}B`;
}

/** Of 1024, so that less than 1000 of it are there. */
function powerOf(bytes: number): number {
  let power = 0;
  for (let value = bytes; value >= 1000 && power < NAMES.length - 1; value /= 1024) power++;
  return power;
}

/** What C prints for `%0.3g` of a number from 0 to below 1000; ties go to the even digit. */
function threeDigits(value: number): string {
  if (value === 0) return '0';
  const scale = 10 ** (2 - Math.floor(Math.log10(value)));
  const scaled = value * scale;
  const below = Math.floor(scaled);
  const even = scaled - below === 0.5 ? below + (below % 2) : Math.round(scaled);
  if (value < 1000 && even / scale >= 1000) return '1e+03';
  return String(Number((even / scale).toPrecision(3)));
}
