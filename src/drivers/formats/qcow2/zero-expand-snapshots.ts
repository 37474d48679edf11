// Replaces the zero clusters of internal snapshots, which version 2 does not have: by unallocated ones where the image has no backing file, by data otherwise.
// What an entry reads as stays, so the L2 tables are changed where they lie, each once, for all that share it:
//
//   L1 of the disk        --.
//   L1 of snapshot 1, 2   --+--> L2 table, 3 references --> | zero | data | zero |      a cluster of zeroes for each, with 3 references
//
//   1  clusters of zeroes are allocated and written; a commit makes that and their refcounts durable    power loss: leaks
//   2  the tables are written in place, flush                                                           power loss: each entry is as before, or as after
//   3  the clusters that the entries had kept allocated lose these references, by one switch, as the disk's copied flags may change by that (snapshot-switch.ts)
//
// Tables of the disk alone are not touched here (zero-expand.ts).

import type { AmendProgress } from '../../../block/abilities.js';
import type { Run } from './allocation.js';
import type { Qcow2Image } from './image.js';
import { Kind } from './l2-codec.js';
import type { OverlapKind } from './options.js';
import { MetadataIndex } from './overlap.js';
import { POINTER_BYTES, pointerTarget, putPointer } from './pointer-codec.js';
import { RefcountDeltas } from './refcount-deltas.js';
import { settleDeltas } from './snapshot-switch.js';
import { readSnapshotL1, rewriteTables, type WalkedTable, walkTables } from './snapshot-walk.js';
import { dropReferences } from './snapshots.js';
import { clusterAt, type GuestOffset, type HostOffset, hostOf, plus } from './types.js';

/** Bytes of tables that are changed between two commits. */
const BATCH_BYTES = 4 << 20;
/** Of version 2. */
const MAX_REFCOUNT = 0xffff;
/** Metadata that no L2 table may lie over, which is written in place. */
const OTHERS: ReadonlySet<OverlapKind> = new Set([
  'main-header',
  'active-l1',
  'inactive-l1',
  'refcount-table',
  'refcount-block',
  'snapshot-table',
]);

/** An L2 table of a snapshot. */
interface SharedTable {
  offset: HostOffset;
  /** In the L1 tables. */
  index: number;
  /** L1 entries that point to it, those of the disk and of all snapshots. */
  references: number;
}

/** Neighbouring entries of zeroes in a table. */
interface ZeroRun {
  table: SharedTable;
  slot: number;
  count: number;
}

/**
 * Throws where `expandSnapshotZeroes` could not do its work: `corrupt-image` for tables or refcounts that contradict each other, `limit` where a refcount cannot hold
 * the references, `io`. Nothing is changed.
 */
export async function checkSnapshotZeroes(image: Qcow2Image): Promise<void> {
  const tables = await sharedTables(image);
  const deltas = new RefcountDeltas(image);
  await walkTables(image, pointersTo(tables), (walked) => {
    const { references } = tables[walked.index];
    visitZeroes(image, walked, tables[walked.index], (_slot, host) => {
      if (host > 0) deltas.add(clusterAt(host, image.geometry), 1, -references);
    });
  });
  await settleDeltas(image, deltas);
}

/** Nobody uses the image meanwhile, and `checkSnapshotZeroes` has found nothing. Rejects with `no-space`, `io`; then the image reads as before, and must be opened again. */
export async function expandSnapshotZeroes(image: Qcow2Image, progress: AmendProgress): Promise<void> {
  const tables = await sharedTables(image);
  const perBatch = Math.max(1, Math.floor(BATCH_BYTES / image.geometry.clusterSize));
  const deltas = new RefcountDeltas(image);
  for (let from = 0; from < tables.length; from += perBatch) {
    progress(from, tables.length);
    await expandBatch(image, tables.slice(from, from + perBatch), deltas);
  }
  if (deltas.blocks().length === 0) return;
  await image.quiet();
  await dropReferences(image, deltas, image.snapshots.list, [], () => undefined);
}

/** The L2 tables of all snapshots, each once. Rejects with `corrupt-image`, `limit`, `io`. */
async function sharedTables(image: Qcow2Image): Promise<SharedTable[]> {
  const { geometry, mapping, snapshots } = image;
  const metadata = new MetadataIndex(geometry, OTHERS);
  image.fillIndex(metadata);
  const tables = new Map<number, SharedTable>();
  for (const snapshot of snapshots.list) {
    const l1 = await readSnapshotL1(image, snapshot);
    for (let index = 0; index < snapshot.l1Size; index++) {
      const offset = pointerTarget(l1, index);
      if (offset !== 0) addReference(image, tables, offset, index);
    }
  }
  for (let index = 0; index < mapping.l1.entries; index++) {
    const offset = mapping.l1.target(index);
    if (tables.has(offset)) addReference(image, tables, offset, index);
  }
  for (const { offset, references } of tables.values()) {
    // A walk refuses what is not aligned, or lies behind the end of the file.
    const what = metadata.overlap(offset, offset + geometry.clusterSize);
    if (what !== null) {
      const message = `An L2 table of a snapshot lies over metadata (${what}) at offset ${offset}`;
      throw image.error('corrupt-image', message, 'amend', offset);
    }
    if (references > MAX_REFCOUNT) {
      const message = `The L2 table at offset ${offset} has more references than a refcount of 16 bits can say`;
      throw image.error('limit', message, 'amend', offset);
    }
  }
  return [...tables.values()];
}

