// Counts references for the consistency check: every table entry of an image is one reference to the clusters that it points to.
//
//   L1 entry --> L2 table      L2 entry --> guest cluster, or compressed data      refcount table entry --> refcount block

import { type Exact, exact } from '../../../block/finding.js';
import { BlockError } from '../../../util/errors.js';
import { noteFlag } from './check-flags.js';
import type { CheckState, L1Table } from './check-state.js';
import { type TablePointer, visitTables } from './check-tables.js';
import { hasReservedBits, hostIn, isCompressed, isCopied, isOrdinary, isZero } from './l2-codec.js';
import { dataIn, zeroesIn } from './l2-extended.js';
import { hostRun } from './l2-runs.js';
import {
  blockPointerHex,
  blockPointerTarget,
  hasReservedPointerBits,
  isBlockPointerAligned,
  POINTER_BYTES,
  wordsToHex,
} from './pointer-codec.js';
import type { ClusterIndex, HostOffset } from './types.js';

/** Limit of L2 tables that are used more than once; beyond it, the check fails. */
const MAX_SHARED_TABLES = 4096;
/** Bits of a refcount table entry that must be zero, low half. */
const BLOCK_POINTER_RESERVED = 0x1ff;

export class ReferenceCounter {
  readonly #state: CheckState;
  #sharedTables = 0;

  constructor(state: CheckState) {
    this.#state = state;
  }

  /** Counts all references of an L1 table and its L2 tables to the window. Rejects with `limit` where L2 tables overlap too often, `io`. */
  async countMapping(l1: L1Table): Promise<void> {
    this.#state.reference(l1.offset, l1.view.byteLength);
    await visitTables(this.#state, l1, (pointer, table) => this.#countTable(pointer, table));
  }

  #countTable({ l1, index, high, low, offset }: TablePointer, table: DataView | null): void {
    const state = this.#state;
    if (state.first && hasReservedPointerBits(high, low)) {
      const entry = `0x${wordsToHex(high, low)}` as const;
      state.badEntry({ kind: 'reserved-bits', table: 'l1', index, entry });
    }
    if (offset === 0 && state.first) state.badEntries++;
    state.reference(offset, state.clusterBytes);
    if (offset % state.clusterBytes !== 0) {
      state.badEntry({ kind: 'unaligned', table: 'l1', index, hostOffset: offset });
    }
    if (l1.snapshot === null) {
      this.#checkShared(index, offset);
      noteFlag(state, high, offset);
    }
    if (table !== null) this.#countEntries(l1, index, table);
  }

  /** Throws `limit` where too many L1 entries share tables, which could make the walk extremely long. */
  #checkShared(index: number, offset: HostOffset): void {
    const { tally, clusterBytes, file } = this.#state;
    const at = Math.floor(offset / clusterBytes) - tally.start;
    if (at < 0 || at >= tally.size || tally.references[at] < 2) return;
    if (++this.#sharedTables <= MAX_SHARED_TABLES) return;
    throw BlockError.at(
      file.filename,
      'limit',
      `L2 tables overlap at more than ${MAX_SHARED_TABLES} places (L1 entry ${index}, offset ${offset})`,
      { offset, operation: 'check' },
    );
  }

