// Sizes as qemu-img reads and prints them: `1.5G` in, `1.5 GiB` out.

const SUFFIXES = 'bkmgtpe';
const NAMES = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

/** Number of bytes, or what is wrong: no size at all, or beyond 2^53 - 1. */
export type SizeResult = number | 'malformed' | 'too-large';

/**
 * Reads a size: decimal digits, with a fraction where a suffix follows (b, k, M, G, T, P, E in either case; powers of
 * 1024), or `0x` and hexadecimal digits without a suffix. A fraction of a byte is cut off.
 */
export function readSize(text: string): SizeResult {
  if (/^0x[0-9a-f]+$/i.test(text)) return bounded(BigInt(text));
  const match = /^\+?(\d+)(?:\.(\d*))?([bkmgtpe]?)$/i.exec(text);
  if (match === null) return 'malformed';
  const [, whole, fraction = '', suffix = ''] = match as unknown as [string, string, string?, string?];
  const power = Math.max(0, SUFFIXES.indexOf(suffix.toLowerCase()));
  // Half a byte is no size: only a multiple can have a fraction.
  if (text.includes('.') && power === 0) return 'malformed';
  if (whole.length > 20) return 'too-large';
  const unit = 1n << BigInt(10 * power);
  const digits = fraction.slice(0, 20);
  return bounded(BigInt(whole) * unit + (BigInt(digits || '0') * unit) / 10n ** BigInt(digits.length));
}

/** `1.5 GiB`: three significant digits, the unit in which the number is below 1000. */
export function formatSize(bytes: number): string {
  let power = 0;
  let value = bytes;
  while (value >= 1000 && power < NAMES.length - 1) {
    value /= 1024;
    power++;
  }
  return `${threeDigits(value)} ${NAMES[power]}B`;
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

function bounded(value: bigint): SizeResult {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? 'too-large' : Number(value);
}
