// Replaces zero clusters, which version 2 does not have: by unallocated ones where the image has no backing file, by data otherwise.

import type { AmendProgress } from '../../../block/abilities.js';
import type { Qcow2Image } from './image.js';
import { Kind } from './l2-codec.js';
import type { GuestOffset } from './types.js';
import { writeGuest } from './write.js';
import { changeEntries, unmap } from './zero.js';

/** Zeroes that are written at once. */
const ZERO_BYTES = 1 << 20;
/** L2 tables that are changed between two commits. */
const BATCH_TABLES = 64;

/** Nobody uses the image meanwhile. What was changed is durable when it resolves. Rejects as writes do; then the image reads as before. */
export async function expandZeroes(image: Qcow2Image, progress: AmendProgress): Promise<void> {
  const { mapping, geometry } = image;
  const { l2Span } = geometry;
  const { hasBacking } = image;
  let changed = 0;
  for (let index = 0; index < mapping.l1.entries; index++) {
    progress(index, mapping.l1.entries);
    if (mapping.l1.target(index) === 0) continue;
    const ranges = await zeroRanges(image, index);
    if (ranges.length === 0) continue;
    for (const { from, to } of ranges) {
      // What lies behind the end of the disk, a cut was broken off, say, is no content.
      const end = Math.min(to, Math.max(from, image.length())) as GuestOffset;
      if (hasBacking && end > from) await writeZeroes(image, from, end);
      const rest = hasBacking ? roundedUp(end, geometry.clusterSize) : from;
      if (rest < to) await unmapZeroes(image, rest as GuestOffset, to);
    }
    if (++changed % BATCH_TABLES === 0) await image.commit();
  }
  await image.commit();
  progress(l2Span, l2Span);
}

function roundedUp(offset: number, clusterSize: number): number {
  return Math.ceil(offset / clusterSize) * clusterSize;
}

/** Where zero clusters lie in what L2 table `index` maps. Rejects with `corrupt-image`, `io`. */
async function zeroRanges(image: Qcow2Image, index: number): Promise<{ from: GuestOffset; to: GuestOffset }[]> {
  const { mapping, geometry } = image;
  const { clusterSize, l2Entries, l2Span } = geometry;
  let table = mapping.tableSync(index);
  while (table === undefined) {
    await mapping.loadTable(index);
    table = mapping.tableSync(index);
  }
  const ranges: { from: GuestOffset; to: GuestOffset }[] = [];
  if (table === null) return ranges;
  for (let slot = 0; slot < l2Entries; slot++) {
    const kind = mapping.codec.kind(table.view, slot);
    if (kind === Kind.bad) throw await mapping.badEntry(table, slot);
    if (kind !== Kind.zeroPlain && kind !== Kind.zeroAllocated) continue;
    const from = (index * l2Span + slot * clusterSize) as GuestOffset;
    const to = (from + clusterSize) as GuestOffset;
    const last = ranges.at(-1);
    if (last?.to === from) last.to = to;
    else ranges.push({ from, to });
  }
  return ranges;
}

async function writeZeroes(image: Qcow2Image, from: GuestOffset, to: GuestOffset): Promise<void> {
  const zeroes = image.memory.allocate(Math.min(ZERO_BYTES, to - from)).fill(0);
  try {
    for (let at: number = from; at < to; at += zeroes.length) {
      const length = Math.min(zeroes.length, to - at);
      await writeGuest(image, [{ offset: at as GuestOffset, length }], zeroes.subarray(0, length));
    }
  } finally {
    image.memory.free(zeroes);
  }
}

async function unmapZeroes(image: Qcow2Image, from: GuestOffset, to: GuestOffset): Promise<void> {
  await changeEntries(image, from, to, false, (table, slot, entry) => {
    if (entry.kind !== Kind.unallocated) unmap(image, table, slot, entry, image.discards.other);
  });
}
