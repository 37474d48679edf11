// The two region tables of a VHDX image, which say where the block allocation table and the metadata are. The first one that is valid counts, and the other one has to say the same.
//
//   0   signature, checksum of the whole table, number of entries   16   entries: GUID, offset, length, whether it is required

import { viewLe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import type { ImageFile } from '../../image-file.js';
import { getGuid, putGuid } from './guid.js';
import {
  FIRST_REGION_OFFSET,
  type Header,
  invalid,
  isSealed,
  MAX_FILE_BYTES,
  MIB,
  type Range,
  REGION_TABLE_BYTES,
  REGION_TABLE_OFFSETS,
  type ReadBytes,
  seal,
} from './header.js';

export interface Regions {
  bat: Range;
  metadata: Range;
  /** All that have a place in the file, also those that nobody knows here, in order. */
  all: readonly Range[];
}

const REGION_ENTRY_BYTES = 32;
const REGION_COUNT_OFFSET = 8;
const FIRST_REGION_ENTRY = 16;
const MAX_REGIONS = 2047;
const RegionField = { guid: 0, offset: 16, length: 24, isRequired: 28 } as const;
const BAT_GUID = '6677c22d23f600429d64115e9bfd4a08';
const METADATA_GUID = '06a27c8b90479a4bb8fe575f050f886e';

/**
 * The regions by the first of the two tables that is valid. `read`: the file as it is when its log was replayed, which may say something else than `head`. Rejects with
 * `invalid-image`, `unsupported`, and as `read`.
 */
export async function readRegions(read: ReadBytes, header: Header, path: string): Promise<Regions> {
  const { bytes } = await readRegionTable(read, path);
  return parseRegions(bytes, header, path);
}

/** The first of the two tables that is valid, as it is in the file. `index`: 0 or 1. Rejects with `invalid-image`, and as `read`. */
async function readRegionTable(read: ReadBytes, path: string): Promise<{ index: number; bytes: Uint8Array }> {
  for (const [index, offset] of REGION_TABLE_OFFSETS.entries()) {
    const bytes = new Uint8Array(REGION_TABLE_BYTES);
    await read(offset, bytes);
    if (isRegionTable(bytes)) return { index, bytes };
  }
  throw invalid(path, 'No valid region table found');
}

function isRegionTable(bytes: Uint8Array): boolean {
  return hasMagic(bytes, 'regi') && isSealed(bytes);
}

/** One of the two region tables, which is not what the other one is. */
export interface BadRegionTable {
  index: number;
  offset: number;
  /** It is valid, and has other entries than the one that counts. */
  isOther: boolean;
  /** What belongs there: the table that counts. */
  bytes: Uint8Array;
}

/** The region table that does not count, where it is not valid or has other entries; null: the two say the same. Rejects with `invalid-image`, `io`. */
export async function findBadRegionTable(file: ImageFile): Promise<BadRegionTable | null> {
  const read: ReadBytes = (offset, buffer) => file.read(offset, buffer);
  const { index: counting, bytes } = await readRegionTable(read, file.path);
  const index = 1 - counting;
  const offset = REGION_TABLE_OFFSETS[index];
  const found = new Uint8Array(REGION_TABLE_BYTES);
  await read(offset, found);
  // One that is valid and does not count is the second.
  const isOther = isRegionTable(found);
  if (isOther && Buffer.compare(entriesOf(found), entriesOf(bytes)) === 0) return null;
  return { index, offset, isOther, bytes };
}

/** The number of entries, and the entries: what is behind them says nothing. */
function entriesOf(table: Uint8Array): Uint8Array {
  const count = Math.min(viewOf(table).getUint32(REGION_COUNT_OFFSET, true), MAX_REGIONS);
  return Buffer.concat([
    table.subarray(REGION_COUNT_OFFSET, REGION_COUNT_OFFSET + 4),
    table.subarray(FIRST_REGION_ENTRY, FIRST_REGION_ENTRY + count * REGION_ENTRY_BYTES),
  ]);
}

function parseRegions(bytes: Uint8Array, { logOffset, logBytes }: Header, path: string): Regions {
  const view = viewOf(bytes);
  const count = view.getUint32(REGION_COUNT_OFFSET, true);
  if (count > MAX_REGIONS) throw invalid(path, `The region table has ${count} entries, and ${MAX_REGIONS} at most`);
  const all: Range[] = [[0, FIRST_REGION_OFFSET]];
  if (logBytes > 0) all.push([logOffset, logOffset + logBytes]);
  const known = new Map<string, Range>();
  for (let i = 0; i < count; i++) {
    const at = FIRST_REGION_ENTRY + i * REGION_ENTRY_BYTES;
    const guid = getGuid(bytes, at + RegionField.guid);
    const offset = viewLe64(view, at + RegionField.offset);
    const end = offset + view.getUint32(at + RegionField.length, true);
    if (offset % MIB !== 0 || end === offset || end > MAX_FILE_BYTES) {
      throw invalid(path, `Region ${i} has no valid place: ${offset}-${end}`);
    }
    all.push([offset, end]);
    const isKnown = guid === BAT_GUID || guid === METADATA_GUID;
    if (isKnown && known.has(guid)) throw invalid(path, `The region table has two entries of one kind`);
    if (isKnown) known.set(guid, [offset, end]);
    else if (view.getUint32(at + RegionField.isRequired, true) & 1) {
      throw BlockError.at(path, 'unsupported', `Region ${i} is required, and not known: ${guid}`, {
        operation: 'open',
      });
    }
  }
  const [bat, metadata] = [BAT_GUID, METADATA_GUID].map((guid) => known.get(guid));
  if (bat === undefined || metadata === undefined) throw invalid(path, 'A required region is missing');
  all.sort(([a], [b]) => a - b);
  for (let i = 1; i < all.length; i++) {
    if (all[i][0] < all[i - 1][1]) throw invalid(path, overlapText(all[i], all[i - 1]));
  }
  return { bat, metadata, all };
}

/** As QEMU says it. */
function overlapText(one: Range, other: Range): string {
  return `VHDX region ${one[0]}-${one[1]} overlaps with region ${other[0]}-${other[1]}`;
}

/** Of a new image. */
export function encodeRegions(bat: Range, metadata: Range): Uint8Array {
  const bytes = new Uint8Array(REGION_TABLE_BYTES);
  const view = viewOf(bytes);
  bytes.set(Buffer.from('regi'));
  view.setUint32(REGION_COUNT_OFFSET, 2, true);
  for (const [i, [guid, [start, end]]] of (
    [
      [BAT_GUID, bat],
      [METADATA_GUID, metadata],
    ] as const
  ).entries()) {
    const at = FIRST_REGION_ENTRY + i * REGION_ENTRY_BYTES;
    putGuid(bytes, at + RegionField.guid, guid);
    view.setBigUint64(at + RegionField.offset, BigInt(start), true);
    view.setUint32(at + RegionField.length, end - start, true);
    view.setUint32(at + RegionField.isRequired, 1, true);
  }
  seal(bytes);
  return bytes;
}