function addReference(image: Qcow2Image, tables: Map<number, SharedTable>, offset: HostOffset, index: number): void {
  const table = tables.get(offset);
  if (table === undefined) {
    tables.set(offset, { offset, index, references: 1 });
    return;
  }
  // It would need zeroes that are encrypted in two ways, perhaps; no program makes such images.
  if (table.index !== index) {
    throw image.error('corrupt-image', `The L2 table at offset ${offset} maps two parts of the disk`, 'amend', offset);
  }
  table.references++;
}

/** An L1 table with these tables, in their order. */
function pointersTo(tables: readonly SharedTable[]): DataView<ArrayBuffer> {
  const l1 = new DataView(new ArrayBuffer(tables.length * POINTER_BYTES));
  for (const [at, { offset }] of tables.entries()) putPointer(l1, at, offset, false);
  return l1;
}

/** Visits the entries of zeroes in a table, with the cluster that they keep allocated, or 0. Throws `corrupt-image` for an invalid entry. */
function visitZeroes(
  image: Qcow2Image,
  { view }: WalkedTable,
  { index }: SharedTable,
  visit: (slot: number, host: HostOffset) => void,
): void {
  const { codec } = image.mapping;
  const { l2Entries, l2Span, clusterSize } = image.geometry;
  for (let slot = 0; slot < l2Entries; slot++) {
    const kind = codec.kind(view, slot);
    if (kind === Kind.bad) {
      const guest = index * l2Span + slot * clusterSize;
      throw image.error('corrupt-image', `L2 entry of guest offset ${guest} invalid`, 'amend', codec.host(view, slot));
    }
    if (kind === Kind.zeroPlain || kind === Kind.zeroAllocated) visit(slot, codec.host(view, slot));
  }
}

/** Steps 1 and 2 for some tables; notes what step 3 is to do in `deltas`. */
async function expandBatch(image: Qcow2Image, tables: readonly SharedTable[], deltas: RefcountDeltas): Promise<void> {
  const l1 = pointersTo(tables);
  const zeroes: ZeroRun[] = [];
  const changed: number[] = [];
  await walkTables(image, l1, (walked) => {
    const table = tables[walked.index];
    visitZeroes(image, walked, table, (slot, host) => {
      const last = zeroes.at(-1);
      if (last?.table === table && last.slot + last.count === slot) last.count++;
      else zeroes.push({ table, slot, count: 1 });
      if (changed.at(-1) !== walked.index) changed.push(walked.index);
      if (host > 0) deltas.add(clusterAt(host, image.geometry), 1, -table.references);
    });
  });
  if (changed.length === 0) return;
  const places = image.hasBacking ? await writeClusters(image, zeroes) : null;
  await image.committer.exclusive(() => writeEntries(image, l1, changed, places));
  // Some of these tables may be the disk's, too.
  image.mapping.cache.clear();
}

/** Step 1: resolves with the places of the zeroes, one for each entry. Where it rejects, nothing stays allocated. */
async function writeClusters(image: Qcow2Image, zeroes: readonly ZeroRun[]): Promise<HostOffset[]> {
  const { allocation, geometry } = image;
  const { clusterSize, l2Span } = geometry;
  const places: HostOffset[] = [];
  const taken: { run: Run; references: number }[] = [];
  try {
    for (const { table, slot, count } of zeroes) {
      for (let done = 0; done < count; ) {
        const run = await allocation.allocateRun(count - done);
        const own = { run, references: 1 };
        taken.push(own);
        const start = hostOf(run.cluster, geometry);
        const length = run.count * clusterSize;
        const guest = (table.index * l2Span + (slot + done) * clusterSize) as GuestOffset;
        if (!(await image.data.makeRoom(start, length))) await image.data.writeZeroes(start, guest, length);
        for (; own.references < table.references; own.references++) await addReferences(image, run);
        for (let i = 0; i < run.count; i++) places.push(plus(start, i * clusterSize));
        done += run.count;
      }
    }
    return places;
  } catch (error) {
    for (const { run, references } of taken) {
      for (let i = 0; i < references; i++) allocation.release(run.cluster, run.count);
    }
    throw error;
  }
}

/** One reference more for each cluster of `run`. Where it rejects, the refcounts are as before. */
async function addReferences(image: Qcow2Image, { cluster, count }: Run): Promise<void> {
  const { allocation } = image;
  for (let done = 0; done < count; ) {
    const at = plus(cluster, done);
    const added = allocation.tryReference(at);
    if (added === true) {
      done++;
      continue;
    }
    try {
      if (added === false) throw image.error('limit', `The refcount of cluster ${at} would overflow`, 'amend');
      await allocation.loadFor(at);
    } catch (error) {
      if (done > 0) allocation.release(cluster, done);
      throw error;
    }
  }
}

/** Step 2. `places`: null where the entries become unallocated. */
async function writeEntries(
  image: Qcow2Image,
  l1: DataView,
  changed: readonly number[],
  places: readonly HostOffset[] | null,
): Promise<void> {
  const { codec } = image.mapping;
  const { l2Entries } = image.geometry;
  let used = 0;
  const offsets = changed.map((at) => pointerTarget(l1, at));
  await rewriteTables(image, l1, changed, offsets, ({ view }) => {
    for (let slot = 0; slot < l2Entries; slot++) {
      const kind = codec.kind(view, slot);
      if (kind !== Kind.zeroPlain && kind !== Kind.zeroAllocated) continue;
      if (places === null) codec.putUnallocated(view, slot);
      else codec.put(view, slot, places[used++], false, codec.all, 0);
    }
  });
  await image.file.flush();
}
