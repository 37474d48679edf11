// Walks over the L2 tables of an L1 table, the active one or that of a snapshot, and counts what they refer to. All tables are read in bulk from the file, which
// must be up to date. What contradicts itself is refused: nothing was changed then.

import { viewOf } from '../../../util/bytes.js';
import type { BlockError } from '../../../util/errors.js';
import type { Qcow2Image } from './image.js';
import { Kind } from './l2-codec.js';
import { POINTER_BYTES, pointerCopied, pointerTarget } from './pointer-codec.js';
import type { RefcountDeltas } from './refcount-deltas.js';
import type { Snapshot } from './snapshot-table.js';
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
  /** The flag of the L1 entry. */
  copied: boolean;
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
    image.error('corrupt-image', `Snapshot L1 table ${what} (snapshot '${name}', ID ${id})`, 'snapshot', l1Offset);
  if (bytes > MAX_L1_BYTES) throw wrong('too large');
  if (l1Offset % image.geometry.clusterSize !== 0 || (bytes > 0 && l1Offset >= image.file.length)) {
    throw wrong('offset invalid');
  }
  const table = new Uint8Array(bytes);
  await image.file.read(l1Offset, table);
  return new DataView(table.buffer);
}

/** Visits the L2 tables that `l1` points to, in its order; with `only`, those of these indexes. Rejects with `corrupt-image`, `limit`, `io`. */
export async function walkTables(
  image: Qcow2Image,
  l1: DataView,
  visit: TableVisitor,
  only?: readonly number[],
): Promise<void> {
  const { file, geometry } = image;
  const { clusterSize } = geometry;
  const perRound = Math.max(1, Math.floor(READ_AHEAD_BYTES / clusterSize));
  const indexes = only ?? pointersIn(image, l1);
  const buffers: Uint8Array[] = [];
  for (let from = 0; from < indexes.length; from += perRound) {
    const round = indexes.slice(from, from + perRound);
    await Promise.all(
      round.map((index, slot) => {
        buffers[slot] ??= new Uint8Array(clusterSize);
        return file.read(pointerTarget(l1, index), buffers[slot]);
      }),
    );
    for (const [slot, index] of round.entries()) {
      const bytes = buffers[slot];
      visit({ index, offset: pointerTarget(l1, index), copied: pointerCopied(l1, index), bytes, view: viewOf(bytes) });
    }
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

/** A run of host clusters that an L2 entry refers to. */
type EntryVisitor = (slot: number, first: ClusterIndex, count: number, compressed: boolean) => void;

/** Visits the entries of a table that refer to clusters. Throws `corrupt-image` for an invalid one. */
export function visitEntries(image: Qcow2Image, { index, view }: WalkedTable, visit: EntryVisitor): void {
  const { mapping, geometry } = image;
  const { codec } = mapping;
  const { l2Entries } = geometry;
  const end = roundedLength(image);
  for (let slot = 0; slot < l2Entries; slot++) {
    slot += codec.emptyRun(view, slot, l2Entries - slot);
    if (slot === l2Entries) break;
    const { kind, host, bytes } = codec.decode(view, slot);
    if (kind === Kind.bad || host + bytes > end) throw badEntry(image, index, slot, host);
    if (host === 0) continue;
    const first = clusterAt(host, geometry);
    visit(slot, first, clusterAt(plus(host, bytes - 1), geometry) - first + 1, kind === Kind.compressed);
  }
}

/** The file's length in whole clusters: the last cluster may be partly beyond its end. */
function roundedLength({ file, geometry }: Qcow2Image): number {
  return Math.ceil(file.length / geometry.clusterSize) * geometry.clusterSize;
}

/**
 * Counts `change` for each reference of `l1` and its L2 tables; `alsoTable` decides which of the L2 tables themselves it is counted for. Rejects as
 * `walkTables`.
 */
export async function countReferences(
  image: Qcow2Image,
  l1: DataView,
  deltas: RefcountDeltas,
  change: number,
  alsoTable: (table: WalkedTable) => boolean = () => true,
): Promise<void> {
  await walkTables(image, l1, (table) => {
    if (alsoTable(table)) deltas.add(clusterAt(table.offset, image.geometry), 1, change);
    countEntries(image, table, deltas, change);
  });
}

/** Counts the references of one table, contiguous clusters at once. */
function countEntries(image: Qcow2Image, table: WalkedTable, deltas: RefcountDeltas, change: number): void {
  const { geometry, mapping } = image;
  const { clusterSize, l2Entries } = geometry;
  const { codec } = mapping;
  if (codec.subclusters > 1) {
    // Few neighbours are alike in all of their subclusters.
    visitEntries(image, table, (_slot, first, count) => deltas.add(first, count, change));
    return;
  }
  const end = roundedLength(image);
  for (let slot = 0; slot < l2Entries; ) {
    const kind = codec.kind(table.view, slot);
    const run = codec.run(table.view, slot, l2Entries - slot);
    if (kind === Kind.normal || kind === Kind.zeroAllocated) {
      const host = codec.host(table.view, slot);
      if (host + run * clusterSize > end) throw badEntry(image, table.index, slot, host);
      deltas.add(clusterAt(host, geometry), run, change);
    } else if (kind === Kind.compressed || kind === Kind.bad) {
      const { host, bytes } = codec.decode(table.view, slot);
      if (kind === Kind.bad || host + bytes > end) throw badEntry(image, table.index, slot, host);
      const first = clusterAt(host, geometry);
      deltas.add(first, clusterAt(plus(host, bytes - 1), geometry) - first + 1, change);
    }
    slot += run;
  }
}

function badEntry(image: Qcow2Image, index: number, slot: number, host: HostOffset): BlockError {
  const { l2Span, clusterSize } = image.geometry;
  const guest = index * l2Span + slot * clusterSize;
  return image.error('corrupt-image', `L2 entry of guest offset ${guest} invalid`, 'snapshot', host);
}
