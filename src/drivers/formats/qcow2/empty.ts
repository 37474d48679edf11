// Unmapping content: everything behind a guest offset, or everything.

import type { Qcow2Image } from './image.js';
import { Kind } from './l2-codec.js';
import { reserveEntry } from './table-space.js';
import { type GuestOffset, roundUp } from './types.js';
import { changeEntries, unmap } from './zero.js';

/** L2 tables that are removed between two commits. */
const BATCH_TABLES = 64;

/** Drops all content of the image: everything reads as the backing node does. */
export async function emptyImage(image: Qcow2Image): Promise<void> {
  await dropTables(image, 0);
  await cutFile(image);
}

/** Unmaps all clusters that begin at or behind guest offset `from`. A later commit makes it durable. */
export async function dropFrom(image: Qcow2Image, from: GuestOffset): Promise<void> {
  const { clusterSize, l2Span } = image.geometry;
  const start = roundUp(from, clusterSize);
  const firstTable = Math.ceil(start / l2Span);
  const partEnd = (Math.min(firstTable, image.mapping.l1.entries) * l2Span) as GuestOffset;
  if (partEnd > start && (await mapsAnything(image, start, partEnd))) {
    await changeEntries(image, start, partEnd, false, (table, slot, entry) => {
      if (entry.kind !== Kind.unallocated) unmap(image, table, slot, entry, true);
    });
  }
  await dropTables(image, firstTable);
}

/** Is anything mapped in [start, end), which one L2 table describes? Asked first, since changing a table takes space. */
async function mapsAnything({ mapping, geometry }: Qcow2Image, start: GuestOffset, end: GuestOffset): Promise<boolean> {
  const index = mapping.indexOf(start);
  let table = mapping.tableSync(index);
  while (table === undefined) {
    await mapping.loadTable(index);
    table = mapping.tableSync(index);
  }
  if (table === null) return false;
  const base = index * geometry.l2Span;
  for (let slot = (start - base) / geometry.clusterSize; slot < (end - base) / geometry.clusterSize; slot++) {
    if (mapping.codec.kind(table.view, slot) !== Kind.unallocated) return true;
  }
  return false;
}

/** Takes L2 tables from `first` on out of the L1 table, with all clusters that they point to. */
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
      // Before anything changes: the table would be written with half of its clusters freed.
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

/** Commits, and cuts the file behind the last cluster in use, unless something is being allocated meanwhile. The refcount table stays where it is. */
export function cutFile(image: Qcow2Image): Promise<void> {
  const { allocation, refcounts } = image;
  return image.committer.exclusive(async () => {
    const before = allocation.count;
    const end = (await refcounts.endOfUse()) * image.geometry.clusterSize;
    if (end > 0 && allocation.count === before && !refcounts.making) await image.file.cut(end);
  });
}
