// The header of a qcow image, and the meaning of its entries.
//
//   | header | backing file's name | L1 table | cluster, L2 table, compressed data, ... in the order in which they came
//
// All numbers are big-endian, of 64 bits in the tables. An entry of L1 is the offset of an L2 table, or 0. An entry of L2:
//
//   0                                           the cluster has no place
//   bit 63 is 0   | offset                  |   of the cluster
//   bit 63 is 1   | length | offset         |   of its compressed data, in bytes: raw deflate. The offset has 63 - (bits of a cluster) bits
//
// Source: Mark McLoughlin, "The QCOW Image Format", with what it says of version 1.

import { MAX_BACKING_NAME_BYTES } from '../../../block/backing-name.js';
import type { Child } from '../../../block/child.js';
import { HIGH_WORD, viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { decodeName } from '../../../util/name-bytes.js';
import { roundDown, SECTOR_BYTES } from '../../../util/numbers.js';
import { nameBehind, readHeadAndName } from '../blocks/head-and-name.js';
import { CRYPT_AES } from '../encryption/legacy-aes.js';

export const HEADER_BYTES = 48;
export const ENTRY_BYTES = 8;

const MAGIC = 0x5146_49fb;
const VERSION = 1;
const QCOW2_VERSIONS: readonly number[] = [2, 3];
const MIN_BITS = 9;
const MAX_BITS = 16;
/** QEMU's limit: the table has less than 2 GiB. */
export const MAX_L1_ENTRIES = 2 ** 28 - 1;
const COMPRESSED_BIT = 0x8000_0000;

const Field = {
  magic: 0,
  version: 4,
  backingNameOffset: 8,
  backingNameBytes: 16,
  size: 24,
  clusterBits: 32,
  l2Bits: 33,
  cryptMethod: 36,
  l1Offset: 40,
} as const;

export interface Header {
  /** Bytes of the disk, as the header has it. */
  size: number;
  clusterBits: number;
  /** A table of L2 has 2^l2Bits entries. */
  l2Bits: number;
  isEncrypted: boolean;
  l1Offset: number;
  /** Place of the backing file's name; 0: there is none. */
  backingNameOffset: number;
  backingNameBytes: number;
}

type Shape = Pick<Header, 'size' | 'clusterBits' | 'l2Bits'>;

export function l1Entries({ size, clusterBits, l2Bits }: Shape): number {
  return Math.ceil(size / 2 ** (clusterBits + l2Bits));
}

/** The method in the header of an image; 0 where the file is too short to have one. */
export function cryptMethodIn(head: Uint8Array): number {
  return head.length < HEADER_BYTES ? 0 : viewOf(head).getUint32(Field.cryptMethod);
}

/** The header, and behind it the name of the backing file where there is one within the limits. */
export function readHead(link: Child): Promise<Uint8Array> {
  return readHeadAndName(link, HEADER_BYTES, MAX_BACKING_NAME_BYTES, (view) => {
    const offset = viewBe64(view, Field.backingNameOffset);
    return offset === 0 ? null : { offset, length: view.getUint32(Field.backingNameBytes) };
  });
}

export interface ParsedHead {
  header: Header;
  /** Null: none. */
  backingFile: string | null;
}

/** `head`: what `readHead` has read of a file of `fileBytes`. Throws `invalid-image`, `unsupported`, `limit`, in QEMU's words where QEMU refuses the image, too. */
export function parseHead(head: Uint8Array, fileBytes: number, path: string): ParsedHead {
  const fail = (code: 'invalid-image' | 'unsupported' | 'limit', reason: string): never => {
    throw BlockError.at(path, code, reason, { operation: 'open' });
  };
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(head.subarray(0, HEADER_BYTES));
  const view = viewOf(bytes);
  if (view.getUint32(Field.magic) !== MAGIC) fail('invalid-image', 'Image not in qcow format');
  const version = view.getUint32(Field.version);
  if (version !== VERSION) {
    throw BlockError.at(path, 'unsupported', `qcow (v1) does not support qcow version ${version}`, {
      operation: 'open',
      ...(QCOW2_VERSIONS.includes(version) && { hint: "Try the 'qcow2' driver instead." }),
    });
  }
  const size = viewBe64(view, Field.size);
  if (size <= 1) fail('invalid-image', 'Image size is too small (must be at least 2 bytes)');
  const clusterBits = bytes[Field.clusterBits];
  if (clusterBits < MIN_BITS || clusterBits > MAX_BITS) {
    fail('invalid-image', 'Cluster size must be between 512 and 64k');
  }
  const l2Bits = bytes[Field.l2Bits];
  const tableBits = l2Bits + Math.log2(ENTRY_BYTES);
  if (tableBits < MIN_BITS || tableBits > MAX_BITS) {
    fail('invalid-image', 'L2 table size must be between 512 and 64k');
  }
  const method = view.getUint32(Field.cryptMethod);
  if (method > CRYPT_AES) fail('invalid-image', 'invalid encryption method in qcow header');
  const entries = l1Entries({ size, clusterBits, l2Bits });
  if (entries > MAX_L1_ENTRIES || !Number.isSafeInteger(size)) fail('limit', 'Image too large');
  const l1Offset = viewBe64(view, Field.l1Offset);
  // QEMU reads zeroes beyond the end of the file, and would make the table there; and it takes one that lies on the header.
  if (l1Offset < HEADER_BYTES || l1Offset + entries * ENTRY_BYTES > fileBytes) {
    fail('invalid-image', 'The L1 table does not lie within the file');
  }
  const backingNameOffset = viewBe64(view, Field.backingNameOffset);
  const backingNameBytes = view.getUint32(Field.backingNameBytes);
  if (backingNameOffset !== 0) {
    if (backingNameBytes > MAX_BACKING_NAME_BYTES) fail('invalid-image', 'Backing file name too long');
    if (backingNameOffset + backingNameBytes > fileBytes) {
      fail('invalid-image', 'The backing file name does not lie within the file');
    }
  }
  const header: Header = {
    size,
    clusterBits,
    l2Bits,
    isEncrypted: method === CRYPT_AES,
    l1Offset,
    backingNameOffset,
    backingNameBytes: backingNameOffset === 0 ? 0 : backingNameBytes,
  };
  const name = nameBehind(head, HEADER_BYTES);
  return { header, backingFile: name.length === 0 ? null : decodeName(name) };
}

/** The header of a new image. */
export function encodeHeader(header: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(Field.magic, MAGIC);
  view.setUint32(Field.version, VERSION);
  view.setBigUint64(Field.backingNameOffset, BigInt(header.backingNameOffset));
  view.setUint32(Field.backingNameBytes, header.backingNameBytes);
  view.setBigUint64(Field.size, BigInt(header.size));
  bytes[Field.clusterBits] = header.clusterBits;
  bytes[Field.l2Bits] = header.l2Bits;
  view.setUint32(Field.cryptMethod, header.isEncrypted ? CRYPT_AES : 0);
  view.setBigUint64(Field.l1Offset, BigInt(header.l1Offset));
  return bytes;
}

/** Bytes of the disk that can be used: whole sectors, as for QEMU. */
export function diskBytes({ size }: Pick<Header, 'size'>): number {
  return roundDown(size, SECTOR_BYTES);
}

/** Where the compressed data of a cluster lies. */
export interface Packed {
  offset: number;
  /** Bytes. */
  length: number;
}

/** The entry at `at` of L2 is one of compressed data. */
export function isPacked(view: DataView, at: number): boolean {
  return view.getUint32(at) >= COMPRESSED_BIT;
}

/** What the entry at `at` of L2 says; null where it is none of compressed data. */
export function packedAt(view: DataView, at: number, clusterBits: number): Packed | null {
  const high = view.getUint32(at);
  if (high < COMPRESSED_BIT) return null;
  const unit = 2 ** (31 - clusterBits);
  return {
    length: Math.floor((high - COMPRESSED_BIT) / unit),
    offset: (high % unit) * HIGH_WORD + view.getUint32(at + 4),
  };
}

/** The opposite of `packedAt`. The offset is below `packedLimit`, the length that of a cluster. */
export function putPacked(view: DataView, at: number, clusterBits: number, { offset, length }: Packed): void {
  const unit = 2 ** (31 - clusterBits);
  view.setUint32(at, COMPRESSED_BIT + length * unit + Math.floor(offset / HIGH_WORD));
  view.setUint32(at + 4, offset % HIGH_WORD);
}

/** Compressed data begins below this offset of the file. */
export function packedLimit(clusterBits: number): number {
  return Math.min(2 ** (63 - clusterBits), Number.MAX_SAFE_INTEGER);
}
