// Differencing VHDX images, as the specification lays them out: no tool of today's Debian makes them.
//
//   0     | identifier | headers | region tables |
//   1 MiB | log | block allocation table | metadata | blocks of the sector bitmap, and of the disk ... |

import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { Bench } from '../../drivers/support.js';
import { used } from '../../drivers/support.js';

const MIB = 1 << 20;
const BAT = 2 * MIB;
const METADATA = 3 * MIB;
const FIRST_BLOCK = 4 * MIB;
/** Where the first of the metadata's items is. */
const ITEMS = METADATA + 65536;
export const LOCATOR = ITEMS + 64;
const LOCATOR_BYTES = 4096;

const Guid = {
  bat: '2DC27766-F623-4200-9D64-115E9BFD4A08',
  metadata: '8B7CA206-4790-4B9A-B8FE-575F050F886E',
  fileParameters: 'CAA16737-FA36-4D43-B3B6-33F0AA44E76B',
  diskBytes: '2FA54224-CD1B-4876-B211-5DBED83BF4B8',
  page83: 'BECA12AB-B2E6-4523-93EF-C309E000C746',
  sectorBytes: '8141BF1D-A96F-4709-BA47-F233A8FAAB5F',
  physicalSectorBytes: 'CDA348C7-445D-4471-9CC9-E9885251C556',
  parentLocator: 'A8D35F2D-B30B-454D-ABF7-D3D84834AB0C',
  vhdx: 'B04AEFB7-D19E-4A81-B789-25B8E9445913',
} as const;

/** As a file has it: the first three parts with their lowest byte first. */
function bytesOf(guid: string): Buffer {
  const [a, b, c, d, e] = guid.split('-').map((digits) => Buffer.from(digits, 'hex'));
  return Buffer.concat([a.reverse(), b.reverse(), c.reverse(), d, e]);
}

/** The other way round. */
function textOf(bytes: Buffer): string {
  const part = (from: number, to: number, isTurned: boolean): string => {
    const copy = Buffer.from(bytes.subarray(from, to));
    return (isTurned ? copy.reverse() : copy).toString('hex');
  };
  return `{${part(0, 4, true)}-${part(4, 6, true)}-${part(6, 8, true)}-${part(8, 10, false)}-${part(10, 16, false)}}`;
}

/** CRC-32C, bit by bit. */
function crc(bytes: Buffer): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ ((sum & 1) * 0x82f63b78);
  }
  return ~sum >>> 0;
}

function sealed(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(0, 4);
  bytes.writeUInt32LE(crc(bytes), 4);
  return bytes;
}

export type Block =
  /** By the state of its entry alone. */
  | { state: 0 | 1 | 2 | 3 }
  /** All of it is this byte. */
  | { byte: number }
  /** Sectors that were written, and the byte of which each is full. */
  | { sectors: ReadonlyMap<number, number> };

export interface Difference {
  /** Bytes of the disk. */
  size: number;
  blockBytes?: number;
  sectorBytes?: number;
  /** Of the locator, by their keys; null: there is no locator. */
  texts: Readonly<Record<string, string>> | null;
  /** By their number. */
  blocks: ReadonlyMap<number, Block>;
  /** Kind of the locator. */
  kind?: string;
}

function encodeLocator(texts: Readonly<Record<string, string>>, kind: string): Buffer {
  const entries = Object.entries(texts);
  const bytes = Buffer.alloc(LOCATOR_BYTES);
  bytesOf(kind).copy(bytes);
  bytes.writeUInt16LE(entries.length, 18);
  let end = 20 + 12 * entries.length;
  const add = (text: string): { at: number; length: number } => {
    const at = end;
    end += bytes.write(text, at, 'utf16le');
    return { at, length: end - at };
  };
  for (const [i, [key, value]] of entries.entries()) {
    const [first, second] = [add(key), add(value)];
    bytes.writeUInt32LE(first.at, 20 + 12 * i);
    bytes.writeUInt32LE(second.at, 24 + 12 * i);
    bytes.writeUInt16LE(first.length, 28 + 12 * i);
    bytes.writeUInt16LE(second.length, 30 + 12 * i);
  }
  return bytes;
}

