// Images of Apple (UDIF), encoded as hdiutil lays them out: the data fork, the tables in a property list or in a resource fork, and the trailer.

import { deflateSync, crc32 as zlibCrc32 } from 'node:zlib';
import { SECTOR_BYTES } from '../../../src/util/numbers.js';

export const Kind = {
  zero: 0,
  raw: 1,
  ignore: 2,
  comment: 0x7fff_fffe,
  adc: 0x8000_0004,
  zlib: 0x8000_0005,
  bzip2: 0x8000_0006,
  lzfse: 0x8000_0007,
  lzma: 0x8000_0008,
  end: 0xffff_ffff,
} as const;

export const TRAILER_BYTES = 512;
export const TABLE_HEAD_BYTES = 204;
export const CHUNK_BYTES = 40;
const CRC32 = 2;

/** A piece of the disk. */
export interface Chunk {
  kind: number;
  /** What the disk has there: whole sectors; of a comment and the end, nothing. */
  content: Buffer;
  /** How that is stored in the data fork. */
  stored: Buffer;
}

/** A chunk of `content` of a kind that this module can encode. */
export function chunk(kind: number, content: Buffer): Chunk {
  const stored =
    kind === Kind.raw
      ? content
      : kind === Kind.zlib
        ? deflateSync(content)
        : kind === Kind.adc
          ? adcPacked(content)
          : Buffer.alloc(0);
  return { kind, content, stored };
}

/** ADC: runs of bytes, and copies of what was before, as far as 65,536 bytes back. */
export function adcPacked(content: Uint8Array): Buffer {
  const out: number[] = [];
  const seen = new Map<number, number>();
  let plainFrom = 0;
  const plainUpTo = (end: number): void => {
    for (; plainFrom < end; ) {
      const length = Math.min(128, end - plainFrom);
      out.push(0x80 | (length - 1), ...content.subarray(plainFrom, plainFrom + length));
      plainFrom += length;
    }
  };
  for (let at = 0; at < content.length; ) {
    const key = (content[at]! << 16) | ((content[at + 1] ?? 0) << 8) | (content[at + 2] ?? 0);
    const before = seen.get(key);
    seen.set(key, at);
    let length = 0;
    if (before !== undefined && at - before <= 65536) {
      while (length < 67 && at + length < content.length && content[before + length] === content[at + length]) length++;
    }
    const back = at - (before ?? 0) - 1;
    if (length >= 4) {
      plainUpTo(at);
      if (length <= 18 && back < 1024) out.push(((length - 3) << 2) | (back >> 8), back & 255);
      else out.push(0x40 | (length - 4), back >> 8, back & 255);
      at += length;
      plainFrom = at;
    } else {
      at++;
    }
  }
  plainUpTo(content.length);
  return Buffer.from(out);
}

export interface ImageShape {
  /** The tables: each one's chunks follow each other, and the tables do. */
  tables: readonly (readonly Chunk[])[];
  /** Where the tables stand. Default: a property list. */
  tablesIn?: 'property list' | 'resource fork';
  checksums?: boolean;
  /** Bytes before the data fork. */
  before?: number;
  /** Bytes behind the trailer. */
  behind?: number;
}

export interface EncodedImage {
  image: Buffer;
  content: Buffer;
  trailerAt: number;
  /** Of the property list or the resource fork. */
  tablesAt: number;
  dataAt: number;
}

export function dmgImage({
  tables,
  tablesIn = 'property list',
  checksums = true,
  before = 0,
  behind = 0,
}: ImageShape): EncodedImage {
  const data: Buffer[] = [];
  let dataBytes = 0;
  let sector = 0;
  const encoded = tables.map((chunks) => {
    const first = sector;
    const table = Buffer.alloc(TABLE_HEAD_BYTES + CHUNK_BYTES * chunks.length);
    chunks.forEach(({ kind, content, stored }, i) => {
      const at = TABLE_HEAD_BYTES + CHUNK_BYTES * i;
      const sectors = content.length / SECTOR_BYTES;
      table.writeUInt32BE(kind, at);
      table.writeBigUInt64BE(BigInt(sector - first), at + 8);
      table.writeBigUInt64BE(BigInt(sectors), at + 16);
      table.writeBigUInt64BE(BigInt(dataBytes), at + 24);
      table.writeBigUInt64BE(BigInt(stored.length), at + 32);
      data.push(stored);
      dataBytes += stored.length;
      sector += sectors;
    });
    table.write('mish', 0, 'latin1');
    table.writeUInt32BE(1, 4);
    table.writeBigUInt64BE(BigInt(first), 8);
    table.writeBigUInt64BE(BigInt(sector - first), 16);
    table.writeUInt32BE(chunks.length, 200);
    // Unused space has no part in the checksum.
    const summed = chunks.filter(({ kind }) => kind !== Kind.ignore);
    if (checksums) writeChecksum(table, 64, crc32(Buffer.concat(summed.map(({ content }) => content))));
    return table;
  });
  const fork = Buffer.concat(data);
  const listed = tablesIn === 'property list' ? Buffer.from(propertyList(encoded)) : resourceFork(encoded);
  const trailer = Buffer.alloc(TRAILER_BYTES);
  const tablesAt = before + fork.length;
  trailer.write('koly', 0, 'latin1');
  trailer.writeUInt32BE(4, 4);
  trailer.writeUInt32BE(TRAILER_BYTES, 8);
  trailer.writeUInt32BE(1, 12);
  trailer.writeBigUInt64BE(BigInt(before), 24);
  trailer.writeBigUInt64BE(BigInt(fork.length), 32);
  const where = tablesIn === 'property list' ? 216 : 40;
  trailer.writeBigUInt64BE(BigInt(tablesAt), where);
  trailer.writeBigUInt64BE(BigInt(listed.length), where + 8);
  trailer.writeUInt32BE(1, 56);
  trailer.writeUInt32BE(1, 60);
  trailer.writeUInt32BE(1, 488);
  trailer.writeBigUInt64BE(BigInt(sector), 492);
  if (checksums) {
    writeChecksum(trailer, 80, crc32(fork));
    const sums = Buffer.alloc(4 * encoded.length);
    for (const [i, table] of encoded.entries()) sums.writeUInt32BE(table.readUInt32BE(72), 4 * i);
    writeChecksum(trailer, 352, crc32(sums));
  }
  return {
    image: Buffer.concat([Buffer.alloc(before, 0x55), fork, listed, trailer, Buffer.alloc(behind)]),
    content: Buffer.concat(tables.flat().map(({ content }) => content)),
    trailerAt: tablesAt + listed.length,
    tablesAt,
    dataAt: before,
  };
}

