// Reads: the range is looked up, one L2 table after the other. Each run that is contiguous in the file is one read; all reads run in parallel.

import { later, settleAll } from '../../../util/settle.js';
import { readCompressed } from './compressed-read.js';
import type { Qcow2Image } from './image.js';
import { Kind, type KindNumber, type L2Codec } from './l2-codec.js';
import type { Table } from './table-cache.js';
import { type GuestOffset, plus } from './types.js';

/** Fills `buffer` from guest `offset`. Rejects with `corrupt-image`, `io`, and with errors of the backing node. */
export async function readGuest(image: Qcow2Image, offset: GuestOffset, buffer: Uint8Array): Promise<void> {
  const { mapping } = image;
  const { l2Span } = image.geometry;
  const parts: Promise<void>[] = [];
  let failure: { error: unknown } | null = null;
  try {
    for (let done = 0; done < buffer.length; ) {
      const at = plus(offset, done);
      const index = mapping.indexOf(at);
      const length = Math.min(buffer.length - done, (index + 1) * l2Span - at);
      let table = mapping.tableSync(index);
      while (table === undefined) {
        await mapping.loadTable(index);
        table = mapping.tableSync(index);
      }
      const target = buffer.subarray(done, done + length);
      if (table === null) parts.push(later(readBacking(image, at, target)));
      else startTable(image, table, at, target, parts);
      done += length;
    }
  } catch (error) {
    failure = { error };
  }
  await settleAll(parts, failure);
}

/** Starts the reads of a range within one L2 table. It is synchronous, so that the mapping cannot change between look-up and start. */
function startTable(
  image: Qcow2Image,
  table: Table,
  offset: GuestOffset,
  buffer: Uint8Array,
  parts: Promise<void>[],
): void {
  const { mapping } = image;
  const { codec } = mapping;
  const { clusterSize, l2Span, subclusterSize } = image.geometry;
  const { view } = table;
  const end = offset + buffer.length;
  for (let at = offset; at < end; ) {
    const within = at % l2Span;
    const index = Math.floor(within / subclusterSize);
    const lead = within % subclusterSize;
    const kind = codec.kindAt(view, index);
    const most = Math.ceil((lead + end - at) / subclusterSize);
    const count = isBelow(kind) ? belowRun(codec, view, index, most) : codec.run(view, index, most);
    const length = Math.min(count * subclusterSize - lead, end - at);
    const target = buffer.subarray(at - offset, at - offset + length);
    const slot = Math.floor(within / clusterSize);
    const place = codec.hostAt(view, index);
    switch (mapping.isValid(kind, place, plus(at, -lead)) ? kind : Kind.bad) {
      case Kind.normal: {
        const host = plus(place, lead);
        const guest = at;
        parts.push(later(guarded(image, () => image.data.read(host, guest, target, 'read_aio'))));
        break;
      }
      case Kind.compressed: {
        const { host, bytes } = codec.decode(view, slot);
        const from = at % clusterSize;
        parts.push(later(guarded(image, () => readCompressed(image, host, bytes, from, target))));
        break;
      }
      case Kind.unallocated:
      case Kind.preallocated:
        parts.push(later(readBacking(image, at, target)));
        break;
      case Kind.bad:
        parts.push(later(mapping.badEntry(table, slot).then((error) => Promise.reject(error))));
        break;
      default:
        target.fill(0);
    }
    at = plus(at, length);
  }
}

/** True where the backing node is read. */
function isBelow(kind: KindNumber): boolean {
  return kind === Kind.unallocated || kind === Kind.preallocated;
}

/** Length of the run from `index` on, `max` at most, that is read from the backing node, in subclusters. */
function belowRun(codec: L2Codec, view: DataView, index: number, max: number): number {
  let count = codec.run(view, index, max);
  while (count < max && isBelow(codec.kindAt(view, index + count)))
    count += codec.run(view, index + count, max - count);
  return count;
}

/** Runs `action`, which uses a host cluster that was just looked up, with a guard that keeps the cluster from being reused (reclamation.ts). */
export async function guarded(image: Qcow2Image, action: () => Promise<void>): Promise<void> {
  const guard = image.reclamation.guardRead();
  try {
    await action();
  } finally {
    guard.release();
  }
}

/** Reads an unallocated range: from the backing node up to its end, and to the end of this disk; zeroes beyond. */
async function readBacking(image: Qcow2Image, offset: GuestOffset, buffer: Uint8Array): Promise<void> {
  const backing = image.backing();
  const end = backing === null ? 0 : Math.min(backing.length, image.length());
  const inside = Math.max(0, Math.min(buffer.length, end - offset));
  if (inside < buffer.length) buffer.fill(0, inside);
  if (inside === 0) return;
  const stop = image.data.raise('read_backing_aio');
  if (stop !== undefined) await stop;
  await backing!.read(offset, inside === buffer.length ? buffer : buffer.subarray(0, inside));
}
