// Writes. A write is done in place, without a lock, where all of its clusters have the copied flag (are referenced once). Every other one allocates:
//
//   lock the guest range          nobody else changes its entries
//   pin its L2 tables             created where there are none, copied where they are shared
//   decode the entries            into targets, one for each guest cluster
//   allocate                      one run for all clusters that need a new place, if possible
//   write the content             few large requests; for a cluster that is written in part, the rest is copied from its old place (cow.ts)
//   publish                       the entries point to the new places; the old clusters are freed by the next commit (frees.ts)
//   release tables and range
//
// A failure before `publish` leaves the entries unchanged, and the allocated clusters are released.
//
// What is written of a cluster is decided by subclusters (of which a cluster with an ordinary entry has one):
//
//   data in place          the pieces alone, over what is there: others may be writing beside them, without a lock
//   else, if touched       as a whole: the pieces, and what is missing of the old content (`mergePart`), which is nothing where pieces cover it
//   else, if data in the   as a whole, too: the entry will not point to the old cluster any more
//   old, shared cluster
//   else                   nothing: it stays unallocated, or zero

import { assert } from '../../../util/assert.js';
import { roundDown, roundUp } from '../../../util/numbers.js';
import { later, settleAll } from '../../../util/settle.js';
import type { Run } from './allocation.js';
import { mergePart, type Part, type Piece } from './cow.js';
import type { Qcow2Image } from './image.js';
import { Kind, type L2Entry, MISS } from './l2-codec.js';
import { placeToWrite } from './locate.js';
import { guarded } from './read.js';
import { bitsOf, clearFrom, setFrom } from './subclusters.js';
import type { Table } from './table-cache.js';
import { clusterAt, type GuestExtent, type GuestOffset, type HostOffset, hostOf, plus } from './types.js';

/** One guest cluster that a request touches. */
interface Target {
  guest: GuestOffset;
  table: Table;
  slot: number;
  /** The entry before the write. */
  old: L2Entry;
  /** The data is written to the cluster that the entry points to already. */
  owned: boolean;
  /** Where the data is written. */
  host: HostOffset;
  /** The new place is known to read as zeroes. */
  fresh: boolean;
  pieces: Piece[];
  /** Bitmap: the subclusters that the pieces touch. */
  touched: number;
}

/** A part of a cluster, of whole subclusters, that is written as a whole. */
interface Merged extends Part {
  target: Target;
  pieces: Piece[];
}

interface HostWrite {
  host: HostOffset;
  /** What it is the content of. */
  guest: GuestOffset;
  data: Uint8Array;
}

/** Bytes of bounce buffers that one request has under way. */
const BOUNCE_BYTES = 8 << 20;

/** Writes one extent in place, if that needs no allocation and all tables are cached; null otherwise. */
export function writeInPlace(image: Qcow2Image, offset: GuestOffset, buffer: Uint8Array): Promise<void> | null {
  const host = placeToWrite(image, offset, buffer.length);
  return host === MISS ? null : guarded(image, () => image.data.write(host, offset, buffer, 'write_aio'));
}

/** Writes disjoint, ascending extents whose data is contiguous in `buffer`. Rejects with `corrupt-image`, `no-space`, `limit`, `io`. */
export async function writeGuest(
  image: Qcow2Image,
  extents: readonly GuestExtent[],
  buffer: Uint8Array,
): Promise<void> {
  const filled = extents.filter(({ length }) => length > 0);
  if (filled.length === 0) return;
  const { clusterSize } = image.geometry;
  const last = filled[filled.length - 1];
  const held = await image.locks.acquire(
    roundDown(filled[0].offset, clusterSize),
    roundUp(plus(last.offset, last.length), clusterSize),
  );
  const tables: Table[] = [];
  try {
    image.checkUsable();
    await pinTables(image, filled, tables);
    const targets = resolve(image, filled, buffer, tables);
    for (const { table, slot, guest, old } of targets) {
      if (!image.mapping.isValidEntry(old, guest)) throw await image.mapping.badEntry(table, slot);
    }
    await writeTargets(image, targets);
  } finally {
    for (const table of tables) table.pins--;
    image.locks.release(held);
  }
}

/** Pins the L2 tables of ascending extents, each once, and adds them to `tables` in their order. The caller unpins them. */
export async function pinTables(image: Qcow2Image, extents: readonly GuestExtent[], tables: Table[]): Promise<void> {
  const { mapping } = image;
  for (const { offset, length } of extents) {
    const end = mapping.indexOf(plus(offset, length - 1));
    for (let index = mapping.indexOf(offset); index <= end; index++) {
      if (tables.length > 0 && tables[tables.length - 1].index >= index) continue;
      tables.push(await mapping.pinForWrite(index));
    }
  }
}

