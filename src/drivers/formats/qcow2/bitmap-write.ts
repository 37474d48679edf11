// Writes a stored bitmap's bits and table. Nothing here flushes: bitmap-store.ts knows the order.

import { assert } from '../../../util/assert.js';
import type { Run } from './allocation.js';
import type { KeptBitmap } from './bitmap-kept.js';
import { ALL_SET, encodePlaces, NONE_SET } from './bitmap-table.js';
import type { Qcow2Image } from './image.js';
import type { OverlapKind } from './options.js';
import { overlapMessage } from './overlap.js';
import { POINTER_BYTES } from './pointer-codec.js';
import { clusterAt, type HostOffset, hostOf, NO_HOST, SECTOR } from './types.js';

/** Allocates a contiguous place for `length` bytes, noted in `runs`; 0 for none. Rejects with `no-space`, `io`, `corrupt-image`. */
export async function allocatePlace(image: Qcow2Image, length: number, runs: Run[]): Promise<HostOffset> {
  if (length === 0) return NO_HOST;
  const { allocation, geometry, file } = image;
  const count = Math.ceil(length / geometry.clusterSize);
  const cluster = await allocation.allocateContiguous(count);
  runs.push({ cluster, count });
  const offset = hostOf(cluster, geometry);
  await file.ensureLength(offset + count * geometry.clusterSize);
  file.takeFresh(offset, offset + count * geometry.clusterSize);
  return offset;
}

/** Rejects with `corrupt-image` where a place of bitmaps, which is going to be written, is a place of other metadata; `ignored`: of any but this kind. */
export async function checkPlace(
  image: Qcow2Image,
  start: HostOffset,
  length: number,
  ignored: OverlapKind | null = null,
): Promise<void> {
  const what = image.metadata.overlap(start, start + length, ignored);
  if (what !== null) throw await image.corrupt(overlapMessage(what), start, length);
}

/** The clusters of `length` bytes at `offset`. */
export function clustersAt(image: Qcow2Image, offset: HostOffset, length: number): Run {
  const { geometry } = image;
  return { cluster: clusterAt(offset, geometry), count: Math.ceil(length / geometry.clusterSize) };
}

/** Writes `bytes` to a place that was allocated for them; the rest of the last cluster becomes zeroes. */
export async function writePlace(image: Qcow2Image, offset: HostOffset, bytes: Uint8Array): Promise<void> {
  const { clusterSize } = image.geometry;
  const whole = new Uint8Array(Math.ceil(bytes.length / clusterSize) * clusterSize);
  whole.set(bytes);
  await image.file.write(offset, whole);
}

/** Allocates a cluster for the bits of table entry `entry`, which have none. */
export async function allocateBits(image: Qcow2Image, kept: KeptBitmap, entry: number): Promise<HostOffset> {
  const { allocation, geometry, file } = image;
  const { cluster } = await allocation.allocateRun(1);
  kept.spare.set(entry, cluster);
  const host = hostOf(cluster, geometry);
  await file.ensureLength(host + geometry.clusterSize);
  file.takeFresh(host, host + geometry.clusterSize);
  return host;
}

/** Writes the bits that differ, in place where they have a cluster. Table entries that come to point to other clusters are not written. */
export async function writeBits(image: Qcow2Image, kept: KeptBitmap): Promise<void> {
  const { geometry, memory, file } = image;
  const bytes = memory.allocate(geometry.clusterSize);
  const ones = new Uint8Array(geometry.clusterSize).fill(0xff);
  kept.noRoom = false;
  try {
    await kept.eachChanged(bytes, async (entry) => {
      if (memory.isZero(bytes)) return kept.setPlace(entry, NONE_SET);
      if (bytes[0] === 0xff && memory.firstDifference(bytes, ones) < 0) return kept.setPlace(entry, ALL_SET);
      const known = kept.places[entry];
      const spare = kept.spare.get(entry);
      const reserved = spare === undefined ? null : hostOf(spare, geometry);
      const place = known > 0 ? (known as HostOffset) : (reserved ?? (await allocateBits(image, kept, entry)));
      await checkPlace(image, place, bytes.length);
      await file.write(place, bytes);
      kept.setPlace(entry, place);
      if (known <= 0) kept.spare.delete(entry);
    });
  } finally {
    memory.free(bytes);
  }
}

/** Writes the table entries that differ to the table on disk, in whole sectors. */
export async function writeTableEntries(image: Qcow2Image, kept: KeptBitmap): Promise<void> {
  const { tableOffset, tableEntries } = kept.stored;
  assert(kept.places.length === tableEntries, 'a table is changed in place where it has the length of the one on disk');
  const perSector = SECTOR / POINTER_BYTES;
  await checkPlace(image, tableOffset, tableEntries * POINTER_BYTES);
  await image.file.ensureLength(tableOffset + tableEntries * POINTER_BYTES);
  for (const sector of new Set([...kept.tableDirty].map((entry) => Math.floor(entry / perSector)))) {
    const from = sector * perSector;
    const bytes = tableBytes(kept, from, Math.min(from + perSector, tableEntries));
    await image.file.write(tableOffset + from * POINTER_BYTES, bytes);
  }
}

/** Entries [from, to) of the table of `kept`. */
export function tableBytes({ places }: KeptBitmap, from: number, to: number): Uint8Array {
  const bytes = new Uint8Array((to - from) * POINTER_BYTES);
  encodePlaces(places, from, to, new DataView(bytes.buffer));
  return bytes;
}
