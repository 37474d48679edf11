// Reads the entries of one directory that a machine has written: see directory.ts for where what stands.

import { hasRawBytes, nameLength } from '../../../util/name-bytes.js';
import { ATTRIBUTE_FOLDER, ATTRIBUTE_LABEL_BIT } from './directory.js';
import { ENTRY_BYTES } from './geometry.js';
import { inconsistent } from './inconsistent.js';
import { MAX_NAME_BYTES } from './limits.js';
import { ATTRIBUTE_LONG_NAME, asciiUpper, checksumOf, LAST_PART, longNamePart, SHORT_NAME_BYTES } from './names.js';
import { isKeptImage } from './temporary.js';
import type { FatTime } from './times.js';

export interface FoundEntry {
  name: string;
  isFolder: boolean;
  /** Its first cluster; 0: none. */
  cluster: number;
  size: number;
  changed: FatTime;
}

const END = 0x00;
const DELETED = 0xe5;
/** In place of a first byte that would mean `DELETED`. */
const ESCAPED_DELETED = 0x05;
/** Of a short name without a long one: its letters are small ones. */
const SMALL_BASE = 0x08;
const SMALL_EXTENSION = 0x10;

/** A long name whose parts are being collected. One that is not whole, or not that of the short name behind it, was left by a system that knows short names only: it does not count. */
interface LongName {
  text: string;
  /** The number of the part that comes next; 0: none does. */
  next: number;
  sum: number;
}

/** The files and folders in a directory. Throws `Inconsistent`; `where` is what messages call it. */
export function readDirectory(bytes: Uint8Array, where: string): FoundEntry[] {
  const found: FoundEntry[] = [];
  const names = new Set<string>();
  let long: LongName | null = null;
  for (let at = 0; at + ENTRY_BYTES <= bytes.length; at += ENTRY_BYTES) {
    const entry = Buffer.from(bytes.buffer, bytes.byteOffset + at, ENTRY_BYTES);
    if (entry[0] === END) break;
    if (entry[0] === DELETED) {
      long = null;
      continue;
    }
    const attributes = entry[11];
    if ((attributes & 0x3f) === ATTRIBUTE_LONG_NAME) {
      long = withPart(long, entry);
      continue;
    }
    if ((attributes & ATTRIBUTE_LABEL_BIT) === 0 && !isDot(entry)) {
      const one = fileOf(entry, nameOf(entry, long, where));
      checkName(one.name, where);
      const folded = asciiUpper(one.name);
      if (names.has(folded)) inconsistent(`'${one.name}' is twice in '${where}'`);
      names.add(folded);
      found.push(one);
    }
    long = null;
  }
  return found;
}

/** `.` and `..`. */
function isDot(entry: Buffer): boolean {
  return /^\.\.? +$/.test(entry.toString('latin1', 0, SHORT_NAME_BYTES));
}

function withPart(long: LongName | null, entry: Buffer): LongName | null {
  const number = entry[0] & 0x1f;
  const sum = entry[13];
  const isFirst = (entry[0] & LAST_PART) !== 0;
  if (number === 0 || (!isFirst && (long === null || long.next !== number || long.sum !== sum))) return null;
  const text = longNamePart(entry);
  return { text: isFirst ? text : text + long!.text, next: number - 1, sum };
}

function nameOf(entry: Buffer, long: LongName | null, where: string): string {
  const short = Buffer.from(entry.subarray(0, SHORT_NAME_BYTES));
  if (long?.next === 0 && long.sum === checksumOf(short)) return long.text;
  if (short[0] === ESCAPED_DELETED) short[0] = DELETED;
  if (short.some((byte) => byte < 0x20 || byte > 0x7e)) inconsistent(`a short name in '${where}' is not ASCII`);
  const flags = entry[12];
  const part = (from: number, to: number, small: number) => {
    const text = short.toString('latin1', from, to).trimEnd();
    return (flags & small) !== 0 ? text.toLowerCase() : text;
  };
  const base = part(0, 8, SMALL_BASE);
  const extension = part(8, SHORT_NAME_BYTES, SMALL_EXTENSION);
  return extension === '' ? base : `${base}.${extension}`;
}

function fileOf(entry: Buffer, name: string): FoundEntry {
  return {
    name,
    isFolder: (entry[11] & ATTRIBUTE_FOLDER) !== 0,
    cluster: entry.readUInt16LE(26) + entry.readUInt16LE(20) * 0x10000,
    size: entry.readUInt32LE(28),
    changed: { date: entry.readUInt16LE(24), time: entry.readUInt16LE(22) },
  };
}

/** A name leads to one file in its folder, and nowhere else. */
function checkName(name: string, where: string): void {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name) || hasRawBytes(name)) {
    inconsistent(`${JSON.stringify(name)} in '${where}' is no name of a file`);
  }
  if (isKeptImage(name)) inconsistent(`'${name}' in '${where}' is a name for images that Diskwright keeps`);
  if (nameLength(name) > MAX_NAME_BYTES) inconsistent(`a name in '${where}' has more than ${MAX_NAME_BYTES} bytes`);
}
