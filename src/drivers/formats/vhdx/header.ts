// What a VHDX image begins with. What the region tables say is in regions.ts.
//
//   0       | file identifier: signature, creator
//   64 KiB  | header 1 |   of the two headers, the valid one with the higher sequence number counts;
//   128 KiB | header 2 |   a change is written to the other one
//   192 KiB | region table 1 |   where the block allocation table and the metadata are
//   256 KiB | region table 2 |   the same again
//   1 MiB   | from here on: log, block allocation table, metadata, blocks, each at a multiple of 1 MiB
//
// All numbers are little-endian, and a checksum is the CRC-32C of its structure, with zeroes in its own place.
// Source: [MS-VHDX], "Virtual Hard Disk v2 (VHDX) File Format", 7.0.

import type { Child } from '../../../block/child.js';
import { readUpTo } from '../../../block/stale.js';
import { viewLe64, viewOf } from '../../../util/bytes.js';
import { crc32c } from '../../../util/crc32c.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import { getGuid, NO_GUID, putGuid } from './guid.js';

export const MIB = 1 << 20;
export const SIGNATURE = 'vhdxfile';
/** Of the file identifier, in UTF-16. */
const CREATOR_OFFSET = 8;
const CREATOR_BYTES = 512;
export const HEADER_BYTES = 4096;
export const HEADER_OFFSETS = [64 << 10, 128 << 10] as const;
export const REGION_TABLE_OFFSETS = [192 << 10, 256 << 10] as const;
export const REGION_TABLE_BYTES = 64 << 10;
/** Of the first structure whose place is not fixed. */
export const FIRST_REGION_OFFSET = MIB;
/** No image has a reason to be longer: a disk has 64 TiB at most. */
export const MAX_FILE_BYTES = 2 ** 47;

const CHECKSUM_OFFSET = 4;
const VERSION = 1;
const IDENTIFIER_BYTES = 4096;

const Field = {
  sequence: 8,
  fileWriteGuid: 16,
  dataWriteGuid: 32,
  logGuid: 48,
  logVersion: 64,
  version: 66,
  logBytes: 68,
  logOffset: 72,
} as const;

export interface Header {
  /** Of the two, 0 or 1. */
  index: number;
  sequence: bigint;
  /** Another one after each change of the file, and of the disk. */
  fileWriteGuid: string;
  dataWriteGuid: string;
  /** Of the entries of the log that are to be replayed; `NO_GUID`: there are none. */
  logGuid: string;
  logOffset: number;
  logBytes: number;
}

/** A range of the file, [start, end). */
export type Range = readonly [start: number, end: number];

/** Fills `buffer` with what the file has at `offset`, and zeroes beyond its end. Rejects with `io`. */
export type ReadBytes = (offset: number, buffer: Uint8Array) => Promise<void>;

export function invalid(path: string, reason: string): BlockError {
  return BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
}

/** The checksum of a structure whose own place for it is at byte 4. */
export function checksumOf(bytes: Uint8Array): number {
  const start = crc32c(bytes.subarray(0, CHECKSUM_OFFSET));
  return crc32c(bytes.subarray(CHECKSUM_OFFSET + 4), crc32c(new Uint8Array(4), start));
}

export function seal(bytes: Uint8Array): void {
  viewOf(bytes).setUint32(CHECKSUM_OFFSET, checksumOf(bytes), true);
}

export function isSealed(bytes: Uint8Array): boolean {
  return viewOf(bytes).getUint32(CHECKSUM_OFFSET, true) === checksumOf(bytes);
}

/** The parts of the file that decide how it is opened. */
const PARTS: readonly (readonly [offset: number, length: number])[] = [
  [0, IDENTIFIER_BYTES],
  ...HEADER_OFFSETS.map((offset) => [offset, HEADER_BYTES] as const),
  ...REGION_TABLE_OFFSETS.map((offset) => [offset, REGION_TABLE_BYTES] as const),
];

