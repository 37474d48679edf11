// Unmaps content: everything from a guest offset on, or everything.

import { roundUp } from '../../../util/numbers.js';
import type { ExternalData } from './external-data.js';
import type { Qcow2Image } from './image.js';
import { Kind, type L2Entry } from './l2-codec.js';
import type { Table } from './table-cache.js';
import { reserveEntry } from './table-space.js';
import type { GuestOffset } from './types.js';
import { changeEntries, unmap } from './zero.js';

/** L2 tables that are removed between two commits. */
const BATCH_TABLES = 64;

/** Unmaps the whole image, so that all of it reads as the backing node does, and cuts the file. */
export async function emptyImage(image: Qcow2Image): Promise<void> {
  const stop = image.file.raise('empty_image_prepare');
  if (stop !== undefined) await stop;
  const { data, external } = image;
  // It reads as the disk does, which has no backing file then.
  if (data.isRaw) await data.zeroing(0, image.length(), true);
  await dropTables(image, 0);
  await cutFile(image);
  if (external?.isRaw === false) await dropContent(image, external);
}

/** Gives back the space of the data file wherever there is no L2 table, now that none of those that were dropped is on the disk. */
async function dropContent(image: Qcow2Image, data: ExternalData): Promise<void> {
  const { mapping, geometry, locks } = image;
  const { l2Span } = geometry;
  for (let index = 0; index < mapping.l1.entries; index++) {
    const held = await locks.acquire(index * l2Span, (index + 1) * l2Span);
    try {
      // Somebody may have written there meanwhile.
      if (mapping.l1.target(index) === 0) await data.drop(index * l2Span, (index + 1) * l2Span);
    } finally {
      locks.release(held);
    }
  }
}

/** Unmaps all subclusters that begin at or after guest offset `from`, but for the end of a compressed cluster. A later commit makes that durable. */
export async function dropFrom(image: Qcow2Image, from: GuestOffset): Promise<void> {
  const { subclusterSize, l2Span } = image.geometry;
  const start = roundUp(from, subclusterSize);
  const firstTable = Math.ceil(start / l2Span);
  const partEnd = (Math.min(firstTable, image.mapping.l1.entries) * l2Span) as GuestOffset;
  if (partEnd > start && (await mapsAnything(image, start, partEnd))) {
    await changeEntries(image, start, partEnd, false, (table, slot, entry, _guest, wanted) => {
      if (entry.kind !== Kind.unallocated) unmapPart(image, table, slot, entry, wanted);
    });
  }
  await dropTables(image, firstTable);
}

/** Makes the subclusters `wanted` of an entry unallocated. */
function unmapPart(image: Qcow2Image, table: Table, slot: number, entry: L2Entry, wanted: number): void {
  const { mapping } = image;
  if (wanted === mapping.codec.all) {
    unmap(image, table, slot, entry, true);
    return;
  }
  if (entry.kind === Kind.compressed) return;
  const data = (entry.data & ~wanted) >>> 0;
  mapping.setSubclusters(table, slot, { ...entry, data, zeroes: (entry.zeroes & ~wanted) >>> 0 });
}

/** True where anything is mapped in [start, end), a range of one L2 table. Checked first, since changing a table may need space on the disk. */
async function mapsAnything({ mapping, geometry }: Qcow2Image, start: GuestOffset, end: GuestOffset): Promise<boolean> {
  const index = mapping.indexOf(start);
  let table = mapping.tableSync(index);
  while (table === undefined) {
    await mapping.loadTable(index);
    table = mapping.tableSync(index);
  }
  if (table === null) return false;
  const base = index * geometry.l2Span;
  const first = (start - base) / geometry.subclusterSize;
  const count = (end - start) / geometry.subclusterSize;
  return (
    mapping.codec.kindAt(table.view, first) !== Kind.unallocated || mapping.codec.run(table.view, first, count) < count
  );
}

/** Removes the L2 tables from index `first` on from the L1 table, and frees them and all clusters that they point to. */
async function dropTables(image: Qcow2Image, first: number): Promise<void> {
  const { mapping } = image;
  const { l2Span, l2Entries } = image.geometry;
  let dropped = 0;
  for (let index = first; index < mapping.l1.entries; index++) {
    if (mapping.l1.target(index) === 0) continue;
    const held = await image.locks.acquire(index * l2Span, (index + 1) * l2Span);
    try {
      image.checkUsable();
      await reserveEntry(image, mapping.l1, 'active-l1', index);
      let table = mapping.tableSync(index);
      while (table === undefined) {
        await mapping.loadTable(index);
        table = mapping.tableSync(index);
      }
      if (table === null) continue;
      // All entries are checked before one is changed: otherwise the table could be written with only a part of its clusters freed.
      for (let slot = 0; slot < l2Entries; slot++) {
        if (mapping.codec.kind(table.view, slot) === Kind.bad) throw await mapping.badEntry(table, slot);
      }
      for (let slot = 0; slot < l2Entries; slot++) {
        const entry = mapping.codec.decode(table.view, slot);
        if (entry.kind !== Kind.unallocated) unmap(image, table, slot, entry, true);
      }
      mapping.removeTable(index);
    } finally {
      image.locks.release(held);
    }
    if (++dropped % BATCH_TABLES === 0) await image.commit();
  }
}

/** Commits, and cuts the file after the last cluster in use, unless something is allocated meanwhile. The refcount table keeps its place. */
export function cutFile(image: Qcow2Image): Promise<void> {
  const { allocation, refcounts } = image;
  const cut = async (): Promise<void> => {
    const before = allocation.count;
    const end = (await refcounts.endOfUse()) * image.geometry.clusterSize;
    if (end > 0 && allocation.count === before && !refcounts.making) await image.file.cut(end);
  };
  return image.committer.exclusive(cut, { cuts: true });
}
