// The header of a cow image of user-mode-linux, of which there are three versions.
//
//   | header, with the name of the backing file | bitmap: a bit for each sector | sectors, each at its place on the disk |
//
//                      name          date of the backing file    its size    bytes of a sector    alignment   bitmap at
//   version 1          8, 256 bytes  264, 32 bits                268         276                  -           280
//   version 2          8, 4096       4104, 32                    4108        4116                 -           4120
//   version 3          32, 4096      8, 32                       12          20                   24          aligned, behind 4128
//   the same, 64 bits  36, 4096      8, 64                       16          24                   28          aligned, behind 4136
//
// Numbers are big-endian; those of version 1, little-endian. A set bit (bit 0 of a byte is the first): the sector was written, and lies here; else it is the backing file's.
// The sectors begin behind the bitmap, at a multiple of a sector's length, or of the alignment. The disk has the whole sectors of the backing file.
// In the first two versions the last sectors of the disk, which do not fill a byte of the bitmap, have no bit, so that what is written to them is lost: Diskwright only reads those.
//
// Source: the comments and tables of user-mode-linux on its COW files; what Debian's uml_mkcow makes, and uml_moo reads of images that were encoded by it.

import type { Child } from '../../../block/child.js';
import { readUpTo } from '../../../block/stale.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import { decodeName } from '../../../util/name-bytes.js';
import { isPowerOfTwo, roundUp, SECTOR_BYTES } from '../../../util/numbers.js';

/** Of the longest kind. */
const MAX_HEADER_BYTES = 4136;
const MAX_ALIGNMENT = 1 << 20;
/** That of new images, and of uml_mkcow's. */
export const ALIGNMENT = 4096;

interface Layout {
  name: number;
  nameBytes: number;
  date: number;
  dateBytes: 4 | 8;
  size: number;
  sector: number;
  /** 0: there is none. */
  alignment: number;
  headerBytes: number;
}

const V1: Layout = {
  name: 8,
  nameBytes: 256,
  date: 264,
  dateBytes: 4,
  size: 268,
  sector: 276,
  alignment: 0,
  headerBytes: 280,
};
const V2: Layout = {
  name: 8,
  nameBytes: 4096,
  date: 4104,
  dateBytes: 4,
  size: 4108,
  sector: 4116,
  alignment: 0,
  headerBytes: 4120,
};
const V3: Layout = {
  name: 32,
  nameBytes: 4096,
  date: 8,
  dateBytes: 4,
  size: 12,
  sector: 20,
  alignment: 24,
  headerBytes: 4128,
};
/** As programs of 64 bits wrote it once. */
const V3_WIDE: Layout = {
  name: 36,
  nameBytes: 4096,
  date: 8,
  dateBytes: 8,
  size: 16,
  sector: 24,
  alignment: 28,
  headerBytes: 4136,
};

/** Of version 3. */
export const MAX_NAME_BYTES = V3.nameBytes - 1;

export interface Header {
  version: number;
  /** Bytes of the disk: whole sectors. */
  size: number;
  /** Null: the image has none. */
  backingFile: string | null;
  /** When the backing file was changed last: seconds since 1970. */
  date: number;
  /** Where that stands, in the file. */
  dateField: { offset: number; bytes: 4 | 8; isLittle: boolean };
  /** Bytes, in the file. */
  bitmapOffset: number;
  /** So many sectors have a bit; what is behind them is the backing file's. */
  bits: number;
  dataOffset: number;
}

export function readHead(link: Child): Promise<Uint8Array> {
  return readUpTo(link, MAX_HEADER_BYTES);
}