/** Splits the extents into clusters, and looks up the entry of each. */
function resolve(
  image: Qcow2Image,
  extents: readonly GuestExtent[],
  buffer: Uint8Array,
  tables: readonly Table[],
): Target[] {
  const { mapping } = image;
  const { clusterSize, l2Entries, subclusterSize } = image.geometry;
  const targets: Target[] = [];
  let current: Target | null = null;
  let tableAt = 0;
  let from = 0;
  for (const { offset, length } of extents) {
    for (let at = offset; at < offset + length; ) {
      const within = at % clusterSize;
      const here = Math.min(clusterSize - within, offset + length - at);
      const guest = plus(at, -within);
      if (current === null || current.guest !== guest) {
        const index = mapping.indexOf(guest);
        while (tables[tableAt].index !== index) tableAt++;
        const table = tables[tableAt];
        const slot = (guest / clusterSize) % l2Entries;
        const old = mapping.codec.decode(table.view, slot);
        const owned = old.copied && old.bytes !== 0 && old.kind !== Kind.compressed;
        current = { guest, table, slot, old, owned, host: old.host, fresh: false, pieces: [], touched: 0 };
        targets.push(current);
      }
      current.pieces.push({ within, data: buffer.subarray(from, from + here) });
      const first = Math.floor(within / subclusterSize);
      current.touched = (current.touched | bitsOf(first, Math.ceil((within + here) / subclusterSize) - first)) >>> 0;
      from += here;
      at = plus(at, here);
    }
  }
  return targets;
}

async function writeTargets(image: Qcow2Image, targets: readonly Target[]): Promise<void> {
  const moving = targets.filter(({ owned }) => !owned);
  const runs = await allocateFor(image, moving);
  try {
    await writeData(image, targets);
  } catch (error) {
    for (const run of runs) image.allocation.release(run.cluster, run.count);
    throw error;
  }
  publish(image, targets);
}

/** Allocates a new cluster for each of `targets`, contiguous if possible. On failure, nothing stays allocated. */
async function allocateFor(image: Qcow2Image, targets: readonly Target[]): Promise<Run[]> {
  const { clusterSize } = image.geometry;
  const runs: Run[] = [];
  if (image.data.isExternal) {
    await placeInDataFile(image, targets);
    return runs;
  }
  try {
    for (let done = 0; done < targets.length; ) {
      const run = await image.allocation.allocateRun(targets.length - done);
      runs.push(run);
      const start = hostOf(run.cluster, image.geometry);
      const fresh = await image.data.makeRoom(start, run.count * clusterSize);
      for (let i = 0; i < run.count; i++, done++) {
        targets[done].host = plus(start, i * clusterSize);
        targets[done].fresh = fresh;
      }
    }
  } catch (error) {
    for (const run of runs) image.allocation.release(run.cluster, run.count);
    throw error;
  }
  return runs;
}

/** In an external data file, each cluster has its place. */
async function placeInDataFile(image: Qcow2Image, targets: readonly Target[]): Promise<void> {
  const { clusterSize } = image.geometry;
  for (const target of targets) {
    target.host = target.guest as number as HostOffset;
    target.fresh = await image.data.makeRoom(target.host, Math.min(clusterSize, image.length() - target.guest));
  }
}

/** Writes the data of all targets. Of a subcluster that is written in part, and whose place has no data, the rest of its content is written with it. */
async function writeData(image: Qcow2Image, targets: readonly Target[]): Promise<void> {
  const direct: HostWrite[] = [];
  const merged: Merged[] = [];
  for (const target of targets) {
    if (target.owned) await prepareOwned(image, target);
    planTarget(image, target, direct, merged);
  }
  const parts = direct.map(({ host, guest, data }) => later(image.data.write(host, guest, data, 'write_aio')));
  let failure: { error: unknown } | null = null;
  try {
    const atOnce = Math.max(1, Math.floor(BOUNCE_BYTES / image.geometry.clusterSize));
    for (let i = 0; i < merged.length; i += atOnce) {
      await settleAll(
        merged.slice(i, i + atOnce).map((part) => writeMerged(image, part)),
        null,
      );
    }
  } catch (error) {
    failure = { error };
  }
  await settleAll(parts, failure);
}

/**
 * The place of a target may end behind the end of the file, which another program cut within the cluster's last subclusters in use. Where the refcounts do not
 * know the cluster, the entry is damaged, and may point anywhere: the file does not grow to there.
 */
async function prepareOwned(image: Qcow2Image, { host }: Target): Promise<void> {
  const { clusterSize } = image.geometry;
  await image.checkDataWrite(host, clusterSize);
  if (image.data.isExternal || host + clusterSize <= image.data.length) return;
  const isCounted = (await image.refcounts.get(clusterAt(host, image.geometry))) > 0;
  if (!isCounted) {
    throw await image.corrupt(
      `Data cluster at ${host} lies beyond the end of the file and is not allocated`,
      host,
      clusterSize,
    );
  }
  await image.data.makeRoom(host, clusterSize);
}

