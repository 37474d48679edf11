// Parallels images that no tool here makes: with the older magic, and with a format extension.

import { createHash } from 'node:crypto';

/** Offsets of fields in the header. */
export const Field = {
  clusterSectors: 28,
  entries: 32,
  sectors: 36,
  inUse: 44,
  dataOffset: 48,
  extension: 56,
} as const;
export const IN_USE = 0x746f6e59;
export const HEADER_BYTES = 64;

/** The same image with the older magic, whose entries are sectors. */
export function withOldMagic(image: Buffer): Buffer {
  const bytes = Buffer.from(image);
  bytes.write('WithoutFreeSpace', 0, 'latin1');
  const clusterSectors = bytes.readUInt32LE(Field.clusterSectors);
  for (let i = 0; i < bytes.readUInt32LE(Field.entries); i++) {
    const at = HEADER_BYTES + 4 * i;
    bytes.writeUInt32LE(bytes.readUInt32LE(at) * clusterSectors, at);
  }
  return bytes;
}

export interface Feature {
  magic: bigint;
  flags?: bigint;
  data?: Buffer;
}

export const BITMAP = 0x20385fae252cb34an;

/** The same image with a format extension of these features behind its clusters, which are whole. `more` is put behind the extension. */
export function withExtension(image: Buffer, features: readonly Feature[], more = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.concat([image, Buffer.alloc(image.readUInt32LE(Field.clusterSectors) * 512), more]);
  const cluster = bytes.subarray(image.length, bytes.length - more.length);
  bytes.writeBigUInt64LE(BigInt(image.length / 512), Field.extension);
  cluster.writeBigUInt64LE(0xab234cef23dcea87n, 0);
  let at = 24;
  for (const { magic, flags = 0n, data = Buffer.alloc(0) } of features) {
    cluster.writeBigUInt64LE(magic, at);
    cluster.writeBigUInt64LE(flags, at + 8);
    cluster.writeUInt32LE(data.length, at + 16);
    data.copy(cluster, at + 24);
    at = Math.ceil((at + 24 + data.length) / 8) * 8;
  }
  createHash('md5').update(cluster.subarray(24)).digest().copy(cluster, 8);
  return bytes;
}

/** The data of a bitmap feature; `table`: for each cluster of its bits 0, 1 (all set), or a sector of the file. */
export function bitmapData(sectors: number, granularity: number, table: readonly bigint[]): Buffer {
  const data = Buffer.alloc(32 + 8 * table.length);
  data.writeBigUInt64LE(BigInt(sectors), 0);
  for (let i = 0; i < 16; i++) data[8 + i] = i;
  data.writeUInt32LE(granularity, 24);
  data.writeUInt32LE(table.length, 28);
  table.forEach((place, i) => {
    data.writeBigUInt64LE(place, 32 + 8 * i);
  });
  return data;
}
