// The names of a file in a directory: a long one, in UTF-16, and a short one of 8 and 3 bytes, which is made of it as QEMU makes it:
//
//   a b.txt        AB~1.TXT       what no short name may have is left out (spaces, all that is not ASCII), as are dots in front
//   two.dots.txt   TWO~1.TXT      the bytes up to the first dot, and those behind the last one
//   letters1.html  LETTER~1.HTM   what is too long is cut
//   Abc, aBC       ABC, ABC~1     a name that has lost something, or that another file has, gets a number

import { ENTRY_BYTES } from './geometry.js';

const BASE_BYTES = 8;
const EXTENSION_BYTES = 3;
export const SHORT_NAME_BYTES = BASE_BYTES + EXTENSION_BYTES;
const MAX_NUMBER = 999999;
/** Where the characters of a long name lie in an entry. */
const PLACES = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30] as const;
export const ATTRIBUTE_LONG_NAME = 0x0f;
/** In the number of a part: it is the end of the name. */
export const LAST_PART = 0x40;

/** The short names of one directory. */
export class ShortNames {
  readonly #taken = new Set<string>();
  /** The number that the next name with these bytes gets, where the lower ones are taken. */
  readonly #numbers = new Map<string, number>();

  /** A short name for `name`, which no other file has: 11 bytes of ASCII, filled up with blanks. Null where there are no more. */
  take(name: string): string | null {
    const { base, extension, lossy } = shortened(name);
    const plain = base.padEnd(BASE_BYTES) + extension;
    if (!lossy && this.#add(plain)) return plain;
    for (let number = this.#numbers.get(plain) ?? 1; number <= MAX_NUMBER; number++) {
      const tail = `~${number}`;
      const numbered = (base.slice(0, BASE_BYTES - tail.length) + tail).padEnd(BASE_BYTES) + extension;
      if (!this.#add(numbered)) continue;
      this.#numbers.set(plain, number + 1);
      return numbered;
    }
    return null;
  }

  #add(name: string): boolean {
    if (this.#taken.has(name)) return false;
    this.#taken.add(name);
    return true;
  }
}

/** Up to 8 bytes, and 3 bytes with blanks. `lossy`: more than the difference of small and capital letters is lost. */
function shortened(name: string): { base: string; extension: string; lossy: boolean } {
  const kept = name.replace(/[^A-Za-z0-9$%'\-_@~`!(){}^#&.]/gu, '');
  const trimmed = kept.replace(/^\.+/, '');
  const lastDot = trimmed.lastIndexOf('.');
  const whole = lastDot < 0 ? trimmed : trimmed.slice(0, lastDot);
  const end = lastDot < 0 ? '' : trimmed.slice(lastDot + 1);
  const [start] = whole.split('.', 1);
  const base = start.slice(0, BASE_BYTES).toUpperCase();
  const extension = end.slice(0, EXTENSION_BYTES).toUpperCase();
  const lossy = trimmed !== name || base === '' || base.length < whole.length || extension.length < end.length;
  return { base, extension: extension.padEnd(EXTENSION_BYTES), lossy };
}

/** The name by which FAT tells files apart, where only the letters of ASCII have two cases. */
export function asciiUpper(name: string): string {
  return name.replace(/[a-z]+/g, (letters) => letters.toUpperCase());
}

/** The same where all letters have: what some systems take for one name. */
export function unicodeUpper(name: string): string {
  return Array.from(name, (letter) => {
    const upper = letter.toUpperCase();
    return upper.length === letter.length ? upper : letter;
  }).join('');
}

/** The sum by which the entries of a long name belong to the short one. */
export function checksumOf(shortName: Uint8Array): number {
  let sum = 0;
  for (const byte of shortName) sum = (((sum & 1) << 7) + (sum >> 1) + byte) & 0xff;
  return sum;
}

/** Entries that the long name takes. */
export function longNameEntries(name: string): number {
  return Math.ceil(name.length / PLACES.length);
}

/** The entries of the long name, which stand before the one with the short name: the end of the name comes first. */
export function longNameBytes(name: string, shortName: Uint8Array): Uint8Array {
  const count = longNameEntries(name);
  const bytes = new Uint8Array(count * ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  const sum = checksumOf(shortName);
  for (let part = 0; part < count; part++) {
    const at = (count - 1 - part) * ENTRY_BYTES;
    bytes[at] = (part + 1) | (part === count - 1 ? LAST_PART : 0);
    bytes[at + 11] = ATTRIBUTE_LONG_NAME;
    bytes[at + 13] = sum;
    for (const [index, place] of PLACES.entries()) {
      const character = part * PLACES.length + index;
      // Behind the name: a zero, and then nothing.
      const unit = character < name.length ? name.charCodeAt(character) : character === name.length ? 0 : 0xffff;
      view.setUint16(at + place, unit, true);
    }
  }
  return bytes;
}

/** The part of a long name that stands in an entry, up to the name's end. */
export function longNamePart(entry: Uint8Array): string {
  let text = '';
  for (const place of PLACES) {
    const unit = entry[place] | (entry[place + 1] << 8);
    if (unit === 0) break;
    text += String.fromCharCode(unit);
  }
  return text;
}
