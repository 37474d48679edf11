// The repair of a QED image.
//
//   1  entries that point nowhere become empty
//   2  what is used twice gets a copy for each user: an L2 table, a cluster
//   3  clusters that nothing uses are filled with those from the end of the file, which is cut then
//
//   before   | header | L1 | a | leak | L2 | leak | b | c |
//   after    | header | L1 | a | c    | L2 | b    |
//
// All is durable before an entry points to it, and what an entry points to is not overwritten: after a loss of power the image reads as before, and is repaired again.
// qemu-img does the first alone.

import type { RepairKind } from '../../../block/abilities.js';
import { BlockError } from '../../../util/errors.js';
import type { ImageFile } from '../../image-file.js';
import { Bits } from '../blocks/bits.js';
import { HOLE } from '../blocks/places.js';
import type { TwoLevelTable } from '../blocks/two-level-table.js';
import { clustersOf, readTable, usedEnd, useTable, walkTables } from './check.js';
import { type Header, isInside, tableEntries, ZERO_ENTRY } from './header.js';
import type { QedSpace } from './space.js';

/** So many clusters are moved at once: what is remembered of them stays small. */
const MOVED_AT_ONCE = 1 << 16;
const COPY_BYTES = 1 << 20;
/** Changed tables of so many bytes are written before more is changed. */
const MAX_CHANGED_BYTES = 8 << 20;

/** What the repair works with. */
export interface Repaired {
  file: ImageFile;
  header: Header;
  table: TwoLevelTable;
  space: QedSpace;
  /** Makes durable what was changed. */
  commit(): Promise<void>;
}

/** With several entries in the L1 table, none of them right, it is no table: to empty it, and to cut what it does not lead to, would be no repair. */
async function refuseLostTable({ file, header }: Repaired): Promise<void> {
  let right = 0;
  let wrong = 0;
  await readTable(file, header.l1Offset, tableEntries(header), (_, offset) => {
    if (isInside(header, offset, header.tableClusters, file.length)) right++;
    else wrong++;
  });
  if (right > 0 || wrong < 2) return;
  const why = `none of the ${wrong} entries of the L1 table at ${header.l1Offset} points to a table: it was overwritten, or the header is wrong`;
  throw BlockError.at(file.path, 'invalid-image', why, { offset: header.l1Offset, operation: 'repair' });
}

/**
 * The first two steps, of which `leaks` has the first alone, and the end of the file. Rejects with `io`, `no-space`, `limit`, and with `invalid-image` for an L1 table that is none;
 * nothing is changed then.
 */
export async function repairEntries(image: Repaired, kind: RepairKind): Promise<void> {
  await refuseLostTable(image);
  const { file, header, table, space } = image;
  const fileBytes = file.length;
  const used = new Bits(clustersOf(file, header));
  useTable(used, header, header.l1Offset, () => undefined);
  const entries = tableEntries(header);
  await readTable(file, header.l1Offset, entries, async (index, offset) => {
    if (!isInside(header, offset, header.tableClusters, fileBytes)) return table.setTable(index, HOLE);
    let place = offset;
    let isShared = false;
    useTable(used, header, offset, () => {
      isShared = true;
    });
    if (isShared) {
      if (kind !== 'all') return;
      place = await copyTable(image, index, offset);
    }
    await readTable(file, place, entries, (at, value) => {
      if (value === ZERO_ENTRY) return;
      const block = index * entries + at;
      if (!isInside(header, value, 1, fileBytes)) return setPlace(image, block, HOLE);
      const cluster = value / header.clusterBytes;
      if (!used.has(cluster)) {
        used.add(cluster);
        return;
      }
      return kind === 'all' ? copyCluster(image, block, value) : undefined;
    });
  });
  await image.commit();
  table.clear();
  await space.restart(await usedEnd(file, header));
}

async function copyTable(image: Repaired, index: number, from: number): Promise<number> {
  const { header, table, space } = image;
  const { offset } = await space.takeTable();
  await copy(image.file, from, offset, header.tableClusters * header.clusterBytes);
  await table.setTable(index, offset);
  return offset;
}

async function copyCluster(image: Repaired, block: number, from: number): Promise<void> {
  const { offset } = await image.space.take();
  await copy(image.file, from, offset, image.header.clusterBytes);
  await setPlace(image, block, offset);
}

