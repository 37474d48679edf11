// The directory of persistent dirty bitmaps (specification: "Bitmaps extension", "Bitmap directory").
//
//   header extension: count | directory length and offset
//
//   entry   0            8             12      16     17            18          20           24
//           table offset | table size  | flags | type | granularity | name size | extra size | name ...     to a multiple of 8

import { checkGranularity } from '../../../block/bitmap.js';
import { reportUnforeseen } from '../../../util/best-effort.js';
import { viewBe64, viewOf } from '../../../util/bytes.js';
import type { BlockError } from '../../../util/errors.js';
import { decodeName } from '../../../util/name-bytes.js';
import { roundUp } from '../../../util/numbers.js';
import type { BitmapReader } from './bitmap-reader.js';
import type { HostOffset } from './types.js';

const MAX_BITMAPS = 65535;
const MAX_NAME_BYTES = 1023;
const EXTENSION_BYTES = 24;
const ENTRY_BYTES = 24;
/** QEMU's limit; it is slightly less than the length of that many entries with the longest names. */
const MAX_DIRECTORY_BYTES = MAX_BITMAPS * 1024;
/** Limit of a bitmap table, as of an L1 table. */
const MAX_TABLE_BYTES = 32 << 20;

const IN_USE = 1;
const AUTO = 2;
/** Bit 2, "extra data compatible", counts too: no bitmap with extra data is read. */
const RESERVED_FLAGS = 0xffff_fffc;
const DIRTY_TRACKING = 1;

/** One entry of the directory. */
export interface StoredBitmap {
  name: string;
  /** Bytes. */
  granularity: number;
  /** The bitmap was not stored properly: its bits are not valid. */
  inUse: boolean;
  /** The bitmap records changes as soon as the image is opened for writing. */
  auto: boolean;
  tableOffset: HostOffset;
  tableEntries: number;
}

/** Place of the directory in the file, in bytes. */
export interface DirectoryPlace {
  offset: HostOffset;
  length: number;
}

/** Reads the directory that the header extension names. Rejects with `invalid-image`, `unsupported`, `limit`, `io`. */
export async function readDirectory(
  reader: BitmapReader,
  extension: Uint8Array,
): Promise<{ place: DirectoryPlace; list: StoredBitmap[] }> {
  const { count, place } = decodeExtension(reader, extension);
  const bytes = await reader.read(place.offset, place.length);
  if (bytes === null) throw reader.error('invalid-image', 'Bitmap directory is outside of the file');
  return { place, list: decodeEntries(reader, bytes, count) };
}

function decodeExtension(reader: BitmapReader, extension: Uint8Array): { count: number; place: DirectoryPlace } {
  const invalid = (message: string): BlockError => reader.error('invalid-image', message);
  if (extension.length !== EXTENSION_BYTES) throw invalid('bitmaps_ext: Invalid extension length');
  const view = viewOf(extension);
  const count = view.getUint32(0);
  const length = viewBe64(view, 8);
  const offset = viewBe64(view, 16) as HostOffset;
  if (view.getUint32(4) !== 0) throw invalid('bitmaps_ext: Reserved field is not zero');
  if (count === 0) throw invalid('found bitmaps extension with zero bitmaps');
  if (count > MAX_BITMAPS) {
    throw invalid(`bitmaps_ext: Image has ${count} bitmaps, exceeding the QEMU supported maximum of ${MAX_BITMAPS}`);
  }
  if (offset === 0 || offset % reader.clusterSize !== 0) {
    throw invalid('bitmaps_ext: invalid bitmap directory offset');
  }
  if (length > MAX_DIRECTORY_BYTES) {
    throw invalid(
      `bitmaps_ext: bitmap directory size (${length}) exceeds the maximum supported size (${MAX_DIRECTORY_BYTES})`,
    );
  }
  if (length === 0) throw invalid('Requested bitmap directory size is zero');
  return { count, place: { offset, length } };
}

function decodeEntries(reader: BitmapReader, bytes: Uint8Array, count: number): StoredBitmap[] {
  const invalid = (message: string): BlockError => reader.error('invalid-image', message);
  const view = viewOf(bytes);
  const list: StoredBitmap[] = [];
  const names = new Set<string>();
  for (let at = 0; at < bytes.length; ) {
    if (at + ENTRY_BYTES > bytes.length) throw invalid('Broken bitmap directory');
    if (list.length === count) throw invalid('More bitmaps found than specified in header extension');
    const nameBytes = view.getUint16(at + 18);
    const extraBytes = view.getUint32(at + 20);
    const nameAt = at + ENTRY_BYTES + extraBytes;
    const end = roundUp(nameAt + nameBytes, 8);
    if (extraBytes !== 0) throw reader.error('unsupported', 'Bitmap extra data is not supported');
    if (end > bytes.length) throw invalid('Broken bitmap directory');
    const name = decodeName(bytes.subarray(nameAt, nameAt + nameBytes));
    const stored = decodeEntry(reader, view, at, name, nameBytes);
    if (names.has(name)) throw invalid(`Bitmap already exists: ${name}`);
    names.add(name);
    list.push(stored);
    at = end;
  }
  if (list.length < count) throw invalid('Less bitmaps found than specified in header extension');
  return list;
}

function decodeEntry(reader: BitmapReader, view: DataView, at: number, name: string, nameBytes: number): StoredBitmap {
  const { clusterSize, size } = reader;
  const flags = view.getUint32(at + 12);
  const granularity = 2 ** view.getUint8(at + 17);
  const tableOffset = viewBe64(view, at) as HostOffset;
  const tableEntries = view.getUint32(at + 8);
  const inUse = (flags & IN_USE) !== 0;
  const wanted = Math.ceil(Math.ceil(size / granularity) / 8 / clusterSize);
  const fits =
    isGranularity(granularity) &&
    view.getUint8(at + 16) === DIRTY_TRACKING &&
    (flags & RESERVED_FLAGS) === 0 &&
    nameBytes >= 1 &&
    nameBytes <= MAX_NAME_BYTES &&
    tableOffset % clusterSize === 0 &&
    (tableOffset !== 0 || tableEntries === 0) &&
    tableEntries * 8 <= MAX_TABLE_BYTES;
  if (!fits) throw reader.error('invalid-image', `Bitmap '${name}' doesn't satisfy the constraints`);
  // The table of a bitmap that was not stored may have an outdated size.
  if (!inUse && tableEntries !== wanted) {
    throw reader.error('invalid-image', `Could not read bitmap '${name}' from image: Invalid argument`);
  }
  return { name, granularity, inUse, auto: (flags & AUTO) !== 0, tableOffset, tableEntries };
}

function isGranularity(granularity: number): boolean {
  try {
    checkGranularity(granularity);
    return true;
  } catch (error) {
    reportUnforeseen('bitmap directory', error);
    return false;
  }
}
