// Walks over the L2 tables of an L1 table, the active one or that of a snapshot, and counts what they refer to. All tables are read in bulk from the file, which
// must be up to date. What contradicts itself is refused: nothing was changed then.

import { viewOf } from '../../../util/bytes.js';
import type { BlockError } from '../../../util/errors.js';
import { settleAll } from '../../../util/settle.js';
import type { Qcow2Image } from './image.js';
import { Kind } from './l2-codec.js';
import { hostRun } from './l2-runs.js';
import { POINTER_BYTES, pointerTarget } from './pointer-codec.js';
import type { RefcountDeltas } from './refcount-deltas.js';
import { nameOf, type Snapshot } from './snapshot-table.js';
import { type ClusterIndex, clusterAt, type HostOffset, MAX_L1_BYTES, plus } from './types.js';

/** Bytes of L2 tables that are read side by side. */
const READ_AHEAD_BYTES = 4 << 20;
/** Pointers of one L1 table to L2 tables that another pointer leads to already; more could make a walk extremely long. */
const MAX_SHARED_TABLES = 4096;

/** An L2 table, as it is on disk. */
export interface WalkedTable {
  /** In the L1 table. */
  index: number;
  offset: HostOffset;
  /** Valid until the visitor has returned. */
  bytes: Uint8Array;
  view: DataView;
}

type TableVisitor = (table: WalkedTable) => void;

/** The L1 table of a snapshot. Rejects with `corrupt-image`, `io`. */
export async function readSnapshotL1(image: Qcow2Image, snapshot: Snapshot): Promise<DataView<ArrayBuffer>> {
  const { l1Offset, l1Size, id, name } = snapshot;
  const bytes = l1Size * POINTER_BYTES;
  const wrong = (what: string): BlockError =>
    image.error('corrupt-image', `Snapshot L1 table ${what} (${nameOf({ id, name })})`, 'snapshot', l1Offset);
  if (bytes > MAX_L1_BYTES) throw wrong('too large');
  if (l1Offset % image.geometry.clusterSize !== 0 || (bytes > 0 && l1Offset >= image.file.length)) {
    throw wrong('offset invalid');
  }
  const table = new Uint8Array(bytes);
  await image.file.read(l1Offset, table);
  return new DataView(table.buffer);
}

/** Visits the L2 tables that `l1` points to, in its order. Rejects with `corrupt-image`, `limit`, `io`. */
export async function walkTables(image: Qcow2Image, l1: DataView, visit: TableVisitor): Promise<void> {
  await eachRound(image, l1, pointersIn(image, l1), visit, async () => {});
}

/**
 * Writes the L2 tables `indexes` of `l1` again, as `change` has made them: the n-th one to `places[n]`. Not flushed. Rejects with `corrupt-image`, `no-space`, `io`;
 * some tables may have been written then.
 */
export async function rewriteTables(
  image: Qcow2Image,
  l1: DataView,
  indexes: readonly number[],
  places: readonly HostOffset[],
  change: TableVisitor,
): Promise<void> {
  const { clusterSize } = image.geometry;
  await eachRound(image, l1, indexes, change, async (bytes, from) => {
    const writes: Promise<void>[] = [];
    const count = bytes.length / clusterSize;
    for (let slot = 0, end = 0; slot < count; slot = end) {
      // Neighbours become one write.
      const place = places[from + slot];
      for (end = slot + 1; end < count && places[from + end] === place + (end - slot) * clusterSize; ) end++;
      writes.push(image.file.write(place, bytes.subarray(slot * clusterSize, end * clusterSize)));
    }
    await settleAll(writes, null);
  });
}

/** Reads the L2 tables `indexes` of `l1` in rounds, back to back, and visits each; then `after` gets those of the round, of which the first is `indexes[from]`. */
async function eachRound(
  { file, geometry, memory }: Qcow2Image,
  l1: DataView,
  indexes: readonly number[],
  visit: TableVisitor,
  after: (tables: Uint8Array, from: number) => Promise<void>,
): Promise<void> {
  if (indexes.length === 0) return;
  const { clusterSize } = geometry;
  const perRound = Math.min(indexes.length, Math.max(1, Math.floor(READ_AHEAD_BYTES / clusterSize)));
  const buffer = memory.allocate(perRound * clusterSize);
  const tables = Array.from({ length: perRound }, (_, slot) => {
    const bytes = buffer.subarray(slot * clusterSize, (slot + 1) * clusterSize);
    return { bytes, view: viewOf(bytes) };
  });
  try {
    for (let from = 0; from < indexes.length; from += perRound) {
      const round = indexes.slice(from, from + perRound);
      await settleAll(
        round.map((index, slot) => file.read(pointerTarget(l1, index), tables[slot].bytes)),
        null,
      );
      for (const [slot, index] of round.entries()) visit({ index, offset: pointerTarget(l1, index), ...tables[slot] });
      await after(buffer.subarray(0, round.length * clusterSize), from);
    }
  } finally {
    memory.free(buffer);
  }
}

