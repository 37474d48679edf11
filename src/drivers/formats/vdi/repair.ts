// The repair of a VDI image. Afterwards each entry points to a block of its own, and the blocks in use have the numbers from 0 on without a gap: the header counts them, and
// whoever writes to the image next puts a new block behind so many.
//
//   map before   3  7  3  -  999        999 is no block of this image, or the file ends before it: a hole
//   map after    0  1  2  -  -          the content of 3 is copied to 0 and 2, that of 7 to 1
//
// Nothing is overwritten that an entry points to: the copies are on the disk before the entries, these before the count.

import { BlockError } from '../../../util/errors.js';
import type { ImageFile } from '../../image-file.js';
import { Bits } from '../blocks/bits.js';
import type { LinearTable } from '../blocks/linear-table.js';
import { readEntries } from './check.js';
import { BLOCK_BYTES, type Header, UNALLOCATED } from './header.js';

/** What the repair works with. */
export interface Repaired {
  map: LinearTable;
  /** Writes the count of blocks in use to the header. */
  count(allocated: number): Promise<void>;
  /** Makes durable what was changed. */
  commit(): Promise<void>;
}

/** So many entries are changed at once: their pages of the map are in memory meanwhile. */
const ENTRIES_AT_ONCE = 1 << 14;

/**
 * Repairs all that a check finds. Rejects with `io`, `no-space`; with `limit` where most entries point to blocks of others, and with `invalid-image` where the file has no block at all: nothing
 * is changed then.
 */
export async function repairVdi(file: ImageFile, header: Header, parts: Repaired): Promise<void> {
  const changes = await plan(file, header);
  await makeHoles(parts.map, changes.holes);
  const placeOf = (number: number): number => header.dataOffset + number * BLOCK_BYTES;
  const content = new Uint8Array(BLOCK_BYTES);
  for (const { index, from, to } of changes.moves) {
    await file.ensureLength(placeOf(to + 1));
    await file.read(placeOf(from), content);
    await file.write(placeOf(to), content);
    await setEntries(parts.map, [index], to);
  }
  await parts.commit();
  await parts.count(changes.allocated);
  await parts.commit();
}

async function makeHoles(map: LinearTable, entries: readonly number[]): Promise<void> {
  for (let at = 0; at < entries.length; ) {
    const end = entries[at] + ENTRIES_AT_ONCE;
    const first = at;
    while (at < entries.length && entries[at] < end) at++;
    await setEntries(map, entries.slice(first, at), UNALLOCATED);
  }
}

/** `entries`: ascending. */
async function setEntries(map: LinearTable, entries: readonly number[], value: number): Promise<void> {
  const release = await map.prepare(entries[0], entries[entries.length - 1]);
  for (const index of entries) map.set(index, value);
  release();
}

/** The content of block `from` gets a block of its own, for entry `index`. */
interface Move {
  index: number;
  from: number;
  to: number;
}

/** A map that was overwritten would make a copy of one block for each of its entries, and fill the file system: that is no repair. */
function tooDamaged(file: ImageFile, shared: number): BlockError {
  const why = `${shared} entries of the map point to blocks that others point to, more than the image has blocks: its map is lost`;
  return BlockError.at(file.path, 'limit', why, { operation: 'repair' });
}

/** With no entry right, an offset in the header is wrong, not each of the entries. */
function withoutBlocks(file: ImageFile, { dataOffset }: Header): BlockError {
  const why = `the blocks begin at ${dataOffset}, where the file has ended: the header is wrong, or their data is lost`;
  return BlockError.at(file.path, 'invalid-image', why, { operation: 'repair' });
}

interface Plan {
  /** Entries that become empty. */
  holes: number[];
  moves: Move[];
  /** Blocks in use. */
  allocated: number;
}

async function plan(file: ImageFile, header: Header): Promise<Plan> {
  const used = new Bits(header.blocks);
  // A block that begins where the file has ended holds nothing but zeroes, as a hole does.
  const limit = Math.min(header.blocks, Math.ceil((file.length - header.dataOffset) / BLOCK_BYTES));
  let allocated = 0;
  let shared = 0;
  await readEntries(file, header, (_, entry) => {
    if (limit <= 0) throw withoutBlocks(file, header);
    if (entry >= limit) return;
    allocated++;
    if (used.has(entry)) shared++;
    used.add(entry);
  });
  if (shared > allocated - shared) throw tooDamaged(file, shared);
  const kept = new Bits(header.blocks);
  const holes: number[] = [];
  const moves: Move[] = [];
  let free = 0;
  await readEntries(file, header, (index, entry) => {
    if (entry >= limit) holes.push(index);
    else if (entry < allocated && !kept.has(entry)) kept.add(entry);
    else {
      while (used.has(free)) free++;
      moves.push({ index, from: entry, to: free++ });
    }
  });
  return { holes, moves, allocated };
}
