// The header of a sparse extent, of which there are two kinds. All numbers are little-endian, all places and sizes sectors of 512 bytes.
//
//   KDMV, of VMware's hosted products     | header | descriptor | copies: directory, tables | directory, tables | grains ...
//   COWD, of ESX                          | header | directory | grains and tables ...
//
//   directory: the place of each table; table: the place of each grain. 0: there is none. 1: a grain of zeroes, where a flag says so.
//
// Source: VMware, "Virtual Disk Format 5.0". A stream-optimised extent says where its directory is in a footer: a copy of the header at its end.

import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import { isPowerOfTwo, roundUp, SECTOR_BYTES } from '../../../util/numbers.js';

export const HEADER_BYTES = 512;
export const ENTRY_BYTES = 4;
/** Entries of a table of a hosted extent. */
export const TABLE_ENTRIES = 512;
const COWD_TABLE_ENTRIES = 4096;
export const GRAIN_BYTES = 64 << 10;
const MIN_GRAIN_BYTES = 4 << 10;
const MAX_GRAIN_BYTES = 4 << 20;
/** Files are that long at most: their places are sectors, in 32 bits. */
export const MAX_FILE_BYTES = 2 ** 32 * SECTOR_BYTES;
/** Of a disk. What is beyond has a directory that does not end. */
const MAX_DISK_BYTES = 2 ** 50;
/** In the place of the directory: it is in the footer. */
const AT_END = 0xffff_ffff_ffff_ffffn;
/** The footer, and the markers before and behind it. */
const FOOTER_BYTES = 3 * SECTOR_BYTES;
/** Of a marker whose length of data is 0: grains have one. */
export const MarkerType = { end: 0, table: 1, directory: 2, footer: 3 } as const;
/** Where it stands in the marker. */
const MARKER_TYPE = 12;
const DEFLATE = 1;
/** A line feed, and what a transfer as text would have changed. */
const LINE_ENDS = '\n \r\n';

const Field = {
  version: 4,
  flags: 8,
  capacity: 12,
  grain: 20,
  descriptor: 28,
  descriptorSize: 36,
  tableEntries: 44,
  redundantDirectory: 48,
  directory: 56,
  overhead: 64,
  lineEnds: 73,
  compression: 77,
} as const;

const CowdField = { flags: 8, capacity: 12, grain: 16, directory: 20, directorySize: 24 } as const;

const Flag = { lineEnds: 1, redundant: 2, zeroGrains: 4, compressed: 1 << 16, markers: 1 << 17 } as const;

export interface SparseHeader {
  isCowd: boolean;
  version: number;
  /** Bytes of the extent's part of the disk; 0 in a file that has a descriptor alone. */
  capacity: number;
  grainBytes: number;
  tableEntries: number;
  /** Bytes, in the file. */
  directory: number;
  /** Of the copies; null: there are none. */
  redundantDirectory: number | null;
  directoryEntries: number;
  /** An entry of 1 is a grain of zeroes. */
  zeroGrains: boolean;
  /** Each grain is compressed, behind its place on the disk and its length. */
  isCompressed: boolean;
  /** Its tables, and a footer, end the file. */
  hasFooter: boolean;
}

/** Bytes of a table of grains: whole sectors. */
export function tableBytes({ tableEntries }: Pick<SparseHeader, 'tableEntries'>): number {
  return roundUp(tableEntries * ENTRY_BYTES, SECTOR_BYTES);
}

/** Where the footer is, in a file of `length` bytes whose header is `head`; null: there is none. */
export function footerOffset(head: Uint8Array, length: number): number | null {
  if (!hasMagic(head, 'KDMV') || head.length < HEADER_BYTES) return null;
  const view = viewOf(head);
  if (view.getBigUint64(Field.directory, true) !== AT_END) return null;
  return Math.max(0, length - FOOTER_BYTES);
}

