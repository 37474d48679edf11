// The header of a growing image of Bochs.
//
//   | header, 512 bytes as a rule | catalog: a number of 32 bits for each extent of the disk | bitmap, extent | bitmap, extent | ...
//
// All numbers are little-endian. A catalog entry is the number of the place in the file, counted from the end of the catalog, or NONE: zeroes. Each place is a bitmap, a bit for
// each sector of the extent (set: it was written; else zeroes), rounded up to whole sectors, and the extent.
// Source: Bochs' documentation of its disk images ("redolog").

import type { Child } from '../../../block/child.js';
import { readUpTo } from '../../../block/stale.js';
import { BlockError } from '../../../util/errors.js';
import { isPowerOfTwo, roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { probeBochs } from './probe.js';

export const HEADER_BYTES = 512;
export const NONE = 0xffff_ffff;

/** QEMU's limits. */
const MAX_CATALOG = 0x10_0000;
const MAX_EXTENT_BYTES = 0x80_0000;

const Field = { version: 64, headerBytes: 68, catalog: 72, bitmapBytes: 76, extentBytes: 80, disk1: 84, disk2: 88 };
const VERSION_1 = 0x1_0000;

export interface Header {
  /** Bytes of the disk. */
  size: number;
  catalogOffset: number;
  /** Entries of the catalog. */
  entries: number;
  /** Bytes of a bitmap with what follows it up to the extent. */
  bitmapBytes: number;
  extentBytes: number;
}

/** Throws `invalid-image`, in QEMU's words where QEMU refuses the image, too. */
export function parseHeader(head: Uint8Array, path: string): Header {
  const fail = (reason: string): never => {
    throw BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
  };
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(head.subarray(0, HEADER_BYTES));
  if (probeBochs(bytes) === 0) fail('Image not in Bochs format');
  const view = new DataView(bytes.buffer);
  const at = (field: number): number => view.getUint32(field, true);
  const disk = view.getBigUint64(at(Field.version) === VERSION_1 ? Field.disk1 : Field.disk2, true);
  const entries = at(Field.catalog);
  if (entries > MAX_CATALOG) fail('Catalog size is too large');
  const extentBytes = at(Field.extentBytes);
  if (extentBytes < SECTOR_BYTES) fail(`Extent size must be at least ${SECTOR_BYTES}`);
  if (!isPowerOfTwo(extentBytes)) fail(`Extent size ${extentBytes} is not a power of two`);
  if (extentBytes > MAX_EXTENT_BYTES) fail(`Extent size ${extentBytes} is too large`);
  const size = Number(disk / BigInt(SECTOR_BYTES)) * SECTOR_BYTES;
  if (size > entries * extentBytes) fail('Catalog size is too small for this disk size');
  const bitmapBytes = roundUp(at(Field.bitmapBytes), SECTOR_BYTES);
  if (bitmapBytes * 8 < extentBytes / SECTOR_BYTES) fail(`A bitmap of ${bitmapBytes} bytes is too small for an extent`);
  return { size, catalogOffset: at(Field.headerBytes), entries, bitmapBytes, extentBytes };
}

/** The header, and behind it the catalog, as far as the file has it. Rejects as `parseHeader`, and with `io`. */
export async function readHead(link: Child): Promise<Uint8Array> {
  const head = await readUpTo(link, HEADER_BYTES);
  const { catalogOffset, entries } = parseHeader(head, link.filename);
  return Buffer.concat([head, await readUpTo(link, 4 * entries, catalogOffset)]);
}
