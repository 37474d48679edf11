// What is known of an image before its node is made.

import type { Child } from '../../../block/child.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { type Header, MIB, parseHeader, type ReadBytes } from './header.js';
import { findLog, type Replayed } from './log.js';
import { type Parameters, readMetadata } from './metadata.js';
import { type ParentLocator, readParentLocator } from './parent.js';
import { type Regions, readRegions } from './regions.js';
import { BITMAP_BYTES, shapeOf, type TableShape } from './table.js';

export interface Image {
  header: Header;
  /** What of the log is not in the file itself; null: nothing. */
  log: Replayed | null;
  regions: Regions;
  parameters: Parameters;
  shape: TableShape;
  /** Of a differencing image. */
  parent: ParentLocator | null;
}

/** `head`: what `readHead` has read of `link`. Rejects with `invalid-image`, `unsupported`, `corrupt-image`, `io`. */
export async function readImage(link: Child, head: Uint8Array): Promise<Image> {
  const path = link.filename;
  const plain = readerOf(link);
  const header = parseHeader(head, path);
  const log = await findLog(plain, header, link.length, path);
  const read: ReadBytes = async (offset, buffer) => {
    await plain(offset, buffer);
    await log?.over(plain, offset, buffer);
  };
  const regions = await readRegions(read, header, path);
  const parameters = await readMetadata(read, regions.metadata, path);
  const shape = shapeOf(parameters, regions);
  if (log !== null && log.lastBytes > mostBytes(shape, link.length)) {
    const reason = `The log makes the file ${log.lastBytes} bytes long, which is more than the image can need`;
    throw BlockError.at(path, 'corrupt-image', reason, { operation: 'open' });
  }
  const fileBytes = Math.max(roundUp(link.length, SECTOR_BYTES), log?.lastBytes ?? 0);
  const tableEnd = shape.offset + shape.entries * 8;
  if (tableEnd > regions.bat[1]) throw invalid(path, 'The block allocation table has too few entries for the disk');
  if (tableEnd > fileBytes) throw invalid(path, 'The block allocation table does not lie within the file');
  const { hasParent, parentLocator } = parameters;
  const parent = hasParent ? await readParentLocator(read, parentLocator, path) : null;
  return { parent, header, log, regions, parameters, shape };
}

/** So long a file of `fileBytes` becomes when all blocks, and one more, go to its end. */
function mostBytes({ regions, blocks, blockBytes, ratio, hasParent }: TableShape, fileBytes: number): number {
  const start = Math.max(regions.all.at(-1)![1], fileBytes);
  const bitmaps = hasParent ? Math.ceil(blocks / ratio) : 0;
  return roundUp(start, MIB) + (blocks + 1) * blockBytes + bitmaps * BITMAP_BYTES;
}

function invalid(path: string, reason: string): BlockError {
  return BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
}

/** Reads zeroes beyond the end. */
function readerOf(link: Child): ReadBytes {
  return async (offset, buffer) => {
    const inside = Math.max(0, Math.min(buffer.length, link.length - offset));
    buffer.fill(0, inside);
    if (inside > 0) await link.read(offset, buffer.subarray(0, inside));
  };
}
