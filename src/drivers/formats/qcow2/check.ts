// Consistency check of a qcow2 image: counts how often each host cluster is referenced and compares that with the refcounts.
//
//   header, L1 -> L2 -> data    \
//   refcount table -> blocks     >  references   <-- compare -->   stored refcounts
//                               /
// All tables are read in runs and looked at as raw bytes. Memory is bounded: host clusters are worked off in windows, and an
// image of more clusters than one window is walked once a window. Findings are said in qemu-img's words, in its order.

import type { Child } from '../../../block/child.js';
import type { CheckResult } from '../../../block/info.js';
import { BlockError } from '../../../util/errors.js';
import { hasReservedBits, hostIn, isCompressed, isCopied, isZero, L2Codec } from './l2-codec.js';
import { blockPointerTarget, pointerTarget, wordsToHex } from './pointer-codec.js';
import { RefcountTally, readPadded } from './refcount-tally.js';

/** What the check needs of a header that has been validated. */
export interface CheckLayout {
  version: 2 | 3;
  clusterBits: number;
  /** Guest bytes. */
  size: number;
  l1TableOffset: number;
  /** Entries. */
  l1Size: number;
  refcountTableOffset: number;
  refcountTableClusters: number;
  /** log2 of the refcount width in bits. */
  refcountOrder: number;
  /** What else is in use, bytes: bitmaps. */
  regions?: readonly { offset: number; length: number }[];
}

/** Clusters of one window: two bytes each are held. */
const WINDOW_CLUSTERS = 1 << 26;
/** Windows at most; a file with more clusters is refused. */
const MAX_WINDOWS = 64;
/** L2 tables that are used more than once, before the image counts as beyond checking. */
const MAX_SHARED_TABLES = 4096;
/** L2 tables in flight at once, bytes. */
const READ_AHEAD_BYTES = 4 << 20;

/** Bits of an L1 entry that must be zero, as high and low half. */
const L1_RESERVED = [0x7f000000, 0x1ff] as const;
/** Bits of a refcount table entry that must be zero, low half. */
const BLOCK_POINTER_RESERVED = 0x1ff;

/**
 * Checks the image in `file`. Rejects with `io`, and with `limit` where it is too large or too broken. `windowClusters` is
 * for tests.
 */
export async function checkQcow2(
  file: Child,
  layout: CheckLayout,
  report: (finding: string) => void,
  windowClusters = WINDOW_CLUSTERS,
): Promise<CheckResult> {
  return new Check(file, layout, report, windowClusters).run();
}

/** Is visited with every L1 entry that points to an L2 table, and the table where it has content. */
type TableVisitor = (index: number, high: number, low: number, offset: number, table: DataView | null) => void;

class Check {
  readonly #file: Child;
  readonly #layout: CheckLayout;
  readonly #report: (finding: string) => void;
  readonly #windowClusters: number;
  readonly #clusterBytes: number;
  readonly #codec: L2Codec;
  readonly #result: CheckResult;
  /** Clusters of the file; a last cluster that lies partly behind its end makes it one more. */
  #clusterCount: number;
  /** Largest count that the refcount width can hold. */
  readonly #refcountMax: number;
  #l1: DataView = new DataView(new ArrayBuffer(0));
  #refcountTable: DataView = new DataView(new ArrayBuffer(0));
  #tally!: RefcountTally;
  /** The walk over the first window also reports and counts what is no matter of one window. */
  #first = true;
  /** Some entry of the window does not go with the refcount of its cluster: the second walk says which. */
  #flagMismatch = false;
  #sharedTables = 0;
  #highest = 0;
  #saidUnreadable = false;

  constructor(file: Child, layout: CheckLayout, report: (finding: string) => void, windowClusters: number) {
    this.#windowClusters = windowClusters;
    this.#file = file;
    this.#layout = layout;
    this.#report = report;
    this.#clusterBytes = 2 ** layout.clusterBits;
    this.#codec = new L2Codec(layout.version, layout.clusterBits);
    this.#clusterCount = Math.ceil(file.length / this.#clusterBytes);
    this.#refcountMax = layout.refcountOrder >= 5 ? Number.MAX_SAFE_INTEGER : 2 ** (2 ** layout.refcountOrder) - 1;
    this.#result = {
      checkErrors: 0,
      corruptions: 0,
      leaks: 0,
      imageEndOffset: 0,
      totalClusters: Math.ceil(layout.size / this.#clusterBytes),
      allocatedClusters: 0,
      fragmentedClusters: 0,
      compressedClusters: 0,
    };
    if (this.#clusterCount > windowClusters * MAX_WINDOWS) {
      throw BlockError.at(file.filename, 'limit', `${this.#clusterCount} clusters are too many to check`, {
        operation: 'check',
      });
    }
  }