  /** The hot loop: every entry of the L2 table that L1 entry `l1Index` points to. */
  #countEntries({ snapshot }: L1Table, l1Index: number, table: DataView): void {
    const state = this.#state;
    const active = snapshot === null;
    const { clusterBytes, codec, first, result } = state;
    const { clusterBits } = state.layout;
    const { entryBytes } = codec;
    const entries = table.byteLength / entryBytes;
    const isExternal = state.layout.isExternal === true;
    const extended = state.codec.subclusters > 1;
    let allocated = 0;
    let fragmented = 0;
    let compressed = 0;
    let expected = 0;
    for (let position = 0; position < table.byteLength; position += entryBytes) {
      const high = table.getUint32(position);
      const low = table.getUint32(position + 4);
      if (extended && this.#hasWrongBitmap(l1Index, table, position)) continue;
      if (high === 0 && low === 0) {
        const slot = position / entryBytes;
        position += (Math.max(1, codec.emptyRun(table, slot, entries - slot)) - 1) * entryBytes;
        continue;
      }
      if (isOrdinary(high, low, clusterBytes) && !isExternal) {
        const offset = hostIn(high, low);
        const inFile = Math.floor((state.fileLength - offset) / clusterBytes);
        if (inFile > 0) {
          const slot = position / entryBytes;
          const run = hostRun(state.math, codec, table, slot, Math.min(inFile, entries - slot), clusterBits);
          allocated += run;
          if (expected !== 0 && offset !== expected) fragmented++;
          expected = offset + run * clusterBytes;
          this.#countRun(active, (offset / clusterBytes) as ClusterIndex, run, isCopied(high));
          position += (run - 1) * entryBytes;
          continue;
        }
      }
      if (isCompressed(high)) {
        if (isExternal) {
          const entry = `0x${wordsToHex(high, low)}` as const;
          state.badEntry({ kind: 'compressed-in-data-file', ...this.#placeOf(l1Index, position), entry });
          continue;
        }
        allocated++;
        fragmented++;
        compressed++;
        this.#countCompressed(l1Index, position, high, low);
        continue;
      }
      if (first && hasReservedBits(high, low)) {
        const entry = `0x${wordsToHex(high, low)}` as const;
        state.badEntry({ kind: 'reserved-bits', ...this.#placeOf(l1Index, position), entry });
      }
      const offset = hostIn(high, low);
      if (offset === 0 && !(isExternal && isCopied(high) && (extended || !isZero(low)))) continue;
      allocated++;
      if (expected !== 0 && offset !== expected) fragmented++;
      expected = offset + clusterBytes;
      if (isExternal) {
        if (codec.isElsewhere(table, position / entryBytes, state.guestOffset(l1Index, position)))
          this.#elsewhere(l1Index, position, high, low);
        if (active && !isCopied(high)) this.#uncopied(l1Index, position, high, low);
        continue;
      }
      if (offset % clusterBytes !== 0) {
        const content = isZero(low) && !extended ? 'preallocated' : 'data';
        state.badEntry({ kind: 'unaligned', ...this.#placeOf(l1Index, position), content, hostOffset: offset });
      }
      if (active) noteFlag(state, high, offset);
      state.reference(offset, clusterBytes);
    }
    if (!first || !active) return;
    result.allocatedClusters += allocated;
    result.fragmentedClusters += fragmented;
    result.compressedClusters += compressed;
  }

  /** Counts a reference to each of `count` clusters from `first` on, which are in the file; the entries all have the copied flag, or none has. */
  #countRun(active: boolean, first: ClusterIndex, count: number, copied: boolean): void {
    const state = this.#state;
    const { stored, start, size } = state.tally;
    const from = Math.max(0, first - start);
    const to = Math.min(size, first + count - start);
    addReferences(state, from, to);
    if (active && !areOnes(stored, from, to, copied)) state.flagMismatch = true;
  }

  /**
   * Reports what is wrong with the bitmap of an extended entry; true where it refers to nothing. The reference of a compressed one counts, unlike for qemu-img, which calls
   * the data a leak: a repair of leaks would free it.
   */
  #hasWrongBitmap(l1Index: number, table: DataView, position: number): boolean {
    const zeroes = zeroesIn(table, position);
    const data = dataIn(table, position);
    const high = table.getUint32(position);
    const compressed = isCompressed(high);
    if ((zeroes | data) === 0) return false;
    const low = table.getUint32(position + 4);
    const hostOffset = hostIn(high, low);
    const hasPlace = hostOffset !== 0 || (this.#state.layout.isExternal === true && isCopied(high));
    if (!compressed && (zeroes & data) === 0 && (hasPlace || data === 0)) return false;
    const entry = `0x${wordsToHex(high, low)}` as const;
    const content = compressed ? 'compressed' : hasPlace ? 'data' : 'none';
    const where = content === 'data' ? { hostOffset } : {};
    this.#state.badEntry({
      kind: 'subcluster-bitmap',
      ...this.#placeOf(l1Index, position),
      entry,
      content,
      ...where,
    });
    return content === 'none';
  }

  /** Reports a cluster of an external data file without the copied flag: nobody else ever refers to it. */
  #uncopied(l1Index: number, position: number, high: number, low: number): void {
    const entry = `0x${wordsToHex(high, low)}` as const;
    this.#state.corruption({ kind: 'copied-flag', ...this.#placeOf(l1Index, position), entry, refcount: 1 });
  }

  /** Reports an entry that points to another place of an external data file than its own: no reader accepts it. */
  #elsewhere(l1Index: number, position: number, high: number, low: number): void {
    const entry = `0x${wordsToHex(high, low)}` as const;
    const hostOffset = hostIn(high, low);
    this.#state.badEntry({ kind: 'not-at-guest-offset', ...this.#placeOf(l1Index, position), entry, hostOffset });
  }

  /** Fields of a finding that name an entry of an L2 table. */
  #placeOf(l1Index: number, position: number): { table: string; index: number; guestOffset: number } {
    const state = this.#state;
    return {
      table: 'l2',
      index: position / state.codec.entryBytes,
      guestOffset: state.guestOffset(l1Index, position),
    };
  }

