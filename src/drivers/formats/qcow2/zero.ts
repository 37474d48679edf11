// Requests to write zeroes, and discards: for whole subclusters (of which a cluster with an ordinary entry has one), the L2 entry is changed; in parts of
// subclusters, zeroes are written as data.
//
//   entry           write zeroes (v3)        ... may unmap      discard (v3)             discard (v2)
//   unallocated     zero                     zero               zero if a backing node   -
//   normal          zero, cluster kept       zero, freed        zero, freed              freed, if no backing node
//   compressed      zero, freed              zero, freed        zero, freed              freed, if no backing node
//
// "Freed" is a cluster whose last data goes. Of one that keeps other data, only the place of the subclusters is given back to the file system: at once, since a
// place belongs to its guest offset, whatever happens. A compressed cluster is changed as a whole, or not.
//
// With `discard-no-unref`, a cluster that is the image's alone is kept in all of these cases.
//
// Encrypted content is given back once the entry is on disk: until then it would decrypt to anything but zeroes after power loss. That takes a commit, so parts
// of a cluster are not given back there.
//
// Version 2 has no zero flag: a cluster of zeroes is unallocated where the image has no backing file, and data otherwise.

import type { ZeroFlags } from '../../../block/types.js';
import { roundDown, roundUp } from '../../../util/numbers.js';
import type { Qcow2Image } from './image.js';
import { Kind, type L2Entry } from './l2-codec.js';
import { bitsOf, clearFrom, setFrom } from './subclusters.js';
import type { Table } from './table-cache.js';
import { type GuestOffset, type HostOffset, NO_HOST, plus } from './types.js';
import { freeOld, writeGuest } from './write.js';

const ZERO_BYTES = 1 << 20;

/**
 * Changes the entry in `slot`, whose present value is `entry`, of the guest cluster at `guest`. `wanted`: bitmap of its subclusters that the range touches, or
 * that lie behind the end of a disk that ends with the range.
 */
type EntryChange = (table: Table, slot: number, entry: L2Entry, guest: GuestOffset, wanted: number) => void;

/** Makes a range read as zeroes. Rejects with `unsupported` where zeroes would have to be written as data and `noFallback` forbids that. */
export async function zeroGuest(
  image: Qcow2Image,
  offset: GuestOffset,
  length: number,
  flags: ZeroFlags,
): Promise<void> {
  const { subclusterSize } = image.geometry;
  const end = plus(offset, length);
  const bodyStart = roundUp(offset, subclusterSize);
  const bodyEnd = end === image.length() ? end : roundDown(end, subclusterSize);
  if (bodyStart > offset) await zeroPart(image, offset, lower(end, bodyStart), flags);
  if (bodyEnd > bodyStart) await zeroWhole(image, bodyStart, bodyEnd, flags);
  const tail = bodyEnd > bodyStart ? bodyEnd : bodyStart;
  if (end > tail) await zeroPart(image, tail, end, flags);
}

/** Zeroes whole subclusters; `end` may be the end of the disk, inside of one. */
async function zeroWhole(image: Qcow2Image, start: GuestOffset, end: GuestOffset, flags: ZeroFlags): Promise<void> {
  const asData = await (image.geometry.version === 3
    ? markZeroes(image, start, end, flags.mayUnmap === true)
    : unmapZeroes(image, start, end, flags.mayUnmap === true));
  for (const { from, to } of asData) await zeroAsData(image, from, to, flags);
}

/** Sets zero flags; returns the parts of compressed clusters, which have none, and have to be written. */
async function markZeroes(
  image: Qcow2Image,
  start: GuestOffset,
  end: GuestOffset,
  mayUnmap: boolean,
): Promise<GuestRange[]> {
  const { mapping } = image;
  const { all } = mapping.codec;
  const asData: GuestRange[] = [];
  const zeroing = new Zeroing(image, mayUnmap);
  await changeEntries(
    image,
    start,
    end,
    true,
    (table, slot, entry, guest, wanted) => {
      const { kind, host, copied, data, zeroes } = entry;
      const compressed = kind === Kind.compressed;
      if (compressed && wanted !== all) {
        addRange(asData, rangeOf(image, guest, wanted, end));
        return;
      }
      const last = losesLast(entry, wanted, all);
      const kept = last && zeroing.keeps(entry);
      const frees = last && !kept && (mayUnmap || !copied || compressed);
      if (kept) zeroing.drop(host, wanted);
      if ((wanted & ~zeroes) === 0 && (!frees || !mayUnmap)) return;
      if (frees) freeOld(image, entry, punchFor(image, mayUnmap));
      else if (copied && !kept) zeroing.dropPart(host, data & wanted);
      mapping.setSubclusters(table, slot, zeroed(entry, wanted, frees));
    },
    zeroing,
  );
  return asData;
}

