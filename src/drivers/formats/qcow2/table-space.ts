// What makes sure of a table's place before the first change to it: that the place is the table's alone, and that it is allocated on the file
// system, so that the table can be written later. An earlier writer may have left it in a hole, or a damaged image may have a pointer to it
// that leads to other metadata.

import type { Qcow2Image } from './image.js';
import type { OverlapKind } from './options.js';
import { overlapMessage, type ScatteredKind } from './overlap.js';
import { POINTER_BYTES } from './pointer-codec.js';
import type { PointerTable } from './pointer-table.js';
import type { Table } from './table-cache.js';
import { type HostOffset, plus, roundDown, SECTOR } from './types.js';

/** Rejects with `corrupt-image` where a table of this kind in [start, start + length) would be written over other metadata. */
async function checkPlace(image: Qcow2Image, start: HostOffset, length: number, kind: OverlapKind): Promise<void> {
  const other = image.metadata.overlap(start, start + length, kind);
  if (other !== null) throw await image.corrupt(overlapMessage(start, other), start);
}

/** Makes `table` solid: it may be changed afterwards. Rejects with `corrupt-image` (the image is marked so), `no-space`, `io`. */
export async function solidify(image: Qcow2Image, table: Table, kind: ScatteredKind): Promise<void> {
  const { file } = image;
  const { clusterSize } = image.geometry;
  table.pins++;
  try {
    await checkPlace(image, table.offset, clusterSize, kind);
    await file.ensureLength(table.offset + clusterSize);
    await file.reserve(table.offset, clusterSize);
    table.solid = true;
  } finally {
    table.pins--;
  }
}

/** Entry `index` of the L1 or refcount table may be changed when this resolves. Rejects with `corrupt-image` (the image is marked so), `no-space`, `io`. */
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
