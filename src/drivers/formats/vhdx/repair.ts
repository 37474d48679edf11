// The repair of the block allocation table, and of the region table that does not count.
//
// Of the first: afterwards each entry points to a place of its own: one that points to none is a hole, whose data is lost, and of entries that share a place, each but the first gets a
// copy. A block whose end the file does not have keeps its place: the file has grown for it, with zeroes. The copies are on the disk before the entries, which go through the log.

import type { ImageFile } from '../../image-file.js';
import { HOLE } from '../blocks/places.js';
import type { Survey } from './check.js';
import type { BadRegionTable } from './regions.js';
import type { VhdxSpace } from './space.js';
import type { BlockAllocationTable } from './table.js';

const STEP_BYTES = 4 << 20;

/** What the repair works with. */
export interface Repaired {
  file: ImageFile;
  tables: BlockAllocationTable;
  /** It begins behind all that is in use. */
  space: VhdxSpace;
  blockBytes: number;
  /** Makes durable what was changed. */
  commit(): Promise<void>;
}

/** Rejects with `io`, `no-space`; then it can be done again. */
export async function repairTable({ lost, shared }: Survey, parts: Repaired): Promise<void> {
  const { tables, space } = parts;
  for (const index of lost) await setPlace(tables, index, HOLE);
  for (const index of shared) {
    await tables.load(index);
    const { offset } = await space.take();
    await copy(parts, tables.entry(index)!.place, offset);
    await setPlace(tables, index, offset);
  }
  await parts.commit();
}

/** Durable when it resolves. The table that counts is not touched, and one that was written in part is not valid: one is, at every moment. Rejects with `io`, `no-space`; then it can be done again. */
export async function mendRegionTable(file: ImageFile, { offset, bytes }: BadRegionTable): Promise<void> {
  await file.write(offset, bytes);
  await file.flush();
}

async function setPlace(tables: BlockAllocationTable, index: number, place: number): Promise<void> {
  const release = await tables.prepare(index, index);
  tables.set(index, place);
  release();
}

async function copy({ file, blockBytes }: Repaired, from: number, to: number): Promise<void> {
  const buffer = new Uint8Array(Math.min(STEP_BYTES, blockBytes));
  for (let done = 0; done < blockBytes; done += buffer.length) {
    await file.read(from + done, buffer);
    await file.write(to + done, buffer);
  }
}
