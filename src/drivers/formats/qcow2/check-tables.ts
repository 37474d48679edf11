// Reads the tables of an image for the consistency check: as raw bytes, several tables at a time.

import { BlockError } from '../../../util/errors.js';
import type { CheckState, Fault, L1Table } from './check-state.js';
import { POINTER_BYTES, pointerTarget } from './pointer-codec.js';
import { readPadded } from './refcount-tally.js';
import { type HostOffset, MAX_L1_BYTES } from './types.js';

/** L2 tables in flight at once, bytes. */
const READ_AHEAD_BYTES = 4 << 20;
/** All L1 tables of snapshots together: those of a thousand of a disk of 1 TiB, with clusters of 64 KiB, are 16 MiB. */
export const MAX_SNAPSHOT_L1_BYTES = 128 << 20;

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
  const { l1TableOffset, l1Size, refcountTableOffset, refcountTableClusters, snapshots = [] } = state.layout;
  const active = await readTable(state, l1TableOffset, l1Size * POINTER_BYTES);
  const l1Tables: L1Table[] = [{ offset: l1TableOffset, view: active, used: usedIn(active), snapshot: null }];
  let bytes = 0;
  for (const [snapshot, { offset, entries, complete }] of snapshots.entries()) {
    if (!complete) state.corruption({ kind: 'snapshot-incomplete', index: snapshot });
    const fault = l1FaultOf(state, snapshot);
    if (fault !== null) {
      state.corruption(fault);
      continue;
    }
    bytes += entries * POINTER_BYTES;
    if (bytes > MAX_SNAPSHOT_L1_BYTES) throw tooMuch(state);
    const view = await readTable(state, offset, entries * POINTER_BYTES);
    l1Tables.push({ offset, view, used: usedIn(view), snapshot });
  }
  state.l1Tables = l1Tables;
  state.refcountTable = await readTable(state, refcountTableOffset, refcountTableClusters * state.clusterBytes);
}

/** The entries of a table up to the last one that is not zero: of a disk that is said to be huge, there may be millions behind it. */
function usedIn({ buffer }: DataView<ArrayBuffer>): number {
  const words = new Uint32Array(buffer);
  let used = words.length;
  while (used > 0 && words[used - 1] === 0) used--;
  return Math.ceil((used * 4) / POINTER_BYTES);
}

/** What keeps the L1 table of a snapshot from being one; null: nothing. */
export function l1FaultOf({ layout, clusterBytes, fileLength }: CheckState, index: number): Fault | null {
  const { offset, entries, label } = layout.snapshots![index];
  const length = entries * POINTER_BYTES;
  if (offset % clusterBytes !== 0) return { kind: 'snapshot-l1-unaligned', snapshot: label, hostOffset: offset };
  if (length > MAX_L1_BYTES) return { kind: 'snapshot-l1-too-large', snapshot: label, entries };
  if (length === 0) return null;
  if (offset === 0) return { kind: 'snapshot-l1-in-header', snapshot: label };
  if (offset + length - fileLength < clusterBytes) return null;
  return { kind: 'beyond-end-of-file', hostOffset: offset, length, snapshot: label };
}

function tooMuch({ file }: CheckState): BlockError {
  const message = 'The L1 tables of the snapshots are too large to check';
  return BlockError.at(file.filename, 'limit', message, { operation: 'check' });
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
  const { view, used: entries } = l1;
  const perRound = Math.max(1, Math.floor(READ_AHEAD_BYTES / clusterBytes));
  const buffers: Uint8Array<ArrayBuffer>[] = [];
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
