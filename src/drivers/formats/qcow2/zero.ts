// Requests to write zeroes, and discards: for whole clusters, the L2 entry is changed; in parts of clusters, zeroes are written as data.
//
//   entry           write zeroes (v3)        ... may unmap      discard (v3)             discard (v2)
//   unallocated     zero                     zero               zero if a backing node   -
//   normal          zero, cluster kept       zero, freed        zero, freed              freed, if no backing node
//   compressed      zero, freed              zero, freed        zero, freed              freed, if no backing node
//
// With `discard-no-unref`, a cluster that is the image's alone is kept in all of these cases.
//
// Version 2 has no zero flag: a cluster of zeroes is unallocated where the image has no backing file, and data otherwise.

import type { ZeroFlags } from '../../../block/types.js';
import { roundDown, roundUp } from '../../../util/numbers.js';
import type { Qcow2Image } from './image.js';
import { Kind, type L2Entry } from './l2-codec.js';
import type { Table } from './table-cache.js';
import { type GuestOffset, type HostOffset, plus } from './types.js';
import { freeOld, writeGuest } from './write.js';

const ZERO_BYTES = 1 << 20;

/** Changes the entry in `slot`, whose present value is `entry`, of the guest cluster at `guest`. */
type EntryChange = (table: Table, slot: number, entry: L2Entry, guest: GuestOffset) => void;

/** Entries are made to read as zeroes: what becomes of the content. */
interface Zeroing {
  /** Its space may be given back. */
  unmap: boolean;
  /** Clusters that stay allocated, and whose content is not needed any more. */
  readonly kept: HostOffset[];
}

/** Makes a range read as zeroes. Rejects with `unsupported` where zeroes would have to be written as data and `noFallback` forbids that. */
export async function zeroGuest(
  image: Qcow2Image,
  offset: GuestOffset,
  length: number,
  flags: ZeroFlags,
): Promise<void> {
  const { clusterSize } = image.geometry;
  const end = plus(offset, length);
  const bodyStart = roundUp(offset, clusterSize);
  const bodyEnd = end === image.length() ? end : roundDown(end, clusterSize);
  if (bodyStart > offset) await zeroPart(image, offset, lower(end, bodyStart), flags);
  if (bodyEnd > bodyStart) await zeroClusters(image, bodyStart, bodyEnd, flags);
  const tail = bodyEnd > bodyStart ? bodyEnd : bodyStart;
  if (end > tail) await zeroPart(image, tail, end, flags);
}

/** Zeroes whole clusters; `end` may be the end of the disk, inside a cluster. */
async function zeroClusters(image: Qcow2Image, start: GuestOffset, end: GuestOffset, flags: ZeroFlags): Promise<void> {
  const { mapping } = image;
  const { clusterSize } = image.geometry;
  const mayUnmap = flags.mayUnmap === true;
  if (image.geometry.version === 3) {
    const zeroing: Zeroing = { unmap: mayUnmap, kept: [] };
    return changeEntries(
      image,
      start,
      end,
      true,
      (table, slot, entry) => {
        const { kind, host, copied } = entry;
        if (kind === Kind.zeroPlain || (kind === Kind.zeroAllocated && !mayUnmap)) return;
        if (mayUnmap && keep(image, table, slot, entry, zeroing)) return;
        if (kind === Kind.normal && copied && !mayUnmap) {
          mapping.setZeroAllocated(table, slot, host);
          return;
        }
        freeOld(image, entry, punchFor(image, mayUnmap));
        mapping.setZero(table, slot);
      },
      zeroing,
    );
  }
  const asData: { from: GuestOffset; to: GuestOffset }[] = [];
  await changeEntries(image, start, end, hasBacking(image), (table, slot, entry, guest) => {
    if (!hasBacking(image)) {
      const { kind } = entry;
      if (kind === Kind.unallocated) return;
      if (mayUnmap || kind === Kind.compressed) {
        unmap(image, table, slot, entry, punchFor(image, mayUnmap));
        return;
      }
    }
    const last = asData[asData.length - 1];
    const to = lower(plus(guest, clusterSize), end);
    if (last !== undefined && last.to === guest) last.to = to;
    else asData.push({ from: guest, to });
  });
  for (const { from, to } of asData) await zeroAsData(image, from, to, flags);
}

/** Zeroes a range inside one cluster. Nothing needs to be written where the whole cluster reads as zeroes already. */
async function zeroPart(image: Qcow2Image, from: GuestOffset, to: GuestOffset, flags: ZeroFlags): Promise<void> {
  const cluster = roundDown(from, image.geometry.clusterSize);
  let done = false;
  await changeEntries(image, cluster, to, false, (_table, _slot, { kind }) => {
    done = kind === Kind.zeroPlain || kind === Kind.zeroAllocated || (kind === Kind.unallocated && !hasBacking(image));
  });
  if (image.mapping.l1.target(image.mapping.indexOf(cluster)) === 0) done = !hasBacking(image);
  if (!done) await zeroAsData(image, from, to, flags);
}

async function zeroAsData(image: Qcow2Image, from: GuestOffset, to: GuestOffset, flags: ZeroFlags): Promise<void> {
  if (flags.noFallback)
    throw image.error('unsupported', 'zeroes would have to be written as data', 'write zeroes', from);
  const zeroes = image.memory.allocate(Math.min(ZERO_BYTES, to - from)).fill(0);
  try {
    for (let at = from; at < to; at = plus(at, zeroes.length)) {
      const length = Math.min(zeroes.length, to - at);
      await writeGuest(image, [{ offset: at, length }], zeroes.subarray(0, length));
    }
  } finally {
    image.memory.free(zeroes);
  }
}

