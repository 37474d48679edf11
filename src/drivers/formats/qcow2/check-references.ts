// Counting: every table entry of an image is one reference to the clusters that it points to.
//
//   L1 entry --> L2 table      L2 entry --> guest cluster, or compressed data      refcount table entry --> refcount block

import { BlockError } from '../../../util/errors.js';
import { noteFlag } from './check-flags.js';
import type { CheckState } from './check-state.js';
import { type TablePointer, visitTables } from './check-tables.js';
import { hasReservedBits, hostIn, isCompressed, isCopied, isZero } from './l2-codec.js';
import { blockPointerTarget, POINTER_BYTES, wordsToHex } from './pointer-codec.js';
import type { ClusterIndex, HostOffset } from './types.js';

/** L2 tables that are used more than once, before the image counts as beyond checking. */
const MAX_SHARED_TABLES = 4096;
/** Bits of an L1 entry that must be zero, as high and low half. */
const L1_RESERVED = [0x7f000000, 0x1ff] as const;
/** Bits of a refcount table entry that must be zero, low half. */
const BLOCK_POINTER_RESERVED = 0x1ff;

export class ReferenceCounter {
  readonly #state: CheckState;
  #sharedTables = 0;

  constructor(state: CheckState) {
    this.#state = state;
  }

  /** Counts all references of L1 and L2 tables to the window. Rejects with `limit` where L2 tables overlap too often, `io`. */
  async countMapping(): Promise<void> {
    await visitTables(this.#state, (pointer, table) => this.#countTable(pointer, table));
  }

  #countTable({ index, high, low, offset }: TablePointer, table: DataView | null): void {
    const state = this.#state;
    if (state.first && ((high & L1_RESERVED[0]) !== 0 || (low & L1_RESERVED[1]) !== 0)) {
      state.corruption(`ERROR found L1 entry with reserved bits set: ${wordsToHex(high, low)}`);
    }
    state.reference(offset, state.clusterBytes);
    if (offset % state.clusterBytes !== 0) {
      state.corruption(`ERROR l2_offset=${offset.toString(16)}: Table is not cluster aligned; L1 entry corrupted`);
    }
    this.#checkShared(index, offset);
    noteFlag(state, high, offset);
    if (table !== null) this.#countEntries(table);
  }

  /** A table that many L1 entries share makes the walk as long as somebody wishes: there is an end to it. */
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

  /** The hot loop: every entry of one L2 table. */
  #countEntries(table: DataView): void {
    const state = this.#state;
    const { clusterBytes, first, refcountMax, result } = state;
    const { references, stored, start, size } = state.tally;
    const fastLimit = state.file.length - clusterBytes;
    const fastCount = Math.min(254, refcountMax);
    const { entryBytes } = state.codec;
    let allocated = 0;
    let fragmented = 0;
    let expected = 0;
    for (let position = 0; position < table.byteLength; position += entryBytes) {
      const high = table.getUint32(position);
      const low = table.getUint32(position + 4);
      if (high === 0 && low === 0) continue;
      if (isCompressed(high)) {
        allocated++;
        fragmented++;
        this.#countCompressed(high, low);
        continue;
      }
      if (first && hasReservedBits(high, low)) {
        state.corruption(`ERROR found l2 entry with reserved bits set: ${wordsToHex(high, low)}`);
      }
      const offset = hostIn(high, low);
      if (offset === 0) continue;
      allocated++;
      if (expected !== 0 && offset !== expected) fragmented++;
      expected = offset + clusterBytes;
      const cluster = (offset / clusterBytes) as ClusterIndex;
      const index = cluster - start;
      if (offset <= fastLimit && Number.isInteger(cluster)) {
        if (index < 0 || index >= size) continue;
        if ((stored[index] === 1) !== isCopied(high)) state.flagMismatch = true;
        if (references[index] < fastCount) references[index]++;
        else state.addReference(cluster);
        continue;
      }
      if (!Number.isInteger(cluster)) {
        const kind = isZero(low) ? 'Preallocated' : 'Data';
        state.corruption(
          `ERROR offset=${offset.toString(16)}: ${kind} cluster is not properly aligned; L2 entry corrupted.`,
        );
      }
      noteFlag(state, high, offset);
      state.reference(offset, clusterBytes);
    }
    if (!first) return;
    result.allocatedClusters += allocated;
    result.fragmentedClusters += fragmented;
  }

  #countCompressed(high: number, low: number): void {
    const state = this.#state;
    const { codec } = state;
    const offsetText = codec.compressedHostHex(high, low);
    if (state.first) state.result.compressedClusters++;
    if (isCopied(high)) {
      state.corruption(`ERROR: coffset=0x${offsetText}: copied flag must never be set for compressed clusters`);
    }
    state.reference(codec.compressedHost(high, low), codec.compressedBytes(high, low), offsetText);
  }

  /** Counts the references of the refcount table. */
  countRefcountBlocks(): void {
    const state = this.#state;
    const { refcountTable: table, clusterBytes } = state;
    for (let index = 0; index * POINTER_BYTES < table.byteLength; index++) {
      const high = table.getUint32(index * POINTER_BYTES);
      const low = table.getUint32(index * POINTER_BYTES + 4);
      if (high === 0 && low === 0) continue;
      const offset = blockPointerTarget(table, index);
      if ((low & BLOCK_POINTER_RESERVED) !== 0) {
        state.corruption(`ERROR refcount table entry ${index} has reserved bits set`);
      } else if (offset % clusterBytes !== 0) {
        state.corruption(`ERROR refcount block ${index} is not cluster aligned; refcount table entry corrupted`);
      } else if (offset / clusterBytes >= Math.ceil(state.file.length / clusterBytes)) {
        state.corruption(`ERROR refcount block ${index} is outside image`);
      } else if (offset !== 0) {
        this.#countRefcountBlock(index, (offset / clusterBytes) as ClusterIndex);
      }
    }
  }

  #countRefcountBlock(index: number, cluster: ClusterIndex): void {
    const state = this.#state;
    const { start, size } = state.tally;
    if (cluster < start || cluster >= start + size) return;
    state.addReference(cluster);
    const count = state.tally.referencesOf(cluster);
    if (count !== 1) state.corruptionHere(`ERROR refcount block ${index} refcount=${count}`);
  }
}
