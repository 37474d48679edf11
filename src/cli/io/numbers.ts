// Numbers of a command, as qemu-io reads and prints them.

import { INT64_MAX, parseSize, parseWholeNumber } from '../../util/size.js';
import { write } from '../output.js';

/** The longest request, bytes: what a 32-bit number with a sign holds, in whole sectors. */
export const MAX_REQUEST_BYTES = 2 ** 31 - 512;
const SECTOR = 512;

/** A size or an offset, of 63 bits at most; null after it was reported. Beyond 2^53 it is rounded: no image is as large. */
export function sizeWord(text: string): number | null {
  const value = parseSize(text);
  if (value === null) {
    write(`Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- ${text}\n`);
    return null;
  }
  if (value <= INT64_MAX) return Number(value);
  write(`Parsing error: argument too large -- ${text}\n`);
  return null;
}

/** The byte that `-P` names; null after it was reported. */
export function patternByte(text: string): number | null {
  const value = parseWholeNumber(text);
  if (value !== null && value >= 0n && value <= 0xffn) return Number(value);
  write(`${text} is not a valid pattern byte\n`);
  return null;
}

/** Refuses what is no whole number of sectors. */
export function wholeSectors(name: 'offset' | 'count', value: number): boolean {
  if (value % SECTOR === 0) return true;
  write(`${value} is not a sector-aligned value for '${name}'\n`);
  return false;
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `1.500 KiB`; decimals that are all zero are left out. */
export function shownSize(bytes: number): string {
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  const text = unit === 0 ? value.toFixed(Number.isInteger(value) ? 0 : 6) : threeDecimals(value);
  return `${text.replace(/\.0+$/, '')} ${UNITS[unit]}`;
}

/** As C prints them: a tie goes to the even digit. */
function threeDecimals(value: number): string {
  const sixteenths = value * 16;
  const halves = value * 2000;
  if (!Number.isInteger(sixteenths) || halves % 2 !== 1) return value.toFixed(3);
  const below = (halves - 1) / 2;
  return ((below + (below % 2)) / 1000).toFixed(3);
}
