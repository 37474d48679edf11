// The headers of an seSparse extent (ESX 6.5 and later), whose places have 64 bits. All numbers are little-endian, all places and sizes sectors of 512 bytes.
//
//   | constant header | volatile header | journal | directory | tables ... | bitmap, back map | grains ... |
//
//   directory entry   0: all grains of the table are holes;  0x1, 28 bits of zeroes, 32 bits: number of the table
//   table entry       0: a hole;  0x1, 0x2 (unmapped, zeroes): reads as zeroes;  0x3, 12 bits (low), 48 bits (high): number of the grain
//
// Tables and grains lie one behind the other in areas of their own, so numbers say where they are. A grain is 4 KiB, a table has 4,096 entries.
//
// Source: the description of the format in the message of QEMU's patch "vmdk: Add read-only support for seSparse snapshots" (qemu-devel, 2019), and what qemu-img does with
// images that were encoded by it.

import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';

export const SE_HEADER_BYTES = 512;
export const SE_ENTRY_BYTES = 8;
export const SE_GRAIN_BYTES = 4096;
export const SE_TABLE_ENTRIES = 4096;
export const SE_TABLE_BYTES = SE_TABLE_ENTRIES * SE_ENTRY_BYTES;

const CONSTANT_MAGIC = 0xcafebaben;
const VOLATILE_MAGIC = 0xcafecafen;
const VERSION = 0x2_0000_0001n;
/** Of a disk: 64 TiB is ESX's limit. */
const MAX_DISK_BYTES = 2 ** 50;

const Field = {
  magic: 0,
  version: 8,
  capacity: 16,
  grain: 24,
  table: 32,
  flags: 40,
  reserved: 48,
  volatile: 80,
  directory: 128,
  directorySize: 136,
  tables: 144,
  tablesSize: 152,
  grains: 192,
} as const;
const RESERVED_FIELDS = 4;
const REPLAY = 24;

export interface SeHeader {
  /** Bytes of the extent's part of the disk. */
  capacity: number;
  /** Bytes, in the file. */
  directory: number;
  directoryEntries: number;
  /** Of the first table, bytes in the file. */
  tables: number;
  /** There is room for so many. */
  tableCount: number;
  /** Of the first grain, bytes in the file. */
  grains: number;
}

/** Where the volatile header is, in a file whose first bytes are `head`: bytes. What is no place in a file of `length` bytes is its end. */
export function volatileOffset(head: Uint8Array, length: number): number {
  if (head.length < SE_HEADER_BYTES) return length;
  return Math.min(Number(viewOf(head).getBigUint64(Field.volatile, true)) * SECTOR_BYTES, length);
}

/** `constant`, `volatile`: the headers; `length`: of the file. Throws `invalid-image`, `unsupported`, in QEMU's words where QEMU refuses the extent, too. */
export function parseSeHeader(constant: Uint8Array, volatile: Uint8Array, length: number, path: string): SeHeader {
  const fail = (code: 'invalid-image' | 'unsupported', reason: string): never => {
    throw BlockError.at(path, code, reason, { operation: 'open' });
  };
  const view = padded(constant);
  const number = (field: number): bigint => view.getBigUint64(field, true);
  const bytes = (field: number): number => Number(number(field)) * SECTOR_BYTES;
  if (number(Field.magic) !== CONSTANT_MAGIC) {
    fail('invalid-image', `Bad const header magic: ${hex(number(Field.magic))}`);
  }
  if (number(Field.version) !== VERSION) fail('unsupported', `Unsupported version: ${hex(number(Field.version))}`);
  if (bytes(Field.grain) !== SE_GRAIN_BYTES) fail('unsupported', `Unsupported grain size: ${number(Field.grain)}`);
  if (bytes(Field.table) !== SE_TABLE_BYTES) {
    fail('unsupported', `Unsupported grain table size: ${number(Field.table)}`);
  }
  if (number(Field.flags) !== 0n) fail('unsupported', `Unsupported flags: ${hex(number(Field.flags))}`);
  const reserved = Array.from({ length: RESERVED_FIELDS }, (_, i) => number(Field.reserved + 8 * i));
  if (reserved.some((field) => field !== 0n)) {
    fail('unsupported', `Unsupported reserved bits: ${reserved.map(hex).join(' ')}`);
  }
  const changing = padded(volatile);
  const magic = changing.getBigUint64(0, true);
  if (magic !== VOLATILE_MAGIC) fail('invalid-image', `Bad volatile header magic: ${hex(magic)}`);
  if (changing.getUint8(REPLAY) !== 0) fail('unsupported', 'Image is dirty, Replaying journal not supported');
  const capacity = bytes(Field.capacity);
  if (capacity > MAX_DISK_BYTES) fail('unsupported', `Unsupported VMDK capacity of ${capacity} bytes`);
  const header: SeHeader = {
    capacity,
    directory: bytes(Field.directory),
    directoryEntries: Math.ceil(capacity / (SE_GRAIN_BYTES * SE_TABLE_ENTRIES)),
    tables: bytes(Field.tables),
    tableCount: Math.floor(bytes(Field.tablesSize) / SE_TABLE_BYTES),
    grains: bytes(Field.grains),
  };
  const directoryBytes = header.directoryEntries * SE_ENTRY_BYTES;
  const isInFile =
    header.directory >= SE_HEADER_BYTES &&
    directoryBytes <= bytes(Field.directorySize) &&
    header.directory + directoryBytes <= length;
  if (!isInFile) fail('invalid-image', 'The grain directory does not lie within the file');
  return header;
}

function padded(bytes: Uint8Array): DataView {
  const whole = new Uint8Array(SE_HEADER_BYTES);
  whole.set(bytes.subarray(0, SE_HEADER_BYTES));
  return new DataView(whole.buffer);
}

function hex(value: bigint): string {
  return `0x${value.toString(16).padStart(16, '0')}`;
}