/** Adds what is to be written of a target to the lists: pieces that go to the file as they are, and parts that need more of the old content than that. */
function planTarget(image: Qcow2Image, target: Target, direct: HostWrite[], merged: Merged[]): void {
  const { subclusters, subclusterSize } = image.geometry;
  const { old, owned, touched } = target;
  const placed = owned ? old.data : 0;
  const needed = touched | (owned ? 0 : old.data);
  for (let number = 0; number < subclusters; ) {
    const fills = needed & ~placed;
    const filled = setFrom(fills, number);
    const first = number;
    number += filled > 0 ? filled : clearFrom(fills, number, subclusters);
    const part = { from: first * subclusterSize, to: number * subclusterSize };
    const pieces = piecesIn(target.pieces, part);
    if (filled === 0 || covers(pieces, part) || (target.fresh && readsAsZero(image, target, first, filled))) {
      addPieces(direct, target, pieces);
    } else {
      merged.push({ ...part, target, pieces });
    }
  }
}

async function writeMerged(image: Qcow2Image, part: Merged): Promise<void> {
  const { target, from, pieces } = part;
  const content = await mergePart(image, target.guest, part, pieces);
  try {
    const stop = image.data.raise('cow_write');
    if (stop !== undefined) await stop;
    const guest = plus(target.guest, from);
    // What lies behind the end of the disk is no part of an external data file.
    const inside = image.data.isExternal ? Math.min(content.length, image.length() - guest) : content.length;
    await image.data.write(plus(target.host, from), guest, content.subarray(0, inside), 'write_aio');
  } finally {
    image.memory.free(content);
  }
}

/** What `pieces` have of a part of the cluster. */
function piecesIn(pieces: readonly Piece[], { from, to }: Part): Piece[] {
  const found: Piece[] = [];
  for (const piece of pieces) {
    const { within, data } = piece;
    const start = Math.max(within, from);
    const end = Math.min(within + data.length, to);
    if (start >= end) continue;
    const whole = end - start === data.length;
    found.push(whole ? piece : { within: start, data: data.subarray(start - within, end - within) });
  }
  return found;
}

/** True where `pieces` leave nothing out of the part. */
function covers(pieces: readonly Piece[], { from, to }: Part): boolean {
  let at = from;
  for (const { within, data } of pieces) {
    if (within > at) return false;
    at = within + data.length;
  }
  return at >= to;
}

/** Adds pieces of a target to the list of writes. One that follows the last write in the file, on the disk and in memory is joined to it. */
function addPieces(writes: HostWrite[], target: Target, pieces: readonly Piece[]): void {
  for (const { within, data } of pieces) {
    const host = plus(target.host, within);
    const guest = plus(target.guest, within);
    const last = writes[writes.length - 1];
    if (
      last !== undefined &&
      last.host + last.data.length === host &&
      last.guest + last.data.length === guest &&
      last.data.buffer === data.buffer &&
      last.data.byteOffset + last.data.length === data.byteOffset
    ) {
      last.data = new Uint8Array(data.buffer, last.data.byteOffset, last.data.length + data.length);
    } else {
      writes.push({ host, guest, data });
    }
  }
}

/** True where the old content of `count` subclusters from `first` on is all zeroes. */
function readsAsZero(image: Qcow2Image, { old, guest }: Target, first: number, count: number): boolean {
  const wanted = bitsOf(first, count);
  if ((wanted & old.data) !== 0) return false;
  if ((wanted & ~old.zeroes) === 0) return true;
  const backing = image.backing();
  const below = backing === null ? 0 : Math.max(0, backing.length - guest);
  // Those that the backing node reaches into.
  const shown = bitsOf(0, Math.min(image.geometry.subclusters, Math.ceil(below / image.geometry.subclusterSize)));
  return (wanted & shown & ~old.zeroes) === 0;
}

/** Points the entries to the new places of the data, and frees the old ones. */
function publish(image: Qcow2Image, targets: readonly Target[]): void {
  const { codec } = image.mapping;
  for (const { table, slot, old } of targets) {
    assert(codec.host(table.view, slot) === old.host, 'an L2 entry stays as it is while its range is locked');
  }
  for (const target of targets) {
    const { table, slot, old, owned, host, touched } = target;
    if (owned && (touched & ~old.data) === 0) continue;
    const data = (old.data | touched) >>> 0;
    image.mapping.setSubclusters(table, slot, { host, copied: true, data, zeroes: (old.zeroes & ~touched) >>> 0 });
    if (!owned) freeOld(image, old, image.discards.other);
  }
}

/** Frees the clusters that `entry` pointed to, if any, by the next commit. Compressed data may share its clusters with others. */
export function freeOld(image: Qcow2Image, { host, bytes }: L2Entry, punch: boolean): void {
  if (host === 0 || image.data.isExternal) return;
  const first = clusterAt(host, image.geometry);
  image.frees.add(first, clusterAt(plus(host, bytes - 1), image.geometry) - first + 1, punch);
}
