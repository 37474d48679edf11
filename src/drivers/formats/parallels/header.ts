// The header of a Parallels image, and the meaning of its entries.
//
//   | header, 64 bytes | table: an entry of 32 bits for each cluster | ... | cluster | cluster | ...
//                                                                          ^ data offset
//
// All numbers are little-endian. An entry says where the cluster lies, in clusters (magic `WithouFreSpacExt`) or in sectors (`WithoutFreeSpace`); 0: it holds zeroes.
// Header and table are one run of words here, of which the table begins with the 17th: the words that change are written as entries are.
//
// Source: "Parallels Expandable Image File Format", docs/interop/parallels.txt of QEMU.

import { HIGH_WORD } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';

export const HEADER_BYTES = 64;
export const WORD_BYTES = 4;
/** Words of the header: where the table begins. */
export const HEADER_WORDS = HEADER_BYTES / WORD_BYTES;
export const MAGIC = 'WithouFreSpacExt';
const OLD_MAGIC = 'WithoutFreeSpace';
const VERSION = 2;
const HEADS = 16;
const SECTORS_PER_TRACK = 32;
/** Entries beyond take more than 31 bits of bytes. QEMU has the same limit, and the next one. */
export const MAX_ENTRIES = 0x1fff_ffff;
const MAX_CLUSTER_SECTORS = Math.floor(0x7fff_ffff / 513);

/** Indices of words. */
export const Word = {
  version: 4,
  heads: 5,
  cylinders: 6,
  clusterSectors: 7,
  entries: 8,
  sectors: 9,
  sectorsHigh: 10,
  inUse: 11,
  dataOffset: 12,
  flags: 13,
  extension: 14,
  extensionHigh: 15,
} as const;

/** Of the word `inUse`: the image is open, or was not closed. */
export const IN_USE = 0x746f_6e59;

export interface Header {
  /** Bytes of the disk. */
  size: number;
  clusterBytes: number;
  /** Of the table. */
  entries: number;
  /** Bytes that an entry counts. */
  entryUnit: number;
  /** Where the first cluster may lie, bytes. */
  dataOffset: number;
  /** Of the format extension, bytes; 0: there is none. */
  extensionOffset: number;
  /** The image was not closed. */
  inUse: boolean;
}

export function tableEnd(entries: number): number {
  return roundUp(HEADER_BYTES + entries * WORD_BYTES, SECTOR_BYTES);
}

/** Throws `invalid-image`, in QEMU's words where QEMU refuses the image, too. */
export function parseHeader(head: Uint8Array, path: string): Header {
  const fail = (reason: string): never => {
    throw BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
  };
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(head.subarray(0, HEADER_BYTES));
  const view = new DataView(bytes.buffer);
  const word = (index: number): number => view.getUint32(index * WORD_BYTES, true);
  const isOld = hasMagic(bytes, OLD_MAGIC);
  if ((!isOld && !hasMagic(bytes, MAGIC)) || word(Word.version) !== VERSION) fail('Image not in Parallels format');
  const clusterSectors = word(Word.clusterSectors);
  if (clusterSectors === 0) fail('Invalid image: Zero sectors per track');
  if (clusterSectors > MAX_CLUSTER_SECTORS) fail('Invalid image: Too big cluster');
  const entries = word(Word.entries);
  if (entries > MAX_ENTRIES) fail('Catalog too large');
  const size = (word(Word.sectors) + (isOld ? 0 : word(Word.sectorsHigh) * HIGH_WORD)) * SECTOR_BYTES;
  const clusterBytes = clusterSectors * SECTOR_BYTES;
  if (!Number.isSafeInteger(size)) fail(`The disk of ${size} bytes is too large`);
  if (size > entries * clusterBytes)
    fail(`The block table has ${entries} entries, too few for a disk of ${size} bytes`);
  const extension = (word(Word.extension) + word(Word.extensionHigh) * HIGH_WORD) * SECTOR_BYTES;
  if (!Number.isSafeInteger(extension)) fail('The format extension lies behind the end of the file');
  return {
    size,
    clusterBytes,
    entries,
    entryUnit: isOld ? SECTOR_BYTES : clusterBytes,
    dataOffset: word(Word.dataOffset) * SECTOR_BYTES,
    extensionOffset: extension,
    inUse: word(Word.inUse) === IN_USE,
  };
}

/** The header of a new image, whose clusters begin at the multiple of a cluster behind the table. */
export function newHeader(size: number, clusterBytes: number): Header {
  const entries = Math.ceil(size / clusterBytes);
  return {
    size: roundUp(size, SECTOR_BYTES),
    clusterBytes,
    entries,
    entryUnit: clusterBytes,
    dataOffset: roundUp(HEADER_BYTES + entries * WORD_BYTES, clusterBytes),
    extensionOffset: 0,
    inUse: false,
  };
}

/** Bytes of a new image's header. */
export function encodeHeader({ size, clusterBytes, entries, dataOffset }: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const set = (index: number, value: number): void => view.setUint32(index * WORD_BYTES, value % HIGH_WORD, true);
  bytes.set(Buffer.from(MAGIC, 'latin1'));
  const sectors = size / SECTOR_BYTES;
  set(Word.version, VERSION);
  set(Word.heads, HEADS);
  set(Word.cylinders, Math.floor(sectors / HEADS / SECTORS_PER_TRACK));
  set(Word.clusterSectors, clusterBytes / SECTOR_BYTES);
  set(Word.entries, entries);
  set(Word.sectors, sectors);
  set(Word.sectorsHigh, Math.floor(sectors / HIGH_WORD));
  set(Word.dataOffset, dataOffset / SECTOR_BYTES);
  return bytes;
}
