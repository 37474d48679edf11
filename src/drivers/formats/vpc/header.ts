// The header of a dynamic or differencing VHD image, and where its blocks lie.
//
//   | copy of the footer | header, 1024 bytes | table: an entry of 32 bits for each block | ... | bitmap | block | ... | footer |
//                        ^ data offset        ^ table offset                                    ^ entry
//
// An entry is the number of the sector at which the block's bitmap begins, or UNALLOCATED. The bitmap has a bit for each sector of the block, and is filled up to a whole sector.
// A bit that is not set: the sector of a differencing image is that of its parent. Of a dynamic image the bits are not looked at when it is read, as by QEMU, and all
// are set where a block is written to.
//
// Source: Microsoft's "Virtual Hard Disk Image Format Specification", version 1.0.

import { getBe32, getBe64, putBe32, putBe64 } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import { isPowerOfTwo, roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { checksumOf, FOOTER_BYTES, hasChecksum, hexOf, putOffset } from './footer.js';

export const HEADER_BYTES = 1024;
export const BLOCK_BYTES = 2 << 20;
export const UNALLOCATED = 0xffff_ffff;
export const ENTRY_BYTES = 4;

const COOKIE = 'cxsparse';
const VERSION = 0x0001_0000;
/** More entries have no number of bytes in 31 bits. QEMU has the same limit. */
const MAX_ENTRIES = 0x1fff_ffff;

export const HeaderField = {
  cookie: 0,
  next: 8,
  tableOffset: 16,
  version: 24,
  entries: 28,
  blockBytes: 32,
  checksum: 36,
  parentUuid: 40,
  parentName: 64,
  locators: 576,
} as const;

export interface Header {
  /** Of the header itself. */
  offset: number;
  tableOffset: number;
  /** Of the table; the disk may have fewer blocks. */
  entries: number;
  blockBytes: number;
  /** Of a block's bitmap, in the file. */
  bitmapBytes: number;
  /** Where new blocks begin: a multiple of so many bytes, as their content does then. */
  alignment: number;
  /** Hexadecimal digits. */
  parentUuid: string;
  /** The checksum is right. */
  isSound: boolean;
}

/** What is needed to place the blocks. */
function layoutOf(blockBytes: number): Pick<Header, 'blockBytes' | 'bitmapBytes' | 'alignment'> {
  const bitmapBytes = roundUp(Math.ceil(blockBytes / SECTOR_BYTES / 8), SECTOR_BYTES);
  // Content that begins at a page of memory can be cloned, and written past the page cache.
  return { blockBytes, bitmapBytes, alignment: blockBytes % 4096 === 0 ? 4096 : SECTOR_BYTES };
}

/** `bytes` is read at `offset`; `size`: bytes of the disk. Throws `invalid-image`, `unsupported`, in QEMU's words where QEMU refuses the image, too. */
export function parseHeader(bytes: Uint8Array, offset: number, size: number, path: string): Header {
  const fail = (code: 'invalid-image' | 'unsupported', reason: string): never => {
    throw BlockError.at(path, code, reason, { operation: 'open' });
  };
  if (bytes.length < HEADER_BYTES) fail('invalid-image', 'Error reading dynamic VHD header');
  if (!hasMagic(bytes, COOKIE)) fail('invalid-image', 'Invalid header magic');
  const blockBytes = getBe32(bytes, HeaderField.blockBytes);
  if (blockBytes < SECTOR_BYTES || !isPowerOfTwo(blockBytes)) fail('invalid-image', `Invalid block size ${blockBytes}`);
  const entries = getBe32(bytes, HeaderField.entries);
  if (entries > MAX_ENTRIES) fail('invalid-image', `Max Table Entries too large (${entries | 0})`);
  if (entries * blockBytes < size) fail('invalid-image', 'Page table too small');
  const tableOffset = getBe64(bytes, HeaderField.tableOffset);
  if (!Number.isSafeInteger(tableOffset)) fail('invalid-image', 'Error reading pagetable');
  if (tableOffset % SECTOR_BYTES !== 0) fail('unsupported', `unaligned block table offset ${tableOffset}`);
  return {
    offset,
    tableOffset,
    entries,
    ...layoutOf(blockBytes),
    parentUuid: hexOf(bytes, HeaderField.parentUuid, 16),
    isSound: hasChecksum(bytes, HeaderField.checksum),
  };
}

export function tableEnd({ tableOffset, entries }: Pick<Header, 'tableOffset' | 'entries'>): number {
  return roundUp(tableOffset + entries * ENTRY_BYTES, SECTOR_BYTES);
}

/** Bytes of the file that a new block takes, with what stands before it. */
export function strideOf({ blockBytes, bitmapBytes, alignment }: Header): number {
  return roundUp(bitmapBytes, alignment) + blockBytes;
}

/** Where the first block of a file goes whose metadata and blocks end at `end`. */
export function firstPlace({ alignment }: Header, end: number): number {
  return roundUp(end, alignment);
}

/** The header of a new dynamic image with a disk of `size` bytes. */
export function newHeader(size: number): Header {
  return {
    offset: FOOTER_BYTES,
    tableOffset: FOOTER_BYTES + HEADER_BYTES,
    entries: Math.ceil(size / BLOCK_BYTES),
    ...layoutOf(BLOCK_BYTES),
    parentUuid: '',
    isSound: true,
  };
}

export function encodeHeader({ tableOffset, entries, blockBytes }: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(Buffer.from(COOKIE, 'latin1'));
  putOffset(bytes, HeaderField.next, null);
  putBe64(bytes, HeaderField.tableOffset, tableOffset);
  putBe32(bytes, HeaderField.version, VERSION);
  putBe32(bytes, HeaderField.entries, entries);
  putBe32(bytes, HeaderField.blockBytes, blockBytes);
  putBe32(bytes, HeaderField.checksum, checksumOf(bytes, HeaderField.checksum));
  return bytes;
}
