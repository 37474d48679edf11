// The directory of persistent dirty bitmaps: limits and codec (specification: "Bitmaps extension", "Bitmap directory").
//
//   header extension: count | directory length and offset
//
//   entry   0            8             12      16     17            18          20           24
//           table offset | table size  | flags | type | granularity | name size | extra size | extra data, name ...   to a multiple of 8
//
// An entry is a multiple of 8 bytes, so its flags lie in one sector, which a power cut leaves whole: they may be changed in place.

import { checkGranularity } from '../../../block/bitmap.js';
import { reportUnforeseen } from '../../../util/best-effort.js';
import { putViewBe64, viewBe64, viewOf } from '../../../util/bytes.js';
import type { BlockError } from '../../../util/errors.js';
import { decodeName, encodeName } from '../../../util/name-bytes.js';
import { roundUp } from '../../../util/numbers.js';
import type { BitmapReader } from './bitmap-reader.js';
import type { HostOffset } from './types.js';

export const MAX_BITMAPS = 65535;
const MAX_NAME_BYTES = 1023;
const EXTENSION_BYTES = 24;
const ENTRY_BYTES = 24;
/** QEMU's limit; it is slightly less than the length of that many entries with the longest names. */
export const MAX_DIRECTORY_BYTES = MAX_BITMAPS * 1024;
/** Limit of a bitmap table, as of an L1 table. */
export const MAX_TABLE_BYTES = 32 << 20;

const IN_USE = 1;
const AUTO = 2;
const EXTRA_DATA_COMPATIBLE = 4;
const RESERVED_FLAGS = 0xffff_fff8;
const DIRTY_TRACKING = 1;
/** Offset of the flags in an entry. */
export const FLAGS_AT = 12;

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
  /** Data of a later version of the format, kept as it is. */
  extra: Uint8Array;
  /** Who does not know the extra data may use the bitmap all the same. */
  extraCompatible: boolean;
}

/** Whether a program that knows no extra data may use the bitmap. */
export function isUsable({ inUse, extra, extraCompatible }: StoredBitmap): boolean {
  return !inUse && (extra.length === 0 || extraCompatible);
}

/** Entries of the table of a bitmap of a disk of `size` bytes. */
export function tableEntriesFor(size: number, granularity: number, clusterSize: number): number {
  return Math.ceil(Math.ceil(size / granularity) / 8 / clusterSize);
}

/** Place of the directory in the file, in bytes. */
export interface DirectoryPlace {
  offset: HostOffset;
  length: number;
}

/**
 * Reads the directory that the header extension names. With `lost`, entries that cannot be read are left out, and it is called with the reason. Rejects with
 * `invalid-image`, `unsupported`, `limit`, `io`.
 */