  async run(): Promise<CheckResult> {
    const { l1TableOffset, l1Size, refcountTableOffset, refcountTableClusters } = this.#layout;
    this.#l1 = await this.#readTable(l1TableOffset, l1Size * 8);
    this.#refcountTable = await this.#readTable(refcountTableOffset, refcountTableClusters * this.#clusterBytes);
    // One cluster more: the last one may lie partly behind the end of the file.
    const limit = this.#clusterCount + 1;
    for (let start = 0; start < limit; start += this.#windowClusters) {
      await this.#checkWindow(start, Math.min(this.#windowClusters, limit - start));
      this.#first = false;
    }
    this.#result.imageEndOffset = (this.#highest + 1) * this.#clusterBytes;
    return this.#result;
  }

  async #checkWindow(start: number, size: number): Promise<void> {
    const { l1TableOffset, l1Size, refcountTableOffset, refcountTableClusters, refcountOrder } = this.#layout;
    const refcounts = { clusterBytes: this.#clusterBytes, refcountOrder, table: this.#refcountTable };
    this.#tally = new RefcountTally(this.#file, refcounts, start, size);
    this.#flagMismatch = false;
    await this.#tally.load();
    this.#reference(0, this.#clusterBytes);
    this.#reference(l1TableOffset, l1Size * 8);
    await this.#visitTables((index, high, low, offset, table) => this.#countTable(index, high, low, offset, table));
    for (const { offset, length } of this.#layout.regions ?? []) this.#reference(offset, length);
    this.#reference(refcountTableOffset, refcountTableClusters * this.#clusterBytes);
    this.#countRefcountBlocks();
    await this.#compare();
    if (this.#flagMismatch) await this.#reportFlags();
  }

  // ---- counting -----------------------------------------------------------------------------------------------

  /** Counts a reference to every cluster of the range. `offsetText` is for offsets that no number holds exactly. */
  #reference(offset: number, size: number, offsetText?: string): void {
    const clusterBytes = this.#clusterBytes;
    if (size === 0) return;
    if (offset + size - this.#file.length >= clusterBytes) {
      this.#corruption(
        'ERROR: counting reference for region exceeding the end of the file by one cluster or more: ' +
          `offset 0x${offsetText ?? offset.toString(16)} size 0x${size.toString(16)}`,
      );
      return;
    }
    const last = Math.floor((offset + size - 1) / clusterBytes);
    for (let cluster = Math.floor(offset / clusterBytes); cluster <= last; cluster++) this.#addReference(cluster);
  }