/** A marker's sector: what stands behind it, and its length in bytes. */
export function encodeMarker(type: (typeof MarkerType)[keyof typeof MarkerType], bytes: number): Uint8Array {
  const marker = new Uint8Array(SECTOR_BYTES);
  const view = viewOf(marker);
  view.setBigUint64(0, BigInt(bytes / SECTOR_BYTES), true);
  view.setUint32(MARKER_TYPE, type, true);
  return marker;
}

/** The header that the footer holds, whose markers are looked at. Throws `invalid-image`. */
export function headerOfFooter(footer: Uint8Array, path: string): Uint8Array {
  const fail = (): never => {
    throw BlockError.at(path, 'invalid-image', 'Invalid footer', { operation: 'open' });
  };
  if (footer.length < FOOTER_BYTES) fail();
  const view = viewOf(footer);
  const isMarker = (at: number, type: number): boolean =>
    view.getUint32(at + 8, true) === 0 && view.getUint32(at + MARKER_TYPE, true) === type;
  const header = footer.slice(SECTOR_BYTES, 2 * SECTOR_BYTES);
  const isSound =
    isMarker(0, MarkerType.footer) &&
    isMarker(2 * SECTOR_BYTES, MarkerType.end) &&
    hasMagic(header, 'KDMV') &&
    new DataView(header.buffer).getBigUint64(Field.directory, true) !== AT_END;
  if (!isSound) fail();
  return header;
}

/** Throws `invalid-image`, `unsupported`, in QEMU's words where QEMU refuses the extent, too. */
export function parseHeader(head: Uint8Array, path: string): SparseHeader {
  if (hasMagic(head, 'COWD')) return checked(parseCowd(padded(head)), path);
  if (!hasMagic(head, 'KDMV'))
    throw BlockError.at(path, 'invalid-image', 'Image not in VMDK format', { operation: 'open' });
  return checked(parseHosted(padded(head), path), path);
}

function padded(head: Uint8Array): DataView {
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(head.subarray(0, HEADER_BYTES));
  return new DataView(bytes.buffer);
}

function parseHosted(view: DataView, path: string): SparseHeader {
  const at = (field: number): number => Number(view.getBigUint64(field, true)) * SECTOR_BYTES;
  const version = view.getUint32(Field.version, true);
  const flags = view.getUint32(Field.flags, true);
  if (version > 3)
    throw BlockError.at(path, 'unsupported', `Unsupported VMDK version ${version}`, { operation: 'open' });
  const isCompressed = view.getUint16(Field.compression, true) === DEFLATE;
  // One that is the directory itself is no copy.
  const hasCopies =
    (flags & Flag.redundant) !== 0 && !isCompressed && at(Field.redundantDirectory) !== at(Field.directory);
  return {
    isCowd: false,
    version,
    capacity: at(Field.capacity),
    grainBytes: at(Field.grain),
    tableEntries: view.getUint32(Field.tableEntries, true),
    directory: at(Field.directory),
    redundantDirectory: hasCopies ? at(Field.redundantDirectory) : null,
    directoryEntries: 0,
    zeroGrains: (flags & Flag.zeroGrains) !== 0,
    isCompressed,
    hasFooter: false,
  };
}

function parseCowd(view: DataView): SparseHeader {
  const at = (field: number): number => view.getUint32(field, true) * SECTOR_BYTES;
  return {
    isCowd: true,
    version: view.getUint32(Field.version, true),
    capacity: at(CowdField.capacity),
    grainBytes: at(CowdField.grain),
    tableEntries: COWD_TABLE_ENTRIES,
    directory: at(CowdField.directory),
    redundantDirectory: null,
    directoryEntries: view.getUint32(CowdField.directorySize, true),
    zeroGrains: false,
    isCompressed: false,
    hasFooter: false,
  };
}