export async function readDirectory(
  reader: BitmapReader,
  extension: Uint8Array,
  lost?: (error: unknown) => void,
): Promise<{ place: DirectoryPlace; list: StoredBitmap[] }> {
  const { count, place } = decodeExtension(reader, extension);
  const outside = reader.error('invalid-image', 'Bitmap directory is outside of the file');
  const list: StoredBitmap[] = [];
  let bytes = await reader.read(place.offset, place.length);
  if (lost === undefined) {
    if (bytes === null) throw outside;
    decodeEntries(reader, bytes, count, list);
    return { place, list };
  }
  if (bytes === null) {
    lost(outside);
    // The length is wrong, but the entries may be there.
    bytes = (await reader.read(place.offset, Math.min(place.length, reader.left(place.offset)))) ?? new Uint8Array(0);
  }
  let length = 0;
  try {
    decodeEntries(reader, bytes, count, list, { lost, passed: (end) => (length = end) });
  } catch (error) {
    lost(error);
  }
  return { place: { ...place, length }, list };
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

/** Adds all entries to `list`; with `salvage`, those that can be told from others, but not be used, go to `lost`, and `passed` hears how far it came. */
function decodeEntries(
  reader: BitmapReader,
  bytes: Uint8Array,
  count: number,
  list: StoredBitmap[],
  salvage?: { lost: (error: unknown) => void; passed: (end: number) => void },
): void {
  const invalid = (message: string): BlockError => reader.error('invalid-image', message);
  const refuse = (error: unknown): void => {
    if (salvage === undefined) throw error;
    salvage.lost(error);
  };
  const view = viewOf(bytes);
  const names = new Set<string>();
  let seen = 0;
  for (let at = 0; at < bytes.length; seen++) {
    if (at + ENTRY_BYTES > bytes.length) throw invalid('Broken bitmap directory');
    if (seen === count) refuse(invalid('More bitmaps found than specified in header extension'));
    if (list.length === MAX_BITMAPS) throw invalid('Too many bitmaps');
    const nameBytes = view.getUint16(at + 18);
    const extraBytes = view.getUint32(at + 20);
    const nameAt = at + ENTRY_BYTES + extraBytes;
    const end = roundUp(nameAt + nameBytes, 8);
    if (end > bytes.length) throw invalid('Broken bitmap directory');
    const name = decodeName(bytes.subarray(nameAt, nameAt + nameBytes));
    try {
      const stored = decodeEntry(reader, view, at, name, nameBytes);
      stored.extra = bytes.slice(at + ENTRY_BYTES, nameAt);
      if (names.has(name)) throw invalid(`Bitmap already exists: ${name}`);
      names.add(name);
      list.push(stored);
    } catch (error) {
      refuse(error);
    }
    at = end;
    salvage?.passed(end);
  }
  if (seen < count) refuse(invalid('Less bitmaps found than specified in header extension'));
}

function decodeEntry(reader: BitmapReader, view: DataView, at: number, name: string, nameBytes: number): StoredBitmap {
  const { clusterSize, size } = reader;
  const flags = view.getUint32(at + FLAGS_AT);
  const granularity = 2 ** view.getUint8(at + 17);
  const tableOffset = viewBe64(view, at) as HostOffset;
  const tableEntries = view.getUint32(at + 8);
  const inUse = (flags & IN_USE) !== 0;
  const wanted = tableEntriesFor(size, granularity, clusterSize);
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
  const auto = (flags & AUTO) !== 0;
  const extraCompatible = (flags & EXTRA_DATA_COMPATIBLE) !== 0;
  return { name, granularity, inUse, auto, tableOffset, tableEntries, extra: new Uint8Array(0), extraCompatible };
}

/** Bytes of the entry of a bitmap. */
function entryBytes(name: Uint8Array, extra: Uint8Array): number {
  return roundUp(ENTRY_BYTES + extra.length + name.length, 8);
}

/** Bytes of the directory of these bitmaps. */
export function directoryBytes(list: readonly Pick<StoredBitmap, 'name' | 'extra'>[]): number {
  return list.reduce((sum, { name, extra }) => sum + entryBytes(encodeName(name), extra), 0);
}

/** The directory, and for each bitmap where in it its flags lie. */
export function encodeDirectory(list: readonly StoredBitmap[]): { bytes: Uint8Array; flagsAt: number[] } {
  const bytes = new Uint8Array(directoryBytes(list));
  const view = viewOf(bytes);
  const flagsAt: number[] = [];
  let at = 0;
  for (const stored of list) {
    const { extra } = stored;
    const name = encodeName(stored.name);
    putViewBe64(view, at, stored.tableOffset);
    view.setUint32(at + 8, stored.tableEntries);
    view.setUint32(at + FLAGS_AT, flagsOf(stored));
    view.setUint8(at + 16, DIRTY_TRACKING);
    view.setUint8(at + 17, Math.log2(stored.granularity));
    view.setUint16(at + 18, name.length);
    view.setUint32(at + 20, extra.length);
    bytes.set(extra, at + ENTRY_BYTES);
    bytes.set(name, at + ENTRY_BYTES + extra.length);
    flagsAt.push(at + FLAGS_AT);
    at += entryBytes(name, extra);
  }
  return { bytes, flagsAt };
}

/** The flags of an entry. */
export function flagsOf({ inUse, auto, extraCompatible }: StoredBitmap): number {
  return (inUse ? IN_USE : 0) | (auto ? AUTO : 0) | (extraCompatible ? EXTRA_DATA_COMPATIBLE : 0);
}

/** The data of the header extension. */
export function encodeExtension(count: number, { offset, length }: DirectoryPlace): Uint8Array {
  const bytes = new Uint8Array(EXTENSION_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, count);
  putViewBe64(view, 8, length);
  putViewBe64(view, 16, offset);
  return bytes;
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
