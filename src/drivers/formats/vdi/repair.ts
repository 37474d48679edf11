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

/** Repairs all that a check finds. Rejects with `io`, `no-space`, and with `limit` where most entries point to blocks of others; nothing is changed then. */
export async function repairVdi(file: ImageFile, header: Header, parts: Repaired): Promise<void> {
  const { map } = parts;
  const changes = await plan(file, header);
  const placeOf = (number: number): number => header.dataOffset + number * BLOCK_BYTES;
  const content = new Uint8Array(BLOCK_BYTES);
  for (const { index, from, to } of changes.moves) {
    if (to !== UNALLOCATED) {
      await file.ensureLength(placeOf(to + 1));
      await file.read(placeOf(from), content);
      await file.write(placeOf(to), content);
    }
    const release = await map.prepare(index, index);
    map.set(index, to);
    release();
  }
  await parts.commit();
  await parts.count(changes.allocated);
  await parts.commit();
}

interface Move {
  index: number;
  from: number;
  /** UNALLOCATED: nothing is moved. */
  to: number;
}

/** A map that was overwritten would make a copy of one block for each of its entries, and fill the file system: that is no repair. */
function tooDamaged(file: ImageFile, shared: number): BlockError {
  const why = `${shared} entries of the map point to blocks that others point to, more than the image has blocks: its map is lost`;
  return BlockError.at(file.path, 'limit', why, { operation: 'repair' });
}

async function plan(file: ImageFile, header: Header): Promise<{ moves: Move[]; allocated: number }> {
  const used = new Bits(header.blocks);
  // A block that begins where the file has ended holds nothing but zeroes, as a hole does.
  const limit = Math.min(header.blocks, Math.ceil((file.length - header.dataOffset) / BLOCK_BYTES));
  let allocated = 0;
  let shared = 0;
  await readEntries(file, header, (_, entry) => {
    if (entry >= limit) return;
    allocated++;
    if (used.has(entry)) shared++;
    used.add(entry);
  });
  if (shared > allocated - shared) throw tooDamaged(file, shared);
  const kept = new Bits(header.blocks);
  const moves: Move[] = [];
  let free = 0;
  await readEntries(file, header, (index, entry) => {
    if (entry >= limit) moves.push({ index, from: 0, to: UNALLOCATED });
    else if (entry < allocated && !kept.has(entry)) kept.add(entry);
    else {
      while (used.has(free)) free++;
      moves.push({ index, from: entry, to: free++ });
    }
  });
  return { moves, allocated };
}
