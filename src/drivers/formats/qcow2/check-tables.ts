// Reads the tables of an image for the consistency check: as raw bytes, several tables at a time.

import type { CheckState, L1Table } from './check-state.js';
import { POINTER_BYTES, pointerTarget } from './pointer-codec.js';
import { readPadded } from './refcount-tally.js';
import type { HostOffset } from './types.js';

/** L2 tables in flight at once, bytes. */
const READ_AHEAD_BYTES = 4 << 20;

/** An L1 entry that is not zero. */
export interface TablePointer {
  l1: L1Table;
  /** Index in the L1 table. */
  index: number;
  /** The entry. */
  high: number;
  low: number;
  /** Host offset of the L2 table. 0: only other bits are set. To requests that is no table; to a check it is one in the header's cluster, as qemu-img has it. */
  offset: HostOffset;
}

/** Called with every such entry, and its table: null where that is beyond the end of the file. */
export type TableVisitor = (pointer: TablePointer, table: DataView<ArrayBuffer> | null) => void;

/** Reads the L1 tables and the refcount table. */
export async function readTables(state: CheckState): Promise<void> {
  const { l1TableOffset, l1Size, refcountTableOffset, refcountTableClusters, snapshotL1Tables = [] } = state.layout;
  const l1Tables: L1Table[] = [];
  for (const [i, { offset, entries }] of [{ offset: l1TableOffset, entries: l1Size }, ...snapshotL1Tables].entries()) {
    l1Tables.push({ offset, view: await readTable(state, offset, entries * POINTER_BYTES), active: i === 0 });
  }
  state.l1Tables = l1Tables;
  state.refcountTable = await readTable(state, refcountTableOffset, refcountTableClusters * state.clusterBytes);
}

/** Reads the contiguous table of `bytes` bytes at `offset`; bytes beyond the end of the file are zeroes. */
async function readTable({ file }: CheckState, offset: HostOffset, bytes: number): Promise<DataView<ArrayBuffer>> {
  const buffer = new Uint8Array(bytes);
  await readPadded(file, offset, buffer);
  return new DataView(buffer.buffer);
}

/** Visits all L2 tables of `l1` in the order of its entries; `afterRound` runs after each batch of them. */
export async function visitTables(
  { file, fileLength, clusterBytes }: CheckState,
  l1: L1Table,
  visit: TableVisitor,
  afterRound?: () => Promise<void>,
): Promise<void> {
  const { view } = l1;
  const perRound = Math.max(1, Math.floor(READ_AHEAD_BYTES / clusterBytes));
  const buffers: Uint8Array<ArrayBuffer>[] = [];
  const entries = view.byteLength / POINTER_BYTES;
  for (let index = 0; index < entries; ) {
    const round: TablePointer[] = [];
    for (; index < entries && round.length < perRound; index++) {
      const offset = pointerTarget(view, index);
      const at = index * POINTER_BYTES;
      const pointer = { l1, index, high: view.getUint32(at), low: view.getUint32(at + 4), offset };
      if (pointer.high !== 0 || pointer.low !== 0) round.push(pointer);
    }
    await Promise.all(
      round.map(({ offset }, slot) => {
        if (offset >= fileLength) return undefined;
        buffers[slot] ??= new Uint8Array(clusterBytes);
        return readPadded(file, offset, buffers[slot]);
      }),
    );
    for (const [slot, pointer] of round.entries()) {
      visit(pointer, pointer.offset >= fileLength ? null : new DataView(buffers[slot].buffer));
    }
    await afterRound?.();
  }
}
