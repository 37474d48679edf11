// The metadata of a VHDX image: a table of items, each of which has a GUID and a place in the same region. They say how large the disk is, and how it is cut.

import { viewLe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import { isPowerOfTwo, SECTOR_BYTES } from '../../../util/numbers.js';
import { getGuid, putGuid } from './guid.js';
import { MIB, type Range, type ReadBytes } from './header.js';

export const MAX_DISK_BYTES = 2 ** 46;
export const MAX_BLOCK_BYTES = 256 * MIB;
/** Sectors whose bits one block of the sector bitmap holds. */
const CHUNK_SECTORS = 2 ** 23;
const TABLE_BYTES = 64 << 10;
const ENTRY_BYTES = 32;
const FIRST_ENTRY = 32;
const MAX_ENTRIES = 2047;
const EntryField = { offset: 16, length: 20, flags: 24 } as const;
const EntryFlag = { isVirtualDisk: 2, isRequired: 4 } as const;

const Item = {
  fileParameters: '3767a1ca36fa434db3b633f0aa44e76b',
  diskBytes: '2442a52f1bcd7648b2115dbed83bf4b8',
  page83: 'ab12cabee6b2234593efc309e000c746',
  sectorBytes: '1dbf41816fa90947ba47f233a8faab5f',
  physicalSectorBytes: 'c748a3cd5d4471449cc9e9885251c556',
  parentLocator: '2d5fd3a80bb34d45abf7d3d84834ab0c',
} as const;
const KNOWN: readonly string[] = Object.values(Item);

const ParameterFlag = { isFixed: 1, hasParent: 2 } as const;

export interface Parameters {
  /** Bytes of the disk. */
  size: number;
  blockBytes: number;
  /** All blocks have a place, and keep it. */
  isFixed: boolean;
  hasParent: boolean;
  /** Where in the file the image says what its parent is; null: nowhere. */
  parentLocator: Range | null;
  /** Bytes of a sector of the disk: 512 or 4096. */
  sectorBytes: number;
  physicalSectorBytes: number;
  /** The identity of the disk for SCSI's page 83. */
  page83: string;
}

/** Blocks for each block of the sector bitmap: an entry for that follows theirs in the table. */
export function chunkRatio({ blockBytes, sectorBytes }: Pick<Parameters, 'blockBytes' | 'sectorBytes'>): number {
  return (CHUNK_SECTORS * sectorBytes) / blockBytes;
}

/** Number of the entry of block `index`. */
export function entryOf(index: number, ratio: number): number {
  return index + Math.floor(index / ratio);
}

/** Number of the entries of the table. */
export function entryCount(parameters: Pick<Parameters, 'size' | 'blockBytes' | 'sectorBytes' | 'hasParent'>): number {
  const blocks = Math.ceil(parameters.size / parameters.blockBytes);
  const ratio = chunkRatio(parameters);
  if (parameters.hasParent) return Math.ceil(blocks / ratio) * (ratio + 1);
  return blocks === 0 ? 0 : entryOf(blocks - 1, ratio) + 1;
}

/** Rejects with `invalid-image`, `unsupported`, and as `read`. */
export async function readMetadata(read: ReadBytes, [start, end]: Range, path: string): Promise<Parameters> {
  const invalid = (reason: string): BlockError => BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
  const table = new Uint8Array(TABLE_BYTES);
  await read(start, table);
  const view = viewOf(table);
  if (!hasMagic(table, 'metadata')) throw invalid('No valid metadata table found');
  const count = view.getUint16(10, true);
  if (count > MAX_ENTRIES) throw invalid(`The metadata table has ${count} entries, and ${MAX_ENTRIES} at most`);
  const places = new Map<string, Range>();
  for (let i = 0; i < count; i++) {
    const at = FIRST_ENTRY + i * ENTRY_BYTES;
    const guid = getGuid(table, at);
    const offset = view.getUint32(at + EntryField.offset, true);
    const length = view.getUint32(at + EntryField.length, true);
    if (!KNOWN.includes(guid)) {
      if ((view.getUint32(at + EntryField.flags, true) & EntryFlag.isRequired) === 0) continue;
      throw BlockError.at(path, 'unsupported', `Metadata item ${i} is required, and not known: ${guid}`, {
        operation: 'open',
      });
    }
    if (offset < TABLE_BYTES || start + offset + length > end) throw invalid(`Metadata item ${i} has no valid place`);
    if (places.has(guid)) throw invalid(`The metadata table has two entries of one kind: ${guid}`);
    places.set(guid, [start + offset, start + offset + length]);
  }
  const itemOf = async (guid: string, name: string, length: number): Promise<Uint8Array> => {
    const place = places.get(guid);
    if (place === undefined) throw invalid(`The metadata have no ${name}`);
    const [from, to] = place;
    if (to - from !== length)
      throw invalid(`The metadata item of the ${name} has ${to - from} bytes, and not ${length}`);
    const bytes = new Uint8Array(length);
    await read(from, bytes);
    return bytes;
  };
  const fileParameters = viewOf(await itemOf(Item.fileParameters, 'file parameters', 8));
  const flags = fileParameters.getUint32(4, true);
  const sectorBytes = viewOf(await itemOf(Item.sectorBytes, 'logical sector size', 4)).getUint32(0, true);
  const physical = viewOf(await itemOf(Item.physicalSectorBytes, 'physical sector size', 4)).getUint32(0, true);
  const given = viewLe64(viewOf(await itemOf(Item.diskBytes, 'virtual disk size', 8)), 0);
  const parameters: Parameters = {
    // As QEMU reads it: whole sectors.
    size: Math.floor(given / SECTOR_BYTES) * SECTOR_BYTES,
    blockBytes: fileParameters.getUint32(0, true),
    isFixed: (flags & ParameterFlag.isFixed) !== 0,
    hasParent: (flags & ParameterFlag.hasParent) !== 0,
    parentLocator: places.get(Item.parentLocator) ?? null,
    sectorBytes,
    physicalSectorBytes: physical,
    page83: getGuid(await itemOf(Item.page83, 'identity of the disk', 16), 0),
  };
  refuseInvalid(parameters, invalid);
  return parameters;
}

function refuseInvalid({ size, blockBytes, sectorBytes }: Parameters, invalid: (reason: string) => BlockError): void {
  if (size > MAX_DISK_BYTES) throw invalid(`The disk has ${size} bytes, and ${MAX_DISK_BYTES} at most`);
  if (!isPowerOfTwo(blockBytes) || blockBytes < MIB || blockBytes > MAX_BLOCK_BYTES) {
    throw invalid(`A block has ${blockBytes} bytes, which is no power of two from ${MIB} to ${MAX_BLOCK_BYTES}`);
  }
  if (sectorBytes !== 512 && sectorBytes !== 4096) {
    throw invalid(`A sector has ${sectorBytes} bytes, which is neither 512 nor 4096`);
  }
}

/** The table and the items of a new image, without the items' region behind them. */
export function encodeMetadata(parameters: Parameters): Uint8Array {
  const bytes = new Uint8Array(TABLE_BYTES + 4096);
  const view = viewOf(bytes);
  bytes.set(Buffer.from('metadata'));
  const { isRequired, isVirtualDisk } = EntryFlag;
  let at = TABLE_BYTES;
  let count = 0;
  const add = (guid: string, length: number, flags: number): number => {
    const entry = FIRST_ENTRY + count * ENTRY_BYTES;
    putGuid(bytes, entry, guid);
    view.setUint32(entry + EntryField.offset, at, true);
    view.setUint32(entry + EntryField.length, length, true);
    view.setUint32(entry + EntryField.flags, flags, true);
    count++;
    at += length;
    return at - length;
  };
  const file = add(Item.fileParameters, 8, isRequired);
  view.setUint32(file, parameters.blockBytes, true);
  view.setUint32(file + 4, parameters.isFixed ? ParameterFlag.isFixed : 0, true);
  view.setBigUint64(add(Item.diskBytes, 8, isVirtualDisk | isRequired), BigInt(parameters.size), true);
  putGuid(bytes, add(Item.page83, 16, isVirtualDisk | isRequired), parameters.page83);
  view.setUint32(add(Item.sectorBytes, 4, isVirtualDisk | isRequired), parameters.sectorBytes, true);
  view.setUint32(add(Item.physicalSectorBytes, 4, isVirtualDisk | isRequired), parameters.physicalSectorBytes, true);
  view.setUint16(10, count, true);
  return bytes;
}
