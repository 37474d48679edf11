// Block status: the longest run with one status, across L2 tables.

import type { BlockStatus } from '../../../block/types.js';
import type { Qcow2Image } from './image.js';
import { Kind, type KindNumber } from './l2-codec.js';
import { zeroInFile, zeroInFileSync } from './preallocation.js';
import type { Table } from './table-cache.js';
import { type GuestOffset, plus } from './types.js';

/** Why a look-up had to stop: an L2 table must be loaded, or (`bad`) an entry is invalid. */
interface Obstacle {
  index: number;
  bad: { table: Table; slot: number } | null;
}

/** Status of the run at `offset`, of at most `length` bytes. Rejects with `corrupt-image`, `io`. */
export async function statusOf(image: Qcow2Image, offset: GuestOffset, length: number): Promise<BlockStatus> {
  let status: BlockStatus | null = null;
  for (;;) {
    const done: number = status?.length ?? 0;
    let found = lookUp(image, plus(offset, done), length - done);
    if (!('length' in found)) {
      if (found.bad === null) await image.mapping.loadTable(found.index);
      else if (status === null) throw await image.mapping.badEntry(found.bad.table, found.bad.slot);
      else return status;
      continue;
    }
    const end = found.length;
    const endsAtMiss = done + end < length && missesTable(image, plus(offset, done + end));
    if (isPlainData(found) && (await image.preallocation.look())) found = await zeroInFile(image.data.node, found);
    if (status === null) status = found;
    else if (continues(status, found)) status.length += found.length;
    else return status;
    // The file below may have cut the run short (`zeroInFile`): its next part may still have the same status.
    if ((found.length === end && !endsAtMiss) || status.length === length) return status;
  }
}

/** True where the L2 table of guest offset `offset` is not in the cache. */
function missesTable({ mapping }: Qcow2Image, offset: GuestOffset): boolean {
  return mapping.tableSync(mapping.indexOf(offset)) === undefined;
}

/** As `statusOf`, from cached tables only; the run may be shorter. Null where a table must be loaded, or an entry is invalid. */
export function statusSync(image: Qcow2Image, offset: GuestOffset, length: number): BlockStatus | null {
  const found = lookUp(image, offset, length);
  if (!('length' in found)) return null;
  if (!isPlainData(found) || image.preallocation.found === false) return found;
  return image.preallocation.found === null ? null : zeroInFileSync(image.data.node, found);
}

/** True for data that is stored as it is, not compressed. */
function isPlainData({ data, offset }: BlockStatus): boolean {
  return data && offset >= 0;
}

function continues(run: BlockStatus, next: BlockStatus): boolean {
  return (
    run.allocated === next.allocated &&
    run.data === next.data &&
    run.zero === next.zero &&
    run.compressed === next.compressed &&
    (run.offset < 0 ? next.offset < 0 : next.offset === run.offset + run.length)
  );
}

function lookUp(image: Qcow2Image, offset: GuestOffset, length: number): BlockStatus | Obstacle {
  const { mapping } = image;
  const { clusterSize, l2Span, subclusterSize } = image.geometry;
  const { codec } = mapping;
  const shown = image.backing()?.length ?? 0;
  const end = plus(offset, length);
  let kind: KindNumber | null = null;
  let host = 0;
  let at = offset;
  while (at < end) {
    const index = mapping.indexOf(at);
    const table = mapping.tableSync(index);
    if (table === undefined) {
      if (kind === null) return { index, bad: null };
      break;
    }
    const lead = at % subclusterSize;
    const stop = Math.min(end, (index + 1) * l2Span) as GuestOffset;
    let here: KindNumber = Kind.unallocated;
    let hereHost = 0;
    let to = stop;
    if (table !== null) {
      const first = Math.floor((at % l2Span) / subclusterSize);
      const count = codec.run(table.view, first, Math.ceil((lead + stop - at) / subclusterSize));
      here = codec.kindAt(table.view, first);
      const place = codec.hostAt(table.view, first);
      // What the backing node is read for is one run, with its place or without; so is what has no place to be told.
      if (here === Kind.preallocated && (at < shown || image.data.isEncrypted)) here = Kind.unallocated;
      if (!mapping.isValid(here, place, plus(at, -lead))) {
        if (kind !== null) break;
        return { index, bad: { table, slot: Math.floor((at % l2Span) / clusterSize) } };
      }
      if (hasHost(here)) hereHost = codec.hostAt(table.view, first) + lead;
      to = Math.min(stop, at - lead + count * subclusterSize) as GuestOffset;
    }
    if (kind === null) {
      kind = here;
      host = hereHost;
    } else if (here !== kind || (isInFile(image, kind) && hereHost !== host + at - offset)) {
      break;
    }
    at = to;
  }
  return describe(image, kind ?? Kind.unallocated, offset, host, at - offset);
}

/** What is encrypted lies nowhere as it is. */
function isInFile({ data }: Qcow2Image, kind: KindNumber): boolean {
  return hasHost(kind) && !data.isEncrypted;
}

function hasHost(kind: KindNumber): boolean {
  return kind === Kind.normal || kind === Kind.zeroAllocated || kind === Kind.preallocated;
}

function describe(image: Qcow2Image, kind: KindNumber, offset: GuestOffset, host: number, length: number): BlockStatus {
  if (kind === Kind.unallocated || kind === Kind.preallocated) {
    const status = absent(image.backing()?.length ?? 0, offset, length);
    // Where nothing is below, the reference tells the place that such a range has already.
    return kind === Kind.preallocated ? { ...status, offset: host, node: image.data.node } : status;
  }
  const data = kind === Kind.normal || kind === Kind.compressed;
  return {
    length,
    allocated: true,
    data,
    zero: !data,
    compressed: kind === Kind.compressed,
    offset: isInFile(image, kind) ? host : -1,
    node: isInFile(image, kind) ? image.data.node : null,
  };
}

/** Status of an unallocated range: up to the end of the backing node, the backing node determines its content; beyond, it reads as zeroes. */
function absent(backingLength: number, offset: GuestOffset, length: number): BlockStatus {
  const zero = offset >= backingLength;
  return {
    length: zero ? length : Math.min(length, backingLength - offset),
    allocated: false,
    data: false,
    zero,
    compressed: false,
    offset: -1,
    node: null,
  };
}