/** Indexes of the entries that point to an L2 table. Throws `corrupt-image`, `limit`. */
function pointersIn(image: Qcow2Image, l1: DataView): number[] {
  const { clusterSize } = image.geometry;
  const seen = new Set<number>();
  const indexes: number[] = [];
  for (let index = 0; index < l1.byteLength / POINTER_BYTES; index++) {
    const offset = pointerTarget(l1, index);
    if (offset === 0) continue;
    if (offset % clusterSize !== 0 || offset >= image.file.length) {
      throw image.error('corrupt-image', `L2 table offset ${offset} invalid (L1 index: ${index})`, 'snapshot', offset);
    }
    seen.add(offset);
    indexes.push(index);
    if (indexes.length - seen.size > MAX_SHARED_TABLES) {
      throw image.error('limit', `L2 tables overlap at more than ${MAX_SHARED_TABLES} places`, 'snapshot', offset);
    }
  }
  return indexes;
}

/** Entries [slot, slot + count) that refer to `clusters` host clusters from `first` on: one for each entry, or those of one compressed entry. */
interface EntryRun {
  slot: number;
  count: number;
  first: ClusterIndex;
  clusters: number;
  /** Null for compressed data, which has no such flag. */
  copied: boolean | null;
}

/** `run` is valid until the visitor has returned. */
type RunVisitor = (run: Readonly<EntryRun>) => void;

/** Visits the entries of a table that refer to clusters. Throws `corrupt-image` for an invalid one. */
export function visitRuns(image: Qcow2Image, { index, view }: WalkedTable, visit: RunVisitor): void {
  const { mapping, geometry } = image;
  const { codec } = mapping;
  const { l2Entries, clusterBits, clusterSize } = geometry;
  const end = roundedLength(image);
  const run: EntryRun = { slot: 0, count: 0, first: 0 as ClusterIndex, clusters: 0, copied: null };
  for (let slot = 0; slot < l2Entries; slot += run.count) {
    const kind = codec.kind(view, slot);
    run.slot = slot;
    run.count = 1;
    if (kind === Kind.unallocated) {
      run.count = Math.max(1, codec.emptyRun(view, slot, l2Entries - slot));
      continue;
    }
    const host = codec.host(view, slot);
    let bytes = clusterSize;
    if (kind === Kind.compressed) {
      ({ bytes } = codec.decode(view, slot));
      run.copied = null;
    } else {
      if (kind !== Kind.bad && host === 0) continue;
      run.count = hostRun(image.math, codec, view, slot, l2Entries - slot, clusterBits);
      bytes = run.count * clusterSize;
      run.copied = codec.copied(view, slot);
    }
    if (kind === Kind.bad || host + bytes > end) throw badEntry(image, index, slot, host);
    run.first = clusterAt(host, geometry);
    run.clusters = clusterAt(plus(host, bytes - 1), geometry) - run.first + 1;
    visit(run);
  }
}

/** Sets the copied flags of a table to what they will be; true where one was not like that. Throws `corrupt-image`. */
export function settleFlags(image: Qcow2Image, table: WalkedTable, deltas: RefcountDeltas): boolean {
  const { entryBytes } = image.mapping.codec;
  let differs = false;
  visitRuns(image, table, ({ slot, count, first, copied }) => {
    if (copied !== null && deltas.setFlags(table.view, entryBytes, slot, first, count)) differs = true;
  });
  return differs;
}

/** The file's length in whole clusters: the last cluster may be partly beyond its end. */
function roundedLength({ file, geometry }: Qcow2Image): number {
  return Math.ceil(file.length / geometry.clusterSize) * geometry.clusterSize;
}

/**
 * Counts `change` for each reference of `l1` and its L2 tables; `alsoTable` decides which of the L2 tables themselves it is counted for, and gets to know which
 * have an entry with the copied flag. Rejects as `walkTables`.
 */
export async function countReferences(
  image: Qcow2Image,
  l1: DataView,
  deltas: RefcountDeltas,
  change: number,
  alsoTable: (index: number, flagged: boolean) => boolean = () => true,
): Promise<void> {
  await walkTables(image, l1, (table) => {
    let flagged = false;
    visitRuns(image, table, ({ first, clusters, copied }) => {
      deltas.add(first, clusters, change);
      flagged ||= copied === true;
    });
    if (alsoTable(table.index, flagged)) deltas.add(clusterAt(table.offset, image.geometry), 1, change);
  });
}

function badEntry(image: Qcow2Image, index: number, slot: number, host: HostOffset): BlockError {
  const { l2Span, clusterSize } = image.geometry;
  const guest = index * l2Span + slot * clusterSize;
  return image.error('corrupt-image', `L2 entry of guest offset ${guest} invalid`, 'snapshot', host);
}