/** Unmaps the whole clusters of a range. Parts of clusters at its ends stay unchanged. */
export async function discardGuest(image: Qcow2Image, offset: GuestOffset, length: number): Promise<void> {
  const { mapping } = image;
  const { clusterSize, version } = image.geometry;
  const start = roundUp(offset, clusterSize);
  const last = plus(offset, length);
  const end = last === image.length() ? last : roundDown(last, clusterSize);
  if (end <= start) return;
  const below = hasBacking(image);
  const zeroing: Zeroing = { unmap: true, kept: [] };
  await changeEntries(
    image,
    start,
    end,
    version === 3 && below,
    (table, slot, entry) => {
      const { kind } = entry;
      if (kind === Kind.zeroPlain) return;
      if (kind === Kind.unallocated && !below) return;
      if (version === 2) {
        if (!below) unmap(image, table, slot, entry, image.discards.request);
        return;
      }
      if (keep(image, table, slot, entry, zeroing)) return;
      if (kind !== Kind.unallocated) unmap(image, table, slot, entry, image.discards.request);
      mapping.setZero(table, slot);
    },
    zeroing,
  );
}

/**
 * True where the image has, or names, a backing file: then zeroes must be stored here, even beyond the end of the backing node, since a job may replace
 * it by a longer one. An image may be open without the backing file that its header names.
 */
function hasBacking(image: Qcow2Image): boolean {
  return image.backing() !== null || image.backingFile !== null;
}

/** Where the clusters are to stay allocated (`discard-no-unref`): gives `entry` the zero flag, if its cluster is this image's alone. */
function keep(image: Qcow2Image, table: Table, slot: number, entry: L2Entry, { kept }: Zeroing): boolean {
  const { kind, host, copied } = entry;
  if (!image.discards.keep || !copied || (kind !== Kind.normal && kind !== Kind.zeroAllocated)) return false;
  image.mapping.setZeroAllocated(table, slot, host);
  kept.push(host);
  return true;
}

/**
 * Discards the content of clusters that were kept, where discards are passed on. Within the range's lock: nobody writes there again meanwhile. The content is
 * that of zeroes, or of a discard: after power loss, an entry on the disk may still point to it.
 */
async function dropKept({ data, discards, file, geometry }: Qcow2Image, { kept }: Zeroing): Promise<void> {
  const { clusterSize } = geometry;
  // An external data file has been told.
  const hosts = discards.request && !data.isExternal ? kept.sort((a, b) => a - b) : [];
  for (let i = 0; i < hosts.length; ) {
    const first = i;
    while (i < hosts.length && hosts[i] === hosts[first] + (i - first) * clusterSize) i++;
    await file.discard(hosts[first], (i - first) * clusterSize);
  }
  kept.length = 0;
}

/** The lower of two offsets. */
function lower(a: GuestOffset, b: GuestOffset): GuestOffset {
  return a < b ? a : b;
}

/** Whether freed clusters are discarded in the file. `requested`: the request allows to unmap them. */
function punchFor(image: Qcow2Image, requested: boolean): boolean {
  return requested ? image.discards.request : image.discards.other;
}

/** Makes the entry in `slot`, whose present value is `entry`, unallocated. */
export function unmap(image: Qcow2Image, table: Table, slot: number, entry: L2Entry, punch: boolean): void {
  freeOld(image, entry, punch);
  image.mapping.setUnallocated(table, slot);
}

/**
 * Calls `change` for each entry of [start, end), table by table, with the table's part of the range locked. With `make`, missing L2 tables are
 * created; otherwise their ranges are skipped. `zeroing`: the entries are made to read as zeroes.
 */
export async function changeEntries(
  image: Qcow2Image,
  start: GuestOffset,
  end: GuestOffset,
  make: boolean,
  change: EntryChange,
  zeroing: Zeroing | null = null,
): Promise<void> {
  const { mapping } = image;
  const { clusterSize, l2Span } = image.geometry;
  for (let at = start; at < end; ) {
    const index = mapping.indexOf(at);
    const base = (index * l2Span) as GuestOffset;
    const stop = lower(end, plus(base, l2Span));
    const held = await image.locks.acquire(at, roundUp(stop, clusterSize));
    try {
      image.checkUsable();
      if (make || mapping.l1.target(index) !== 0) {
        await changeTable(image, index, at - base, stop - base, change, zeroing);
      }
    } finally {
      image.locks.release(held);
    }
    at = stop;
  }
}

async function changeTable(
  image: Qcow2Image,
  index: number,
  from: number,
  to: number,
  change: EntryChange,
  zeroing: Zeroing | null,
): Promise<void> {
  const { mapping } = image;
  const { clusterSize, l2Span } = image.geometry;
  const table = await mapping.pinForWrite(index);
  try {
    const base = index * l2Span;
    const content = zeroing === null ? undefined : image.data.zeroing(base + from, base + to, zeroing.unmap);
    if (content !== undefined) await content;
    const stop = Math.ceil(to / clusterSize);
    for (let slot = Math.floor(from / clusterSize); slot < stop; slot++) {
      const entry = mapping.codec.decode(table.view, slot);
      const guest = (base + slot * clusterSize) as GuestOffset;
      if (!mapping.isValid(entry.kind, entry.host, guest)) throw await mapping.badEntry(table, slot);
      change(table, slot, entry, guest);
    }
    if (zeroing !== null && zeroing.kept.length > 0) await dropKept(image, zeroing);
  } finally {
    table.pins--;
  }
}
