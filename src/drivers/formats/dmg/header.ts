// The layout of an image of Apple (UDIF, "flattened").
//
//   | data fork: what is stored of the chunks | property list, or resource fork: the tables | trailer, 512 bytes |
//
// All numbers are big-endian. The trailer says where the rest is. A table is a resource of the kind `blkx`: it lists the chunks of a part of the disk,
//
//   | head, 204 bytes | chunk, 40 bytes | chunk | ...
//
// each with a kind, sectors of the disk, counted from where the table begins, and bytes of the data fork. Checksums have a kind, a number of bits and room for 128 bytes.
// Source: descriptions of the format that others have published (Apple has none), and what hdiutil writes.

import { checkImageSize } from '../../../block/image-size.js';
import { viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';

export const TRAILER_BYTES = 512;
/** The end of a file, in which the trailer begins. */
export const SEARCHED_BYTES = 2 * TRAILER_BYTES - 1;
const TRAILER_MAGIC = 'koly';
const Trailer = {
  dataOffset: 24,
  dataLength: 32,
  forkOffset: 40,
  forkLength: 48,
  dataChecksum: 80,
  listOffset: 216,
  listLength: 224,
  checksum: 352,
  sectors: 492,
};

const TABLE_MAGIC = 'mish';
export const TABLE_HEAD_BYTES = 204;
const Table = { firstSector: 8, dataOffset: 24, checksum: 64 };

export const CHUNK_BYTES = 40;
export const ChunkField = { kind: 0, sector: 8, sectors: 16, offset: 24, length: 32 };

/** Of a chunk. */
export const Kind = {
  zero: 0,
  raw: 1,
  /** Space of the disk that is not in use: it reads as zeroes. */
  ignore: 2,
  comment: 0x7fff_fffe,
  adc: 0x8000_0004,
  zlib: 0x8000_0005,
  bzip2: 0x8000_0006,
  lzfse: 0x8000_0007,
  lzma: 0x8000_0008,
  end: 0xffff_ffff,
} as const;

/** QEMU's limit of a property list. */
const MAX_LIST_BYTES = 16 << 20;
/** Ours, of a resource fork. */
const MAX_FORK_BYTES = 32 << 20;

const CRC32 = 2;
const CRC32_BITS = 32;

export interface Header {
  /** Bytes of the disk. */
  size: number;
  /** Where the data fork lies in the file. */
  dataOffset: number;
  dataBytes: number;
  /** CRC-32 of the data fork; null where the image has none. */
  dataChecksum: number | null;
  /** CRC-32 of the tables' own checksums, as they follow each other; null where the image has none. */
  tablesChecksum: number | null;
  /** Where the tables lie in the file. */
  tables: { kind: 'fork' | 'list'; offset: number; length: number };
}

/** Where the trailer begins in `tail`, the last `SEARCHED_BYTES` of a file; -1 where there is none. QEMU looks so far, and not further. */
export function findTrailer(tail: Uint8Array): number {
  for (let at = 0; at + TRAILER_BYTES <= tail.length; at++) if (hasMagic(tail, TRAILER_MAGIC, at)) return at;
  return -1;
}

/** Of the 512 bytes at `trailerOffset` of the file. Throws `invalid-image`, and `limit` for tables that are larger than the limit. */
export function parseTrailer(bytes: Uint8Array, trailerOffset: number, path: string): Header {
  const fail = (reason: string): never => {
    throw BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
  };
  const view = viewOf(bytes);
  const sectors = viewBe64(view, Trailer.sectors);
  const size = sectors * SECTOR_BYTES;
  checkImageSize(size, path, 'open');
  const dataOffset = viewBe64(view, Trailer.dataOffset);
  if (dataOffset > trailerOffset) fail('The data fork does not lie before the trailer');
  const isFork = viewBe64(view, Trailer.forkLength) !== 0;
  const offset = viewBe64(view, isFork ? Trailer.forkOffset : Trailer.listOffset);
  const length = viewBe64(view, isFork ? Trailer.forkLength : Trailer.listLength);
  const name = isFork ? 'resource fork' : 'property list';
  if (length === 0) fail('The image has neither a resource fork nor a property list');
  if (offset > trailerOffset || length > trailerOffset - offset) fail(`The ${name} does not lie before the trailer`);
  const max = isFork ? MAX_FORK_BYTES : MAX_LIST_BYTES;
  // What follows the resources in a fork is not read.
  if (!isFork && length > max) {
    throw BlockError.at(path, 'limit', `A ${name} of ${length} bytes is larger than the limit, ${max}`, {
      operation: 'open',
    });
  }
  return {
    size,
    dataOffset,
    dataBytes: viewBe64(view, Trailer.dataLength),
    dataChecksum: checksumAt(view, Trailer.dataChecksum),
    tablesChecksum: checksumAt(view, Trailer.checksum),
    tables: { kind: isFork ? 'fork' : 'list', offset, length: Math.min(length, max) },
  };
}

export interface TableHead {
  /** Sector of the disk from which on its chunks are counted. */
  firstSector: number;
  /** Is added to the chunks' places in the data fork. */
  dataOffset: number;
  /** CRC-32 of what its chunks are decompressed to; null where it has none. */
  checksum: number | null;
}

/** null: `table` is a resource of another kind. */
export function parseTableHead(table: Uint8Array): TableHead | null {
  if (table.length < TABLE_HEAD_BYTES || !hasMagic(table, TABLE_MAGIC)) return null;
  const view = viewOf(table);
  return {
    firstSector: viewBe64(view, Table.firstSector),
    dataOffset: viewBe64(view, Table.dataOffset),
    checksum: checksumAt(view, Table.checksum),
  };
}

function checksumAt(view: DataView, at: number): number | null {
  const isKnown = view.getUint32(at) === CRC32 && view.getUint32(at + 4) === CRC32_BITS;
  return isKnown ? view.getUint32(at + 8) : null;
}