function checked(header: SparseHeader, path: string): SparseHeader {
  const fail = (code: 'invalid-image' | 'unsupported', reason: string): never => {
    throw BlockError.at(path, code, reason, { operation: 'open' });
  };
  const { capacity, grainBytes, tableEntries } = header;
  if (tableEntries > TABLE_ENTRIES && !header.isCowd) fail('invalid-image', 'L2 table size too big');
  if (grainBytes === 0 || tableEntries === 0) fail('invalid-image', 'L1 entry size is invalid');
  if (!isPowerOfTwo(grainBytes) || grainBytes < MIN_GRAIN_BYTES || grainBytes > MAX_GRAIN_BYTES) {
    fail('unsupported', `Unsupported VMDK grain size ${grainBytes}: a power of two from 4 KiB to 4 MiB is supported`);
  }
  if (capacity > MAX_DISK_BYTES) fail('unsupported', `Unsupported VMDK capacity of ${capacity} bytes`);
  const needed = Math.ceil(capacity / (grainBytes * tableEntries));
  if (header.isCowd && header.directoryEntries < needed) fail('invalid-image', 'The grain directory is too short');
  return { ...header, directoryEntries: needed };
}

/** Where the parts of a new hosted extent lie, in bytes. */
export interface SparseLayout {
  directoryEntries: number;
  descriptor: number;
  descriptorBytes: number;
  redundantDirectory: number;
  directory: number;
  directoryBytes: number;
  /** Of one table. */
  tableBytes: number;
  /** The first grain. */
  data: number;
}

/** As QEMU lays it out: the tables are there from the beginning, empty. Compressed grains have no copies of them. */
export function layoutOf(capacity: number, isCompressed: boolean): SparseLayout {
  const descriptor = SECTOR_BYTES;
  const descriptorBytes = 20 * SECTOR_BYTES;
  const tableBytes = TABLE_ENTRIES * ENTRY_BYTES;
  const directoryEntries = Math.ceil(capacity / (GRAIN_BYTES * TABLE_ENTRIES));
  const directoryBytes = roundUp(directoryEntries * ENTRY_BYTES, SECTOR_BYTES);
  const redundantDirectory = descriptor + descriptorBytes;
  const directory = redundantDirectory + (isCompressed ? 0 : directoryBytes + directoryEntries * tableBytes);
  const data = roundUp(directory + directoryBytes + directoryEntries * tableBytes, GRAIN_BYTES);
  return {
    directoryEntries,
    descriptor,
    descriptorBytes,
    redundantDirectory,
    directory,
    directoryBytes,
    tableBytes,
    data,
  };
}

export interface NewExtent {
  /** Bytes of the disk. */
  capacity: number;
  isCompressed: boolean;
  zeroGrains: boolean;
}

/** The header of a new extent. A `directory` of null is in the footer. */
export function encodeHeader(
  { capacity, isCompressed, zeroGrains }: NewExtent,
  layout: Pick<SparseLayout, 'descriptor' | 'descriptorBytes' | 'redundantDirectory' | 'data'> & {
    directory: number | null;
  },
): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode('KDMV'));
  view.setUint32(Field.version, isCompressed ? 3 : zeroGrains ? 2 : 1, true);
  const kind = isCompressed ? Flag.compressed | Flag.markers : Flag.redundant;
  view.setUint32(Field.flags, Flag.lineEnds | kind | (zeroGrains ? Flag.zeroGrains : 0), true);
  if (isCompressed) view.setUint16(Field.compression, DEFLATE, true);
  const set = (field: number, value: number): void => view.setBigUint64(field, BigInt(value / SECTOR_BYTES), true);
  set(Field.capacity, capacity);
  set(Field.grain, GRAIN_BYTES);
  set(Field.descriptor, layout.descriptor);
  set(Field.descriptorSize, layout.descriptorBytes);
  view.setUint32(Field.tableEntries, TABLE_ENTRIES, true);
  set(Field.redundantDirectory, isCompressed ? 0 : layout.redundantDirectory);
  if (layout.directory === null) view.setBigUint64(Field.directory, AT_END, true);
  else set(Field.directory, layout.directory);
  set(Field.overhead, layout.data);
  bytes.set(new TextEncoder().encode(LINE_ENDS), Field.lineEnds);
  return bytes;
}