/** `length`: of the file. Throws `invalid-image`, `unsupported`. */
export function parseHeader(head: Uint8Array, length: number, path: string): Header {
  const fail = (code: 'invalid-image' | 'unsupported', reason: string): never => {
    throw BlockError.at(path, code, reason, { operation: 'open' });
  };
  const bytes = new Uint8Array(MAX_HEADER_BYTES);
  bytes.set(head.subarray(0, MAX_HEADER_BYTES));
  const view = new DataView(bytes.buffer);
  const little = hasMagic(bytes, 'MOOO');
  if (!little && !hasMagic(bytes, 'OOOM')) fail('invalid-image', 'Image not in COW format');
  const version = view.getUint32(4, little);
  if (version < 1 || version > 3 || (little && version !== 1))
    fail('unsupported', `Unsupported COW version ${version}`);
  const layout = layoutOf(version, view);
  // The magic number and the version alone may be big-endian in the first version.
  const isLittle = version === 1;
  const sectorBytes = view.getUint32(layout.sector, isLittle);
  if (sectorBytes !== SECTOR_BYTES) fail('unsupported', `Unsupported COW sector size ${sectorBytes}`);
  const alignment = layout.alignment === 0 ? 0 : view.getUint32(layout.alignment);
  if (layout.alignment !== 0 && !(isPowerOfTwo(alignment) && alignment >= SECTOR_BYTES && alignment <= MAX_ALIGNMENT)) {
    fail('unsupported', `Unsupported COW alignment ${alignment}`);
  }
  const bitmapFormat = version === 3 ? view.getUint32(layout.alignment + 4) : 0;
  if (bitmapFormat !== 0) fail('unsupported', `Unsupported COW bitmap format ${bitmapFormat}`);
  const exact = view.getBigUint64(layout.size, isLittle);
  // A bitmap that is longer than any file has no room.
  if (exact > BigInt(Number.MAX_SAFE_INTEGER) / 2n) fail('invalid-image', 'The bitmap does not lie within the file');
  const places = placesOf(Number(exact), layout.headerBytes, alignment);
  if (places.dataOffset > roundUp(length, SECTOR_BYTES))
    fail('invalid-image', 'The bitmap does not lie within the file');
  const date = layout.dateBytes === 4 ? view.getUint32(layout.date, isLittle) : Number(view.getBigUint64(layout.date));
  const name = bytes.subarray(layout.name, layout.name + layout.nameBytes);
  const nameEnd = name.indexOf(0);
  if (nameEnd < 0) fail('invalid-image', 'The name of the backing file does not end');
  return {
    version,
    size: Math.floor(Number(exact) / SECTOR_BYTES) * SECTOR_BYTES,
    backingFile: nameEnd === 0 ? null : decodeName(name.subarray(0, nameEnd)),
    date,
    dateField: { offset: layout.date, bytes: layout.dateBytes, isLittle },
    ...places,
  };
}

/** A name never begins with four zeroes; in a header of version 3 without one, the alignment stands where the other kind has a sector's length. */
function layoutOf(version: number, view: DataView): Layout {
  if (version === 1) return V1;
  if (version === 2) return V2;
  const isWide = view.getUint32(V3.name) === 0 && view.getUint32(V3_WIDE.alignment) !== 0;
  return isWide ? V3_WIDE : V3;
}

type Places = Pick<Header, 'bitmapOffset' | 'bits' | 'dataOffset'>;

/** The first two versions have no bits for the last sectors of a disk that do not fill a byte of the bitmap. */
function placesOf(size: number, headerBytes: number, alignment: number): Places {
  const sectors = Math.ceil(size / SECTOR_BYTES);
  const bitmapBytes = alignment === 0 ? Math.floor(sectors / 8) : Math.ceil(sectors / 8);
  const bitmapOffset = alignment === 0 ? headerBytes : roundUp(headerBytes, alignment);
  const dataOffset = roundUp(bitmapOffset + bitmapBytes, Math.max(alignment, SECTOR_BYTES));
  return { bitmapOffset, bits: bitmapBytes * 8, dataOffset };
}

/** The date of the backing file, as it stands in a header. */
export function encodeDate({ dateField: { bytes, isLittle } }: Header, date: number): Uint8Array {
  const field = new Uint8Array(bytes);
  const view = new DataView(field.buffer);
  if (bytes === 4) view.setUint32(0, date, isLittle);
  else view.setBigUint64(0, BigInt(date));
  return field;
}

/** A header of version 3, with where the parts of its image lie. */
export function encodeHeader(size: number, name: Uint8Array, date: number): { head: Uint8Array; dataOffset: number } {
  const head = new Uint8Array(roundUp(V3.headerBytes, ALIGNMENT));
  const view = new DataView(head.buffer);
  head.set(new TextEncoder().encode('OOOM'));
  view.setUint32(4, 3);
  view.setUint32(V3.date, date);
  view.setBigUint64(V3.size, BigInt(size));
  view.setUint32(V3.sector, SECTOR_BYTES);
  view.setUint32(V3.alignment, ALIGNMENT);
  head.set(name, V3.name);
  return { head, dataOffset: placesOf(size, V3.headerBytes, ALIGNMENT).dataOffset };
}
