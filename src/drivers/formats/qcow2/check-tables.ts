// Reads the tables of an image for the consistency check: as raw bytes, several tables at a time.

import type { CheckState } from './check-state.js';
import { POINTER_BYTES, pointerTarget } from './pointer-codec.js';
import { readPadded } from './refcount-tally.js';
import type { HostOffset } from './types.js';

/** L2 tables in flight at once, bytes. */
const READ_AHEAD_BYTES = 4 << 20;

/** An L1 entry that is not zero. */
export interface TablePointer {
  /** Index in the L1 table. */
  index: number;
  /** The entry. */
  high: number;
  low: number;
  /** Host offset of the L2 table; 0: the entry points to none, but has other bits set. */
  offset: HostOffset;
}

/** Called with every such entry, and its table: null where there is none, or the table is beyond the end of the file. */
export type TableVisitor = (pointer: TablePointer, table: DataView | null) => void;

/** Reads the contiguous table of `bytes` bytes at `offset`; bytes beyond the end of the file are zeroes. */
export async function readTable(
  { file }: CheckState,
  offset: HostOffset,
  bytes: number,
): Promise<DataView<ArrayBuffer>> {
  const buffer = new Uint8Array(bytes);
  await readPadded(file, offset, buffer);
  return new DataView(buffer.buffer);
}

/** Visits all L2 tables in the order of the L1 table; `afterRound` runs after each batch of them. */
export async function visitTables(
  { file, l1, clusterBytes }: CheckState,
  visit: TableVisitor,
  afterRound?: () => Promise<void>,
): Promise<void> {
  const perRound = Math.max(1, Math.floor(READ_AHEAD_BYTES / clusterBytes));
  const buffers: Uint8Array[] = [];
  const entries = l1.byteLength / POINTER_BYTES;
  for (let index = 0; index < entries; ) {
    const round: TablePointer[] = [];
    for (; index < entries && round.length < perRound; index++) {
      const offset = pointerTarget(l1, index);
      const at = index * POINTER_BYTES;
      const pointer = { index, high: l1.getUint32(at), low: l1.getUint32(at + 4), offset };
      if (offset !== 0) round.push(pointer);
      else if (pointer.high !== 0 || pointer.low !== 0) visit(pointer, null);
    }
    await Promise.all(
      round.map(({ offset }, slot) => {
        if (offset >= file.length) return undefined;
        buffers[slot] ??= new Uint8Array(clusterBytes);
        return readPadded(file, offset, buffers[slot]);
      }),
    );
    for (const [slot, pointer] of round.entries()) {
      visit(pointer, pointer.offset >= file.length ? null : new DataView(buffers[slot].buffer));
    }
    await afterRound?.();
  }
}