/** The file identifier, both headers and both region tables, one behind the other; zeroes beyond the end of the file. Rejects with `io`. */
export async function readHead(link: Child): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (const [offset, length] of PARTS) {
    const part = new Uint8Array(length);
    part.set(await readUpTo(link, length, offset));
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Part `index` of what `readHead` has read. */
function partOf(head: Uint8Array, index: number): Uint8Array {
  const offset = PARTS.slice(0, index).reduce((sum, [, length]) => sum + length, 0);
  return head.subarray(offset, offset + PARTS[index][1]);
}

/** The header that counts. Throws `invalid-image`, `unsupported`, in QEMU's words where it has some. */
export function parseHeader(head: Uint8Array, path: string): Header {
  if (!hasMagic(head, SIGNATURE)) throw invalid(path, 'Image not in VHDX format (bad signature)');
  const [first, second] = [0, 1].map((index) => parseOne(partOf(head, 1 + index), index));
  const header = newerOf(first, second);
  const isSame = (): boolean => Buffer.compare(partOf(head, 1), partOf(head, 2)) === 0;
  if (header === null || (first?.sequence === second?.sequence && !isSame())) {
    throw invalid(path, 'No valid VHDX header found');
  }
  const logVersion = viewOf(partOf(head, 1 + header.index)).getUint16(Field.logVersion, true);
  // Of a log without entries, the version does not count.
  if (logVersion !== 0 && header.logGuid !== NO_GUID) {
    throw BlockError.at(path, 'unsupported', `The log has version ${logVersion}, which is not known`, {
      operation: 'open',
    });
  }
  const { logOffset, logBytes } = header;
  if (logOffset % MIB !== 0 || logOffset < FIRST_REGION_OFFSET || logOffset + logBytes > MAX_FILE_BYTES) {
    throw invalid(path, `The log has no valid place: ${logBytes} bytes at ${logOffset}`);
  }
  return header;
}

function newerOf(first: Header | null, second: Header | null): Header | null {
  if (first === null || second === null) return first ?? second;
  return second.sequence > first.sequence ? second : first;
}

/** Null where it is not valid. */
function parseOne(bytes: Uint8Array, index: number): Header | null {
  const view = viewOf(bytes);
  if (!hasMagic(bytes, 'head') || !isSealed(bytes) || view.getUint16(Field.version, true) !== VERSION) return null;
  return {
    index,
    sequence: view.getBigUint64(Field.sequence, true),
    fileWriteGuid: getGuid(bytes, Field.fileWriteGuid),
    dataWriteGuid: getGuid(bytes, Field.dataWriteGuid),
    logGuid: getGuid(bytes, Field.logGuid),
    logOffset: viewLe64(view, Field.logOffset),
    logBytes: view.getUint32(Field.logBytes, true),
  };
}

export function encodeHeader(header: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = viewOf(bytes);
  bytes.set(Buffer.from('head'));
  view.setBigUint64(Field.sequence, header.sequence, true);
  putGuid(bytes, Field.fileWriteGuid, header.fileWriteGuid);
  putGuid(bytes, Field.dataWriteGuid, header.dataWriteGuid);
  putGuid(bytes, Field.logGuid, header.logGuid);
  view.setUint16(Field.version, VERSION, true);
  view.setUint32(Field.logBytes, header.logBytes, true);
  view.setBigUint64(Field.logOffset, BigInt(header.logOffset), true);
  seal(bytes);
  return bytes;
}

/** What a new image begins with: the file identifier. */
export function encodeIdentifier(creator: string): Uint8Array {
  const bytes = new Uint8Array(IDENTIFIER_BYTES);
  bytes.set(Buffer.from(SIGNATURE));
  bytes.set(Buffer.from(creator, 'utf16le').subarray(0, CREATOR_BYTES), CREATOR_OFFSET);
  return bytes;
}