  #addReference(cluster: number): void {
    const tally = this.#tally;
    const index = cluster - tally.start;
    if (index < 0 || index >= tally.size) return;
    if (cluster >= this.#clusterCount) this.#clusterCount = cluster + 1;
    if (tally.references[index] >= this.#refcountMax && tally.referencesOf(cluster) >= this.#refcountMax) {
      this.#corruptionHere(`ERROR: overflow cluster offset=0x${(cluster * this.#clusterBytes).toString(16)}`);
      this.#report(
        'Use qemu-img amend to increase the refcount entry width or qemu-img convert to create a clean copy if the ' +
          'image cannot be opened for writing',
      );
      return;
    }
    tally.addReference(cluster);
  }

  #countTable(index: number, high: number, low: number, offset: number, table: DataView | null): void {
    if (this.#first && ((high & L1_RESERVED[0]) !== 0 || (low & L1_RESERVED[1]) !== 0)) {
      this.#corruption(`ERROR found L1 entry with reserved bits set: ${wordsToHex(high, low)}`);
    }
    this.#reference(offset, this.#clusterBytes);
    if (offset % this.#clusterBytes !== 0) {
      this.#corruption(`ERROR l2_offset=${offset.toString(16)}: Table is not cluster aligned; L1 entry corrupted`);
    }
    this.#checkShared(index, offset);
    this.#noteFlag(high, offset);
    if (table !== null) this.#countEntries(table);
  }

  /** A table that many L1 entries share makes the walk as long as somebody wishes: there is an end to it. */
  #checkShared(index: number, offset: number): void {
    const cluster = Math.floor(offset / this.#clusterBytes);
    const at = cluster - this.#tally.start;
    if (at < 0 || at >= this.#tally.size || this.#tally.references[at] < 2) return;
    if (++this.#sharedTables <= MAX_SHARED_TABLES) return;
    throw BlockError.at(
      this.#file.filename,
      'limit',
      `L2 tables overlap at more than ${MAX_SHARED_TABLES} places (L1 entry ${index}, offset ${offset})`,
      { offset, operation: 'check' },
    );
  }

  /** The hot loop: every entry of one L2 table. */
  #countEntries(table: DataView): void {
    const clusterBytes = this.#clusterBytes;
    const tally = this.#tally;
    const { references, stored, start, size } = tally;
    const first = this.#first;
    const fastLimit = this.#file.length - clusterBytes;
    const fastCount = Math.min(254, this.#refcountMax);
    let allocated = 0;
    let fragmented = 0;
    let expected = 0;
    const { entryBytes } = this.#codec;
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
        this.#corruption(`ERROR found l2 entry with reserved bits set: ${wordsToHex(high, low)}`);
      }
      const offset = hostIn(high, low);
      if (offset === 0) continue;
      allocated++;
      if (expected !== 0 && offset !== expected) fragmented++;
      expected = offset + clusterBytes;
      const cluster = offset / clusterBytes;
      const index = cluster - start;
      if (offset <= fastLimit && Number.isInteger(cluster)) {
        if (index < 0 || index >= size) continue;
        if ((stored[index] === 1) !== isCopied(high)) this.#flagMismatch = true;
        if (references[index] < fastCount) references[index]++;
        else this.#addReference(cluster);
        continue;
      }
      if (!Number.isInteger(cluster)) {
        const kind = isZero(low) ? 'Preallocated' : 'Data';
        this.#corruption(
          `ERROR offset=${offset.toString(16)}: ${kind} cluster is not properly aligned; L2 entry corrupted.`,
        );
      }
      this.#noteFlag(high, offset);
      this.#reference(offset, clusterBytes);
    }
    if (!first) return;
    this.#result.allocatedClusters += allocated;
    this.#result.fragmentedClusters += fragmented;
  }

  #countCompressed(high: number, low: number): void {
    const codec = this.#codec;
    const offsetText = codec.compressedHostHex(high, low);
    if (this.#first) this.#result.compressedClusters++;
    if (isCopied(high)) {
      this.#corruption(`ERROR: coffset=0x${offsetText}: copied flag must never be set for compressed clusters`);
    }
    this.#reference(codec.compressedHost(high, low), codec.compressedBytes(high, low), offsetText);
  }

  #countRefcountBlocks(): void {
    const table = this.#refcountTable;
    const clusterBytes = this.#clusterBytes;
    for (let index = 0; index * 8 < table.byteLength; index++) {
      const high = table.getUint32(index * 8);
      const low = table.getUint32(index * 8 + 4);
      if (high === 0 && low === 0) continue;
      const offset = blockPointerTarget(table, index);
      if ((low & BLOCK_POINTER_RESERVED) !== 0) {
        this.#corruption(`ERROR refcount table entry ${index} has reserved bits set`);
      } else if (offset % clusterBytes !== 0) {
        this.#corruption(`ERROR refcount block ${index} is not cluster aligned; refcount table entry corrupted`);
      } else if (offset / clusterBytes >= Math.ceil(this.#file.length / clusterBytes)) {
        this.#corruption(`ERROR refcount block ${index} is outside image`);
      } else if (offset !== 0) {
        this.#countRefcountBlock(index, offset / clusterBytes);
      }
    }
  }

  #countRefcountBlock(index: number, cluster: number): void {
    const { start, size } = this.#tally;
    if (cluster < start || cluster >= start + size) return;
    this.#addReference(cluster);
    const count = this.#tally.referencesOf(cluster);
    if (count !== 1) this.#corruptionHere(`ERROR refcount block ${index} refcount=${count}`);
  }

  // ---- comparing ----------------------------------------------------------------------------------------------

  async #compare(): Promise<void> {
    const tally = this.#tally;
    const end = Math.min(tally.start + tally.size, this.#clusterCount);
    const { references, stored, start } = tally;
    for (let cluster = start; cluster < end; cluster++) {
      const index = cluster - start;
      const reference = references[index];
      const refcount = stored[index];
      if (reference < 254 && reference === refcount) {
        if (reference !== 0) this.#highest = cluster;
        continue;
      }
      await this.#compareOne(cluster);
    }
  }

  async #compareOne(cluster: number): Promise<void> {
    const tally = this.#tally;
    const refcount = await tally.exactRefcount(cluster);
    if (refcount === null) {
      if (!this.#saidUnreadable) {
        this.#saidUnreadable = true;
        this.#report(
          `qcow2: Image is corrupt: Refblock offset 0x${tally.blockOffset(cluster).toString(16)} unaligned (reftable ` +
            `index: ${tally.blockIndex(cluster)}); further non-fatal corruption events will be suppressed`,
        );
      }
      this.#report(`Can't get refcount for cluster ${cluster}: Input/output error`);
      this.#result.checkErrors++;
      return;
    }
    const references = tally.referencesOf(cluster);
    this.#highest = cluster;
    if (references === refcount) return;
    const numbers = `cluster ${cluster} refcount=${refcount} reference=${references}`;
    if (references < refcount) {
      this.#result.leaks++;
      this.#report(`Leaked ${numbers}`);
    } else {
      this.#corruptionHere(`ERROR ${numbers}`);
    }
  }

  // ---- the "copied" flag --------------------------------------------------------------------------------------

  /** Notes where the flag "refcount is exactly one" may not be what the refcount says. */
  #noteFlag(high: number, offset: number): void {
    if (this.#isSuspect(high, offset)) this.#flagMismatch = true;
  }

  /** Of a cluster behind the end of the file (and so of no window), only the refcount block itself can tell. */
  #isSuspect(high: number, offset: number): boolean {
    const { start, size, stored } = this.#tally;
    const cluster = Math.floor(offset / this.#clusterBytes);
    const index = cluster - start;
    if (index >= 0 && index < size) return (stored[index] === 1) !== isCopied(high);
    return this.#first && cluster > Math.ceil(this.#file.length / this.#clusterBytes);
  }

  async #reportFlags(): Promise<void> {
    const suspects: { text: string; cluster: number; copied: boolean }[] = [];
    const suspect = (text: string, high: number, offset: number): void => {
      suspects.push({ text, cluster: Math.floor(offset / this.#clusterBytes), copied: isCopied(high) });
    };
    const say = async (): Promise<void> => {
      for (const { text, cluster, copied } of suspects.splice(0)) {
        const refcount = await this.#tally.exactRefcount(cluster);
        if (refcount === null || (refcount === 1) === copied) continue;
        this.#corruptionHere(`ERROR OFLAG_COPIED ${text} refcount=${refcount}`);
      }
    };
    await this.#visitTables((index, high, low, offset, table) => {
      if (this.#isSuspect(high, offset)) {
        suspect(`L2 cluster: l1_index=${index} l1_entry=${wordsToHex(high, low)}`, high, offset);
      }
      const { entryBytes } = this.#codec;
      for (let position = 0; table !== null && position < table.byteLength; position += entryBytes) {
        const entryHigh = table.getUint32(position);
        const entryLow = table.getUint32(position + 4);
        if (isCompressed(entryHigh)) continue;
        const data = hostIn(entryHigh, entryLow);
        if (data === 0 || !this.#isSuspect(entryHigh, data)) continue;
        suspect(`data cluster: l2_entry=${wordsToHex(entryHigh, entryLow)}`, entryHigh, data);
      }
    }, say);
  }

  // ---- reading ------------------------------------------------------------------------------------------------

  async #readTable(offset: number, bytes: number): Promise<DataView> {
    const buffer = new Uint8Array(bytes);
    await readPadded(this.#file, offset, buffer);
    return new DataView(buffer.buffer);
  }

  /** Visits all L2 tables in the order of the L1 table; `afterRound` runs after each batch of them. */
  async #visitTables(visit: TableVisitor, afterRound?: () => Promise<void>): Promise<void> {
    const clusterBytes = this.#clusterBytes;
    const perRound = Math.max(1, Math.floor(READ_AHEAD_BYTES / clusterBytes));
    const buffers: Uint8Array[] = [];
    const l1 = this.#l1;
    for (let index = 0; index * 8 < l1.byteLength; ) {
      const round: { index: number; high: number; low: number; offset: number }[] = [];
      for (; index * 8 < l1.byteLength && round.length < perRound; index++) {
        const high = l1.getUint32(index * 8);
        const low = l1.getUint32(index * 8 + 4);
        const offset = pointerTarget(l1, index);
        if (offset !== 0) round.push({ index, high, low, offset });
      }
      await Promise.all(
        round.map(({ offset }, slot) => {
          if (offset >= this.#file.length) return undefined;
          buffers[slot] ??= new Uint8Array(clusterBytes);
          return readPadded(this.#file, offset, buffers[slot]);
        }),
      );
      for (const [slot, { index: at, high, low, offset }] of round.entries()) {
        const table = offset >= this.#file.length ? null : new DataView(buffers[slot].buffer);
        visit(at, high, low, offset, table);
      }
      await afterRound?.();
    }
  }

  // ---- findings -----------------------------------------------------------------------------------------------

  /** A finding that every window's walk comes across. */
  #corruption(finding: string): void {
    if (this.#first) this.#corruptionHere(finding);
  }

  #corruptionHere(finding: string): void {
    this.#result.corruptions++;
    this.#report(finding);
  }
}