/** Kind, bits, and the sum itself, in the 136 bytes that each checksum has. */
function writeChecksum(bytes: Buffer, at: number, sum: number): void {
  bytes.writeUInt32BE(CRC32, at);
  bytes.writeUInt32BE(32, at + 4);
  bytes.writeUInt32BE(sum, at + 8);
}

function propertyList(tables: readonly Buffer[]): string {
  const entries = tables.map((table, i) => {
    const lines = table.toString('base64').match(/.{1,52}/g)!;
    return [
      '\t\t\t<dict>',
      '\t\t\t\t<key>Attributes</key>',
      '\t\t\t\t<string>0x0050</string>',
      '\t\t\t\t<key>CFName</key>',
      `\t\t\t\t<string>Part ${i} (Apple_HFS : ${i} &amp; more)</string>`,
      '\t\t\t\t<key>Data</key>',
      '\t\t\t\t<data>',
      ...lines.map((line) => `\t\t\t\t${line}`),
      '\t\t\t\t</data>',
      '\t\t\t\t<key>ID</key>',
      `\t\t\t\t<string>${i - 1}</string>`,
      '\t\t\t\t<key>Name</key>',
      `\t\t\t\t<string>Part ${i}</string>`,
      '\t\t\t</dict>',
    ].join('\n');
  });
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
\t<key>resource-fork</key>
\t<dict>
\t\t<key>blkx</key>
\t\t<array>
${entries.join('\n')}
\t\t</array>
\t\t<key>plst</key>
\t\t<array>
\t\t\t<dict>
\t\t\t\t<key>Attributes</key>
\t\t\t\t<string>0x0050</string>
\t\t\t\t<key>Data</key>
\t\t\t\t<data>
\t\t\t\t${Buffer.alloc(32).toString('base64')}
\t\t\t\t</data>
\t\t\t\t<key>ID</key>
\t\t\t\t<string>0</string>
\t\t\t</dict>
\t\t</array>
\t</dict>
</dict>
</plist>
`;
}

/** Of the Macintosh (Inside Macintosh: More Macintosh Toolbox, 1-121): a head, the data of the resources, a map. */
function resourceFork(tables: readonly Buffer[]): Buffer {
  const HEAD = 256;
  const data = tables.map((table) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(table.length);
    return Buffer.concat([length, table]);
  });
  const dataBytes = Buffer.concat(data);
  const map = Buffer.alloc(28 + 2 + 8 + 12 * tables.length);
  map.writeUInt16BE(28, 24);
  map.writeUInt16BE(map.length, 26);
  map.writeUInt16BE(0, 28);
  map.write('blkx', 30, 'latin1');
  map.writeUInt16BE(tables.length - 1, 34);
  map.writeUInt16BE(10, 36);
  let at = 0;
  data.forEach((resource, i) => {
    const entry = 38 + 12 * i;
    map.writeInt16BE(i - 1, entry);
    map.writeUInt16BE(0xffff, entry + 2);
    map.writeUInt32BE(0x5000_0000 | at, entry + 4);
    at += resource.length;
  });
  const head = Buffer.alloc(HEAD);
  head.writeUInt32BE(HEAD, 0);
  head.writeUInt32BE(HEAD + dataBytes.length, 4);
  head.writeUInt32BE(dataBytes.length, 8);
  head.writeUInt32BE(map.length, 12);
  head.copy(map, 0, 0, 16);
  return Buffer.concat([head, dataBytes, map]);
}

export function crc32(bytes: Uint8Array): number {
  return zlibCrc32(bytes);
}
