// What makes sure of a table's place before the first change to it: that the cluster is the table's alone, and that it is allocated on the file
// system, so that the table can be written later. An earlier writer may have left it in a hole, or a damaged image may have a pointer to it
// that leads to other metadata.

import type { Qcow2Image } from './image.js';
import { overlapMessage, type ScatteredKind } from './overlap.js';
import type { Table } from './table-cache.js';

/** Makes `table` solid: it may be changed afterwards. Rejects with `corrupt-image` (the image is marked so), `no-space`, `io`. */
export async function solidify(image: Qcow2Image, table: Table, kind: ScatteredKind): Promise<void> {
  const { file, metadata } = image;
  const { clusterSize } = image.geometry;
  const other = metadata.overlap(table.offset, table.offset + clusterSize, kind);
  if (other !== null) throw await image.corrupt(overlapMessage(table.offset, other), table.offset);
  table.pins++;
  try {
    await file.ensureLength(table.offset + clusterSize);
    await file.reserve(table.offset, clusterSize);
    table.solid = true;
  } finally {
    table.pins--;
  }
}
