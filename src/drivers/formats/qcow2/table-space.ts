// Reserves the place of a table before the first change to it: checks that the place overlaps no other metadata (a damaged image may have such a
// pointer), and allocates it on the file system (an earlier writer may have left it as a hole), so that the table can be written later even if the
// disk is full by then.

import { roundDown } from '../../../util/numbers.js';
import type { Qcow2Image } from './image.js';
import type { OverlapKind } from './options.js';
import { overlapMessage, type ScatteredKind } from './overlap.js';
import { POINTER_BYTES } from './pointer-codec.js';
import type { PointerTable } from './pointer-table.js';
import type { Table } from './table-cache.js';
import { type HostOffset, plus, SECTOR } from './types.js';

/** Rejects with `corrupt-image` where a table of this kind in [start, start + length) would be written over other metadata. */
async function checkPlace(image: Qcow2Image, start: HostOffset, length: number, kind: OverlapKind): Promise<void> {
  const other = image.metadata.overlap(start, start + length, kind);
  if (other !== null) throw await image.corrupt(overlapMessage(other), start, length);
}

/** Reserves `table`, which may be changed afterwards. Rejects with `corrupt-image` (the image is marked corrupt), `no-space`, `io`. */
export async function reserveTable(image: Qcow2Image, table: Table, kind: ScatteredKind): Promise<void> {
  const { file } = image;
  const { clusterSize } = image.geometry;
  table.pins++;
  try {
    await checkPlace(image, table.offset, clusterSize, kind);
    await file.ensureLength(table.offset + clusterSize);
    await file.reserve(table.offset, clusterSize);
    table.reserved = true;
  } finally {
    table.pins--;
  }
}

/** Reserves entry `index` of the L1 or refcount table, which may be changed afterwards. Rejects as `reserveTable`. */
export async function reserveEntry(
  image: Qcow2Image,
  table: PointerTable,
  kind: 'active-l1' | 'refcount-table',
  index: number,
): Promise<void> {
  const sector = roundDown(plus(table.offset, index * POINTER_BYTES), SECTOR);
  await checkPlace(image, sector, SECTOR, kind);
  await table.reserve(image.file, index);
}