export function encodeDifference(difference: Difference): Buffer {
  const { size, blockBytes = MIB, sectorBytes = 512, texts, blocks, kind = Guid.vhdx } = difference;
  const ratio = (2 ** 23 * sectorBytes) / blockBytes;
  const head = Buffer.alloc(FIRST_BLOCK);
  head.write('vhdxfile', 0, 'latin1');
  for (const [i, at] of [65536, 131072].entries()) {
    const header = head.subarray(at, at + 4096);
    header.write('head', 0, 'latin1');
    header.writeBigUInt64LE(BigInt(7 + i), 8);
    header.fill(0x11, 16, 32);
    header.fill(0x5a, 32, 48);
    header.writeUInt16LE(1, 66);
    header.writeUInt32LE(MIB, 68);
    header.writeBigUInt64LE(BigInt(MIB), 72);
    sealed(header);
  }
  for (const at of [196608, 262144]) {
    const table = head.subarray(at, at + 65536);
    table.write('regi', 0, 'latin1');
    table.writeUInt32LE(2, 8);
    for (const [i, [guid, offset]] of (
      [
        [Guid.bat, BAT],
        [Guid.metadata, METADATA],
      ] as const
    ).entries()) {
      bytesOf(guid).copy(table, 16 + 32 * i);
      table.writeBigUInt64LE(BigInt(offset), 32 + 32 * i);
      table.writeUInt32LE(MIB, 40 + 32 * i);
      table.writeUInt32LE(1, 44 + 32 * i);
    }
    sealed(table);
  }
  head.write('metadata', METADATA, 'latin1');
  const items: [guid: string, at: number, length: number][] = [
    [Guid.fileParameters, ITEMS, 8],
    [Guid.diskBytes, ITEMS + 8, 8],
    [Guid.page83, ITEMS + 16, 16],
    [Guid.sectorBytes, ITEMS + 32, 4],
    [Guid.physicalSectorBytes, ITEMS + 36, 4],
  ];
  if (texts !== null) items.push([Guid.parentLocator, LOCATOR, LOCATOR_BYTES]);
  head.writeUInt16LE(items.length, METADATA + 10);
  for (const [i, [guid, at, length]] of items.entries()) {
    const entry = METADATA + 32 + 32 * i;
    bytesOf(guid).copy(head, entry);
    head.writeUInt32LE(at - METADATA, entry + 16);
    head.writeUInt32LE(length, entry + 20);
    head.writeUInt32LE(4, entry + 24);
  }
  head.writeUInt32LE(blockBytes, ITEMS);
  head.writeUInt32LE(2, ITEMS + 4);
  head.writeBigUInt64LE(BigInt(size), ITEMS + 8);
  head.writeUInt32LE(sectorBytes, ITEMS + 32);
  head.writeUInt32LE(4096, ITEMS + 36);
  if (texts !== null) encodeLocator(texts, kind).copy(head, LOCATOR);

  const parts: Buffer[] = [head];
  let end = FIRST_BLOCK;
  const place = (entry: number, state: number, content: Buffer): void => {
    head.writeBigUInt64LE(BigInt(end + state), BAT + 8 * entry);
    parts.push(content);
    end += content.length;
  };
  const bitmaps = new Map<number, Buffer>();
  for (const [index, block] of blocks) {
    const chunk = Math.floor(index / ratio);
    const entry = index + chunk;
    if ('state' in block) head.writeBigUInt64LE(BigInt(block.state), BAT + 8 * entry);
    else if ('byte' in block) place(entry, 6, Buffer.alloc(blockBytes, block.byte));
    else {
      // What the bitmap does not have is not to be read.
      const content = Buffer.alloc(blockBytes, 0xee);
      if (!bitmaps.has(chunk)) bitmaps.set(chunk, Buffer.alloc(MIB));
      const bitmap = bitmaps.get(chunk)!;
      for (const [sector, byte] of block.sectors) {
        const bit = (index - chunk * ratio) * (blockBytes / sectorBytes) + sector;
        bitmap[Math.floor(bit / 8)] |= 2 ** (bit % 8);
        content.fill(byte, sector * sectorBytes, (sector + 1) * sectorBytes);
      }
      place(entry, 7, content);
    }
  }
  for (const [chunk, bitmap] of bitmaps) place((ratio + 1) * chunk + ratio, 6, bitmap);
  return Buffer.concat(parts);
}

/** The GUID of an image's content, as a child names it. */
export function linkageOf(image: Uint8Array): string {
  const bytes = Buffer.from(image);
  const newest = bytes.readBigUInt64LE(65536 + 8) > bytes.readBigUInt64LE(131072 + 8) ? 65536 : 131072;
  return textOf(bytes.subarray(newest + 32, newest + 48));
}

/** A dynamic image of `size` bytes, of which the first `filled` are 0xaa; resolves with the GUID of its content. */
export async function makeParent({ host, graph }: Bench, path: string, size: number, filled = size): Promise<string> {
  await createImage(graph, path, { driver: 'vhdx', size, 'block-size': MIB });
  const node = await used(openNode(graph, path, { format: 'vhdx' }));
  await node.write(0, new Uint8Array(filled).fill(0xaa));
  await graph.closeAll();
  return linkageOf(host.readFile(path));
}