  #countCompressed(l1Index: number, position: number, high: number, low: number): void {
    const state = this.#state;
    const { codec } = state;
    const hostOffset = codec.compressedHostExact(high, low);
    if (isCopied(high)) {
      state.badEntry({ kind: 'compressed-copied-flag', ...this.#placeOf(l1Index, position), hostOffset });
    }
    state.reference(codec.compressedHost(high, low), codec.compressedBytes(high, low), hostOffset);
  }

  /** Counts the references of the refcount table. */
  countRefcountBlocks(): void {
    const state = this.#state;
    const { refcountTable: table, clusterBytes } = state;
    const entries = table.byteLength / POINTER_BYTES;
    for (let index = 0; index < entries; index++) {
      index += state.math.zeroes(table, index * POINTER_BYTES, entries - index);
      if (index >= entries) break;
      const high = table.getUint32(index * POINTER_BYTES);
      const low = table.getUint32(index * POINTER_BYTES + 4);
      const offset = blockPointerTarget(table, index);
      const isAligned = isBlockPointerAligned(table, index, clusterBytes);
      const isInside = offset / clusterBytes < Math.ceil(state.fileLength / clusterBytes);
      if ((low & BLOCK_POINTER_RESERVED) !== 0 || !isAligned || !isInside) state.badBlocks.add(index);
      if ((low & BLOCK_POINTER_RESERVED) !== 0) {
        const entry = `0x${wordsToHex(high, low)}` as const;
        state.corruption({ kind: 'reserved-bits', table: 'refcount-table', index, entry });
      } else if (!isAligned) {
        state.corruption({ kind: 'unaligned', ...this.#blockAt(index) });
      } else if (!isInside) {
        state.corruption({ kind: 'refcount-block-outside', ...this.#blockAt(index) });
      } else if (offset !== 0) {
        this.#countRefcountBlock(index, (offset / clusterBytes) as ClusterIndex);
      }
    }
  }

  /** Fields of a finding that name the refcount block that entry `index` of the refcount table points to. */
  #blockAt(index: number): { table: string; index: number; hostOffset: Exact } {
    return { table: 'refcount-table', index, hostOffset: exact(blockPointerHex(this.#state.refcountTable, index)) };
  }

  #countRefcountBlock(index: number, cluster: ClusterIndex): void {
    const state = this.#state;
    const { start, size } = state.tally;
    if (cluster < start || cluster >= start + size) return;
    state.addReference(cluster);
    if (state.overflowed.has(cluster)) state.badBlocks.add(index);
    const references = state.tally.referencesOf(cluster);
    if (references === 1) return;
    state.badBlocks.add(index);
    state.corruptionHere({ kind: 'refcount-block-shared', ...this.#blockAt(index), cluster, references });
  }
}

// The loops over clusters are functions of their own: V8 optimises a loop that runs for long with what it has seen of its function until then.

/** Counts a reference to each cluster of the window from `from` to `to`. */
function addReferences(state: CheckState, from: number, to: number): void {
  const { references, start } = state.tally;
  const limit = Math.min(254, state.refcountMax);
  for (let index = from; index < to; index++) {
    const counted = references[index];
    if (counted < limit) references[index] = counted + 1;
    else state.addReference((start + index) as ClusterIndex);
  }
}

/** Whether all of these refcounts are one (`ones`), or none is. */
function areOnes(stored: Uint8Array, from: number, to: number, ones: boolean): boolean {
  let at = from;
  if (ones) while (at < to && stored[at] === 1) at++;
  else while (at < to && stored[at] !== 1) at++;
  return at >= to;
}
