// The repair of a VDI image. In this order, each step durable before the next: an entry that points nowhere becomes a hole; of blocks that two entries point to, the
// later entry gets a copy of its own; then the header counts what is in use.

import type { RepairKind } from '../../../block/abilities.js';
import type { ImageFile } from '../../image-file.js';
import type { LinearTable } from '../blocks/linear-table.js';
import type { BlockSource } from '../blocks/node.js';
import { readEntries } from './check.js';
import { BLOCK_BYTES, type Header, UNALLOCATED } from './header.js';

/** What the repair works with. */
export interface Repaired {
  map: LinearTable;
  space: BlockSource;
  /** Number of the block at this offset in the file. */
  numberOf(offset: number): number;
  /** Writes the count of blocks in use to the header. */
  count(allocated: number): Promise<void>;
  /** Makes durable what was changed. */
  commit(): Promise<void>;
}

/** Repairs all that a check finds; `leaks` has nothing to do. Rejects with `io`, `no-space`. */
export async function repairVdi(file: ImageFile, header: Header, kind: RepairKind, parts: Repaired): Promise<void> {
  if (kind !== 'all') return;
  const { map, space } = parts;
  const used = new Uint8Array(Math.ceil(header.blocks / 8));
  const lost: number[] = [];
  const shared: { index: number; entry: number }[] = [];
  await readEntries(file, header, (index, entry) => {
    if (entry >= header.blocks) {
      lost.push(index);
      return;
    }
    const [byte, bit] = [entry >>> 3, 1 << (entry & 7)];
    if ((used[byte] & bit) !== 0) shared.push({ index, entry });
    used[byte] |= bit;
  });
  const set = async (index: number, value: number): Promise<void> => {
    const release = await map.prepare(index, index);
    map.set(index, value);
    release();
  };
  for (const index of lost) await set(index, UNALLOCATED);
  for (const { index, entry } of shared) {
    const content = new Uint8Array(BLOCK_BYTES);
    await file.read(header.dataOffset + entry * BLOCK_BYTES, content);
    const { offset } = await space.take();
    await file.write(offset, content);
    await set(index, parts.numberOf(offset));
  }
  await parts.commit();
  let allocated = 0;
  let end = 0;
  await readEntries(file, header, (_, entry) => {
    allocated++;
    end = Math.max(end, entry + 1);
  });
  // Where blocks are missing in between, the next one must still go behind the last.
  await parts.count(Math.max(allocated, end));
  await parts.commit();
}