/** Version 2: unmaps what may be unmapped; returns the ranges that have to be written. */
async function unmapZeroes(
  image: Qcow2Image,
  start: GuestOffset,
  end: GuestOffset,
  mayUnmap: boolean,
): Promise<GuestRange[]> {
  const asData: GuestRange[] = [];
  await changeEntries(image, start, end, image.hasBacking, (table, slot, entry, guest, wanted) => {
    if (!image.hasBacking) {
      const { kind } = entry;
      if (kind === Kind.unallocated) return;
      if (mayUnmap || kind === Kind.compressed) {
        unmap(image, table, slot, entry, punchFor(image, mayUnmap));
        return;
      }
    }
    addRange(asData, rangeOf(image, guest, wanted, end));
  });
  return asData;
}

/** Guest bytes [from, to). */
interface GuestRange {
  from: GuestOffset;
  to: GuestOffset;
}

function addRange(ranges: GuestRange[], range: GuestRange): void {
  const last = ranges[ranges.length - 1];
  if (last !== undefined && last.to === range.from) last.to = range.to;
  else ranges.push(range);
}

/** The guest bytes of the neighbouring subclusters `wanted` of the cluster at `guest`, to `end` at most. */
function rangeOf({ geometry }: Qcow2Image, guest: GuestOffset, wanted: number, end: GuestOffset): GuestRange {
  const first = clearFrom(wanted, 0, geometry.subclusters);
  const from = plus(guest, first * geometry.subclusterSize);
  return { from, to: lower(plus(from, setFrom(wanted, first) * geometry.subclusterSize), end) };
}

/** True where a host cluster holds no data any more once the subclusters `wanted` are none: its last data goes, or all of it was asked for. */
function losesLast({ bytes, data }: L2Entry, wanted: number, all: number): boolean {
  return bytes !== 0 && (data & ~wanted) === 0 && (wanted === all || (data & wanted) !== 0);
}

/** Entries are made to read as zeroes: what becomes of content whose cluster stays allocated, since it keeps other data, or by `discard-no-unref`. */
class Zeroing {
  readonly #image: Qcow2Image;
  /** The space of the content may be given back. */
  readonly unmap: boolean;
  readonly #parts: { host: HostOffset; length: number }[] = [];

  constructor(image: Qcow2Image, unmap: boolean) {
    this.#image = image;
    this.unmap = unmap;
  }

  /** `entry`, whose last data goes, keeps its host cluster: where clusters are to stay allocated, and this one is the image's alone. */
  keeps({ kind, copied }: L2Entry): boolean {
    return this.unmap && this.#image.discards.keep && copied && kind !== Kind.compressed;
  }

