// Differencing VHD images, as the specification lays them out: no tool of today's Debian makes them.
//
//   | copy of the footer | header | table | locator data, 512 bytes each | bitmap | block | ... | footer |

import { createImage } from '../../../src/block/create.js';
import type { Graph } from '../../../src/block/graph.js';
import type { SimHost } from '../../../src/host/sim/index.js';

const SECTOR = 512;
const HEADER = 512;
const TABLE = 1536;

/** The complement of the sum of the bytes, without the four of the checksum. */
function seal(bytes: Buffer, at: number): void {
  bytes.writeUInt32BE(0, at);
  let sum = 0;
  for (const byte of bytes) sum += byte;
  bytes.writeUInt32BE(~sum >>> 0, at);
}

/** Changes a footer or header in place, and makes its checksum right again. */
export function patched(bytes: Buffer, checksumAt: number, change: (bytes: Buffer) => void): Buffer {
  change(bytes);
  seal(bytes, checksumAt);
  return bytes;
}

export const FOOTER_CHECKSUM = 64;
export const HEADER_CHECKSUM = 36;

export interface Difference {
  /** Bytes of the disk. */
  size: number;
  blockBytes: number;
  /** Hexadecimal digits. */
  parentUuid: string;
  /** By the code of the locator: its data. */
  locators?: readonly (readonly [code: string, data: Buffer])[];
  /** In the header. */
  parentName?: string;
  /** Sectors that were written, and the byte of which each is full. */
  sectors: ReadonlyMap<number, number>;
}

/** The UUID in the footer of an image. */
export function uuidOf(image: Uint8Array): string {
  return Buffer.from(image.slice(image.length - SECTOR + 68, image.length - SECTOR + 84)).toString('hex');
}

export function encodeDifference(difference: Difference): Buffer {
  const { size, blockBytes, parentUuid, locators = [], parentName = '', sectors } = difference;
  const entries = Math.ceil(size / blockBytes);
  const tableBytes = Math.ceil((4 * entries) / SECTOR) * SECTOR;
  const footer = patched(Buffer.alloc(SECTOR), FOOTER_CHECKSUM, (bytes) => {
    bytes.write('conectix', 0, 'latin1');
    bytes.writeUInt32BE(2, 8);
    bytes.writeUInt32BE(0x10000, 12);
    bytes.writeBigUInt64BE(BigInt(HEADER), 16);
    bytes.write('win \0\u000a\0\u0003Wi2k', 28, 'latin1');
    bytes.writeBigUInt64BE(BigInt(size), 40);
    bytes.writeBigUInt64BE(BigInt(size), 48);
    bytes.writeUInt32BE(4, 60);
    bytes.fill(0x5a, 68, 84);
  });
  const header = patched(Buffer.alloc(1024), HEADER_CHECKSUM, (bytes) => {
    bytes.write('cxsparse', 0, 'latin1');
    bytes.fill(0xff, 8, 16);
    bytes.writeBigUInt64BE(BigInt(TABLE), 16);
    bytes.writeUInt32BE(0x10000, 24);
    bytes.writeUInt32BE(entries, 28);
    bytes.writeUInt32BE(blockBytes, 32);
    bytes.write(parentUuid, 40, 'hex');
    Buffer.from(parentName, 'utf16le').swap16().copy(bytes, 64);
    locators.forEach(([code, data], i) => {
      bytes.write(code, 576 + 24 * i, 'latin1');
      bytes.writeUInt32BE(SECTOR, 576 + 24 * i + 4);
      bytes.writeUInt32BE(data.length, 576 + 24 * i + 8);
      bytes.writeBigUInt64BE(BigInt(TABLE + tableBytes + SECTOR * i), 576 + 24 * i + 16);
    });
  });
  const table = Buffer.alloc(tableBytes, 0xff);
  const parts = [footer, header, table];
  for (const [, data] of locators) parts.push(Buffer.concat([data], SECTOR));
  let end = TABLE + tableBytes + SECTOR * locators.length;
  const perBlock = blockBytes / SECTOR;
  const bitmapBytes = Math.ceil(perBlock / 8 / SECTOR) * SECTOR;
  for (const block of new Set([...sectors.keys()].map((sector) => Math.floor(sector / perBlock)))) {
    const bitmap = Buffer.alloc(bitmapBytes);
    // What the bitmap does not have is not to be read.
    const content = Buffer.alloc(blockBytes, 0xee);
    for (const [sector, byte] of sectors) {
      const within = sector - block * perBlock;
      if (within < 0 || within >= perBlock) continue;
      bitmap[within >> 3] |= 0x80 >> (within & 7);
      content.fill(byte, within * SECTOR, (within + 1) * SECTOR);
    }
    table.writeUInt32BE(end / SECTOR, 4 * block);
    parts.push(bitmap, content);
    end += bitmapBytes + blockBytes;
  }
  return Buffer.concat([...parts, footer]);
}

export const utf16 = (text: string): Buffer => Buffer.from(text, 'utf16le');

/** A dynamic image of `size` bytes at `path`; resolves with its UUID. */
export async function makeParent(host: SimHost, graph: Graph, path: string, size: number): Promise<string> {
  await createImage(graph, path, { driver: 'vpc', size, 'force-size': true });
  return uuidOf(host.readFile(path));
}
