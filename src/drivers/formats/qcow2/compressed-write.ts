// Writes of compressed clusters: all clusters of a request are compressed in parallel on the host's worker threads, packed, and written in one piece where
// they are contiguous in the file. A cluster that does not get smaller is written as an ordinary one.

import { settleAll } from '../../../util/settle.js';
import type { Qcow2Image } from './image.js';
import { Kind } from './l2-codec.js';
import type { Table } from './table-cache.js';
import { type GuestExtent, type GuestOffset, type HostOffset, plus } from './types.js';
import { freeOld, writeGuest } from './write.js';

interface CompressedCluster {
  guest: GuestOffset;
  /** Compressed data; empty until compressed. */
  data: Uint8Array;
  /** The buffer that `data` is part of, to be freed. */
  buffer: Uint8Array;
}

interface HostWrite {
  host: HostOffset;
  parts: Uint8Array[];
  bytes: number;
}

/** Writes whole clusters (the last one of the disk may be short) compressed. Rejects with `unsupported` for parts of clusters, and as `writeGuest`. */
export async function writeCompressed(
  image: Qcow2Image,
  extents: readonly GuestExtent[],
  buffer: Uint8Array,
): Promise<void> {
  const { clusterSize } = image.geometry;
  if (image.data.isExternal) {
    throw image.error('unsupported', 'an image with an external data file has no compressed clusters', 'write');
  }
  if (image.data.isEncrypted) {
    throw image.error('unsupported', 'Compression and encryption not supported at the same time', 'write');
  }
  for (const { offset, length } of extents) {
    const end = offset + length;
    if (offset % clusterSize !== 0 || (end % clusterSize !== 0 && end !== image.length())) {
      throw image.error('unsupported', 'compressed writes must be whole clusters', 'write', offset);
    }
  }
  const filled = extents.filter(({ length }) => length > 0);
  if (filled.length === 0) return;
  const clusters: CompressedCluster[] = [];
  try {
    const plain = await compressAll(image, filled, buffer, clusters);
    if (clusters.length > 0) await writeClusters(image, clusters);
    for (const { offset, data } of plain) await writeGuest(image, [{ offset, length: data.length }], data);
  } finally {
    for (const cluster of clusters) image.memory.free(cluster.buffer);
  }
}

/** Compresses every cluster into `clusters`; returns the clusters that do not get smaller, neighbours joined. */
async function compressAll(
  image: Qcow2Image,
  extents: readonly GuestExtent[],
  buffer: Uint8Array,
  clusters: CompressedCluster[],
): Promise<{ offset: GuestOffset; data: Uint8Array }[]> {
  const { clusterSize } = image.geometry;
  const type = image.compression;
  const incompressible: { offset: GuestOffset; from: number; length: number }[] = [];
  const work: Promise<void>[] = [];
  let from = 0;
  for (const { offset, length } of extents) {
    for (let at = 0; at < length; at += clusterSize) {
      const start = from + at;
      const bytes = Math.min(clusterSize, length - at);
      work.push(
        compressOne(image, type, plus(offset, at), buffer.subarray(start, start + bytes), clusters).then((fits) => {
          if (!fits) incompressible.push({ offset: plus(offset, at), from: start, length: bytes });
        }),
      );
    }
    from += length;
  }
  await settleAll(work, null);
  clusters.sort((a, b) => a.guest - b.guest);
  incompressible.sort((a, b) => a.offset - b.offset);
  const joined: { offset: GuestOffset; data: Uint8Array }[] = [];
  for (const { offset, from: at, length } of incompressible) {
    const last = joined[joined.length - 1];
    if (last !== undefined && last.offset + last.data.length === offset) {
      const start = at - last.data.length;
      last.data = buffer.subarray(start, at + length);
    } else {
      joined.push({ offset, data: buffer.subarray(at, at + length) });
    }
  }
  return joined;
}

async function compressOne(
  image: Qcow2Image,
  type: 'zlib' | 'zstd',
  guest: GuestOffset,
  data: Uint8Array,
  clusters: CompressedCluster[],
): Promise<boolean> {
  const { clusterSize } = image.geometry;
  const output = image.memory.allocate(clusterSize - 1);
  let padded: Uint8Array | null = null;
  let kept = false;
  try {
    if (data.length < clusterSize) {
      padded = image.memory.allocate(clusterSize).fill(0, data.length);
      padded.set(data);
    }
    const length = await image.host.codecs.compress(type, padded ?? data, output);
    if (length < 0) return false;
    clusters.push({ guest, data: output.subarray(0, length), buffer: output });
    kept = true;
    return true;
  } finally {
    if (padded !== null) image.memory.free(padded);
    if (!kept) image.memory.free(output);
  }
}

async function writeClusters(image: Qcow2Image, clusters: readonly CompressedCluster[]): Promise<void> {
  const { mapping, packer } = image;
  const { clusterSize, l2Entries } = image.geometry;
  const first = clusters[0].guest;
  const last = clusters[clusters.length - 1].guest;
  const held = await image.locks.acquire(first, last + clusterSize);
  const tables = new Map<number, Table>();
  try {
    image.checkUsable();
    for (const { guest } of clusters) {
      const index = mapping.indexOf(guest);
      if (!tables.has(index)) tables.set(index, await mapping.pinForWrite(index));
    }
    const sizes = clusters.map(({ data }) => data.length);
    const places = await packer.place(sizes);
    try {
      const end = places.reduce((high, host, i) => Math.max(high, host + sizes[i]), 0);
      if (end > mapping.codec.compressedLimit) throw image.error('limit', 'No room for compressed data', 'write', end);
      await writePacked(image, clusters, places);
      const stop = image.file.raise('l2_update_compressed');
      if (stop !== undefined) await stop;
    } catch (error) {
      packer.releaseAll(places, sizes);
      throw error;
    }
    clusters.forEach(({ guest, data }, i) => {
      const table = tables.get(mapping.indexOf(guest))!;
      const slot = (guest / clusterSize) % l2Entries;
      const old = mapping.codec.decode(table.view, slot);
      if (old.kind !== Kind.bad) freeOld(image, old, image.discards.other);
      mapping.setCompressed(table, slot, places[i], data.length);
    });
  } finally {
    for (const table of tables.values()) table.pins--;
    image.locks.release(held);
  }
}

/** Writes all data; clusters that are contiguous in the file are one write. */
async function writePacked(
  image: Qcow2Image,
  clusters: readonly CompressedCluster[],
  places: readonly HostOffset[],
): Promise<void> {
  const writes: HostWrite[] = [];
  places.forEach((host, i) => {
    const { data } = clusters[i];
    const last = writes[writes.length - 1];
    if (last !== undefined && last.host + last.bytes === host) {
      last.parts.push(data);
      last.bytes += data.length;
    } else {
      writes.push({ host, parts: [data], bytes: data.length });
    }
  });
  await settleAll(
    writes.map(async ({ host, parts, bytes }) => {
      const staging = image.memory.allocate(bytes);
      try {
        let at = 0;
        for (const part of parts) {
          staging.set(part, at);
          at += part.length;
        }
        await image.data.writeStored(host, staging, 'write_compressed');
      } finally {
        image.memory.free(staging);
      }
    }),
    null,
  );
}