  /** The content of the subclusters `bits` of the cluster at `host`, which nothing else refers to, is not needed any more. */
  drop(host: HostOffset, bits: number): void {
    // An external data file has been told.
    if (!this.unmap || !this.#image.discards.request || this.#image.data.isExternal) return;
    const { subclusters, subclusterSize } = this.#image.geometry;
    for (let at = clearFrom(bits, 0, subclusters); at < subclusters; at += clearFrom(bits, at, subclusters)) {
      const count = setFrom(bits, at);
      this.#add(plus(host, at * subclusterSize), count * subclusterSize);
      at += count;
    }
  }

  /** As `drop`, of a cluster that keeps other data. */
  dropPart(host: HostOffset, bits: number): void {
    if (!this.#image.data.isEncrypted) this.drop(host, bits);
  }

  #add(host: HostOffset, length: number): void {
    const last = this.#parts[this.#parts.length - 1];
    if (last !== undefined && last.host + last.length === host) last.length += length;
    else this.#parts.push({ host, length });
  }

  /**
   * Discards what was dropped. Within the range's lock: nobody writes there again meanwhile. The content is that of zeroes, or of a discard: after power loss,
   * an entry on the disk may still point to it, unless it is encrypted. A hint: a failure is ignored.
   */
  async discard(): Promise<void> {
    const { data, file } = this.#image;
    if (data.isEncrypted && this.#parts.length > 0) await this.#image.commit();
    for (const { host, length } of this.#parts.splice(0)) {
      const inside = Math.min(length, file.length - host);
      if (inside > 0) await file.discard(host, inside);
    }
  }
}

/** Zeroes a range inside one subcluster. Nothing needs to be written where all of that reads as zeroes already. */
async function zeroPart(image: Qcow2Image, from: GuestOffset, to: GuestOffset, flags: ZeroFlags): Promise<void> {
  const start = roundDown(from, image.geometry.subclusterSize);
  let done = false;
  await changeEntries(image, start, to, false, (_table, _slot, { data, zeroes }, _guest, wanted) => {
    const first = wanted & -wanted;
    done = (zeroes & first) !== 0 || ((data & first) === 0 && !image.hasBacking);
  });
  if (image.mapping.l1.target(image.mapping.indexOf(start)) === 0) done = !image.hasBacking;
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

/** Unmaps the whole subclusters of a range. Parts of subclusters at its ends stay unchanged, and so do parts of compressed clusters. */
export async function discardGuest(image: Qcow2Image, offset: GuestOffset, length: number): Promise<void> {
  const { mapping } = image;
  const { all } = mapping.codec;
  const { subclusterSize, version } = image.geometry;
  const start = roundUp(offset, subclusterSize);
  const last = plus(offset, length);
  const end = last === image.length() ? last : roundDown(last, subclusterSize);
  if (end <= start) return;
  const below = image.hasBacking;
  const { request } = image.discards;
  const zeroing = new Zeroing(image, true);
  await changeEntries(
    image,
    start,
    end,
    version === 3 && below,
    (table, slot, entry, _guest, wanted) => {
      const { kind, host, copied, data, zeroes } = entry;
      if (version === 2) {
        if (!below && kind !== Kind.unallocated) unmap(image, table, slot, entry, request);
        return;
      }
      if (kind === Kind.compressed && wanted !== all) return;
      const last = losesLast(entry, wanted, all);
      const kept = last && zeroing.keeps(entry);
      const frees = last && !kept;
      if (kept) zeroing.drop(host, wanted);
      const changed = below ? wanted & ~zeroes : wanted & data;
      if (changed === 0 && !frees) return;
      if (frees) freeOld(image, entry, request);
      else if (copied && !kept) zeroing.dropPart(host, data & wanted);
      mapping.setSubclusters(table, slot, zeroed(entry, wanted, frees));
    },
    zeroing,
  );
}

/** The entry with the subclusters `wanted` zero; `frees`: and without its cluster. */
function zeroed(
  { host, copied, data, zeroes }: L2Entry,
  wanted: number,
  frees: boolean,
): Pick<L2Entry, 'host' | 'copied' | 'data' | 'zeroes'> {
  return {
    host: frees ? NO_HOST : host,
    copied: copied && !frees,
    data: (data & ~wanted) >>> 0,
    zeroes: (zeroes | wanted) >>> 0,
  };
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
 * Calls `change` for each entry of [start, end), which begins and ends with a subcluster, or with the disk, table by table, with the table's part of the range locked. With
 * `make`, missing L2 tables are created; otherwise their ranges are skipped. `zeroing`: the entries are made to read as zeroes.
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
  const { clusterSize, extendedL2, l2Span } = image.geometry;
  for (let at = start; at < end; ) {
    const index = mapping.indexOf(at);
    const base = (index * l2Span) as GuestOffset;
    const stop = lower(end, plus(base, l2Span));
    const held = await image.locks.acquire(roundDown(at, clusterSize), roundUp(stop, clusterSize));
    try {
      image.checkUsable();
      if (make || mapping.l1.target(index) !== 0) {
        // Behind the end of the disk, there is nothing to be kept.
        const to = extendedL2 && stop === image.length() ? roundUp(stop, clusterSize) : stop;
        await changeTable(image, index, at - base, to - base, change, zeroing);
      }
    } finally {
      image.locks.release(held);
    }
    at = stop;
  }
}

/** Bytes [from, to) of L2 table `index`'s range. */
async function changeTable(
  image: Qcow2Image,
  index: number,
  from: number,
  to: number,
  change: EntryChange,
  zeroing: Zeroing | null,
): Promise<void> {
  const { mapping } = image;
  const { clusterSize, l2Span, subclusterSize } = image.geometry;
  const table = await mapping.pinForWrite(index);
  try {
    const base = index * l2Span;
    const content = zeroing === null ? undefined : image.data.zeroing(base + from, base + to, zeroing.unmap);
    if (content !== undefined) await content;
    const stop = Math.ceil(to / clusterSize);
    for (let slot = Math.floor(from / clusterSize); slot < stop; slot++) {
      const entry = mapping.codec.decode(table.view, slot);
      const cluster = slot * clusterSize;
      const guest = (base + cluster) as GuestOffset;
      if (!mapping.isValidEntry(entry, guest)) throw await mapping.badEntry(table, slot);
      const first = Math.floor(Math.max(0, from - cluster) / subclusterSize);
      const wanted = bitsOf(first, Math.ceil(Math.min(clusterSize, to - cluster) / subclusterSize) - first);
      change(table, slot, entry, guest, wanted);
    }
    await zeroing?.discard();
  } finally {
    table.pins--;
  }
}