async function setPlace({ table, commit }: Repaired, block: number, place: number): Promise<void> {
  const release = await table.prepare(block, block);
  table.set(block, place);
  release();
  if (table.changedBytes > MAX_CHANGED_BYTES) await commit();
}

async function copy(file: ImageFile, from: number, to: number, length: number): Promise<void> {
  const bytes = new Uint8Array(Math.min(COPY_BYTES, length));
  for (let done = 0; done < length; done += bytes.length) {
    await file.read(from + done, bytes);
    await file.write(to + done, bytes);
  }
}

/** The third step, of an image whose entries are right. Rejects with `io`, `no-space`, `limit`. */
export async function fillLeaks(image: Repaired): Promise<void> {
  do {
    image.table.clear();
    await image.space.restart(await usedEnd(image.file, image.header));
  } while (await fillSome(image));
}

/** What lies where, by cluster. */
interface Layout {
  used: Bits;
  /** Data, which can be moved one by one. */
  data: Bits;
  /** Behind the last cluster of the file. */
  end: number;
}

async function layoutOf({ file, header }: Repaired): Promise<Layout> {
  const end = clustersOf(file, header);
  const used = new Bits(end);
  const data = new Bits(end);
  useTable(used, header, header.l1Offset, () => undefined);
  await walkTables(file, header, {
    badTable: () => undefined,
    table: (_, offset) => {
      useTable(used, header, offset, () => undefined);
      return true;
    },
    badCluster: () => undefined,
    cluster: (_, offset) => {
      used.add(offset / header.clusterBytes);
      data.add(offset / header.clusterBytes);
    },
  });
  return { used, data, end };
}

/** Fills leaks with the clusters that lie last; where L2 tables alone lie behind the first leak, one of them is moved there. False: nothing was to be done. */
async function fillSome(image: Repaired): Promise<boolean> {
  const { header } = image;
  const layout = await layoutOf(image);
  const leaks: number[] = [];
  let from = layout.end;
  for (let leak = Math.max(header.headerClusters, 1); leak < from && leaks.length < MOVED_AT_ONCE; leak++) {
    if (layout.used.has(leak)) continue;
    let last = from - 1;
    while (last > leak && !layout.data.has(last)) last--;
    if (last <= leak) return leaks.length > 0 ? moveData(image, leaks, from) : moveTable(image, leak);
    leaks.push(leak);
    from = last;
  }
  return leaks.length > 0 && moveData(image, leaks, from);
}

/** Moves the data of the clusters from `from` on, which are as many as `leaks`, there. */
async function moveData(image: Repaired, leaks: readonly number[], from: number): Promise<true> {
  const { file, header } = image;
  const { clusterBytes } = header;
  const moved: { block: number; offset: number }[] = [];
  await walkTables(file, header, {
    badTable: () => undefined,
    table: () => true,
    badCluster: () => undefined,
    cluster: (block, offset) => {
      if (offset >= from * clusterBytes) moved.push({ block, offset });
    },
  });
  await image.space.mark();
  for (const [i, { block, offset }] of moved.entries()) {
    await copy(file, offset, leaks[i] * clusterBytes, clusterBytes);
    await setPlace(image, block, leaks[i] * clusterBytes);
  }
  await image.commit();
  return true;
}

/** Moves the first L2 table behind `leak` there, by way of the end of the file where the places overlap. False: there is none. */
async function moveTable(image: Repaired, leak: number): Promise<boolean> {
  const { file, header, table, space } = image;
  const to = leak * header.clusterBytes;
  const behind: { index: number; offset: number }[] = [];
  await walkTables(file, header, {
    badTable: () => undefined,
    table: (index, offset) => {
      if (offset > to) behind.push({ index, offset });
      return false;
    },
    badCluster: () => undefined,
    cluster: () => undefined,
  });
  const first = behind.sort((a, b) => a.offset - b.offset).at(0);
  // The L1 table stays where it is.
  if (first === undefined || (header.l1Offset > to && header.l1Offset < first.offset)) return false;
  const bytes = header.tableClusters * header.clusterBytes;
  const { index } = first;
  let { offset } = first;
  if (to + bytes > offset) {
    const { offset: end } = await space.takeTable();
    await copy(file, offset, end, bytes);
    await table.setTable(index, end);
    await image.commit();
    offset = end;
  }
  await space.mark();
  await copy(file, offset, to, bytes);
  await table.setTable(index, to);
  await image.commit();
  return true;
}
