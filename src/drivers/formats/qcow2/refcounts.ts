// Refcounts: the number of references to each cluster of the image file (specification: "Host cluster management").
//
//   header --> refcount table, in memory --> refcount blocks, in a cache --> one refcount for each cluster
//
//   refcounts.ts         looks refcounts up, and changes single ones
//   allocation.ts        finds free clusters, and allocates them
//   refcount-growth.ts   creates missing blocks, and a longer table
//   frees.ts             lowers refcounts when nothing durable refers to the clusters any more
//
// All changes are made in the cache; commit-order.ts describes when they are written.

import { assert } from '../../../util/assert.js';
import type { Qcow2Image } from './image.js';
import type { OverlapKind } from './options.js';
import { blockPointerHex, blockPointerTarget } from './pointer-codec.js';
import { PointerTable } from './pointer-table.js';
import {
  countRefcounts,
  fillRefcounts,
  getRefcount,
  refcountByteRange,
  scanRefcounts,
  setRefcount,
} from './refcount-codec.js';
import { type Table, TableCache } from './table-cache.js';
import { reserveTable } from './table-space.js';
import { type ClusterIndex, hostOf } from './types.js';

export class Refcounts {
  readonly #image: Qcow2Image;
  readonly table: PointerTable;
  readonly blocks: TableCache;
  readonly #order: number;
  readonly #perBlock: number;
  readonly #clusterSize: number;
  #making: Promise<void> | null = null;
  /** Called for each cluster that becomes free. */
  onFree: (cluster: ClusterIndex) => void = () => {};

  constructor(image: Qcow2Image, cacheBlocks: number) {
    this.#image = image;
    const { header, geometry } = image;
    this.#order = geometry.refcountOrder;
    this.#perBlock = geometry.blockEntries;
    this.#clusterSize = geometry.clusterSize;
    const entries = (header.refcountTableClusters * geometry.clusterSize) / 8;
    this.table = new PointerTable(header.refcountTableOffset, entries);
    this.blocks = new TableCache(image.memory, geometry.clusterSize, cacheBlocks);
  }

  async load(): Promise<void> {
    await this.#image.file.read(this.table.offset, this.table.bytes, 'reftable_load');
  }

  // ---- blocks -------------------------------------------------------------------------------------------------

  /** Index of the block with the refcount of `cluster`. */
  indexOf(cluster: ClusterIndex): number {
    return Math.floor(cluster / this.#perBlock);
  }

  /** The block: null where the table has none, undefined where it must be loaded first (`loadBlock`, then ask again). */
  blockSync(index: number): Table | null | undefined {
    const block = this.blocks.get(index);
    if (block !== undefined) return block;
    return index >= this.table.entries || this.table.target(index) === 0 ? null : undefined;
  }

  /** Loads block `index` into the cache. `mayCommit` is false inside a commit: then the cache may exceed its limit. */
  async loadBlock(index: number, mayCommit: boolean): Promise<void> {
    if (mayCommit && this.blocks.mustCommit) await this.#image.commit();
    const offset = this.table.target(index);
    const isCut = blockPointerTarget(this.table.view, index) !== offset;
    if (isCut || offset % this.#clusterSize !== 0 || offset >= this.#image.file.length) {
      const text = blockPointerHex(this.table.view, index);
      throw await this.#image.corrupt(`Refblock offset ${text} invalid (reftable index: ${index})`, offset);
    }
    await this.blocks.load(index, offset, (bytes) => this.#image.file.read(offset, bytes, 'refblock_load'));
  }

  /** Reserves the space of `block`, which may be changed afterwards. Rejects with `corrupt-image`, `no-space`, `io`. */
  reserveBlock(block: Table): Promise<void> {
    return this.makeOne(() => reserveTable(this.#image, block, 'refcount-block'));
  }

  /** True while a block is being created, in a cluster that has no refcount yet. */
  get making(): boolean {
    return this.#making !== null;
  }

  /** Runs `action`, which creates or reserves a block; one at a time. Where one is running, waits for its end instead: the caller checks again then. */
  async makeOne(action: () => Promise<void>): Promise<void> {
    if (this.#making !== null) {
      // The caller that started the action gets its failure.
      await this.#making.catch(() => undefined);
      return;
    }
    this.#making = action().finally(() => {
      this.#making = null;
    });
    await this.#making;
  }

  /** The kind of metadata in these clusters; null for none, or for `ignored`. The header is always known, even where overlap checks are off. */
  metadataIn(cluster: ClusterIndex, count: number, ignored: OverlapKind | null = null): OverlapKind | null {
    if (cluster === 0) return 'main-header';
    const { geometry, metadata } = this.#image;
    return metadata.overlap(hostOf(cluster, geometry), (cluster + count) * this.#clusterSize, ignored);
  }

  // ---- looking up ---------------------------------------------------------------------------------------------

  /** Refcount of one cluster. Rejects with `corrupt-image`, `io`. */
  async get(cluster: ClusterIndex, mayCommit = true): Promise<number> {
    const index = this.indexOf(cluster);
    for (;;) {
      const block = this.blockSync(index);
      if (block !== undefined) return block === null ? 0 : this.valueIn(block, cluster);
      await this.loadBlock(index, mayCommit);
    }
  }

  /** Refcount of `cluster`, which is in `block`. */
  valueIn(block: Table, cluster: ClusterIndex): number {
    return getRefcount(block.view, this.#order, cluster % this.#perBlock);
  }

  /** The first run of `want` free entries of `block` from `from`, or a shorter one that reaches the end of the block. */
  findFree(block: Table, from: number, want: number): { start: number; count: number } | null {
    let start = from;
    for (;;) {
      start = scanRefcounts(block.view, this.#order, start, this.#perBlock, true);
      if (start >= this.#perBlock) return null;
      const end = scanRefcounts(block.view, this.#order, start, Math.min(this.#perBlock, start + want), false);
      if (end - start >= want || end === this.#perBlock) return { start, count: end - start };
      start = end;
    }
  }

  /** The cluster after the last one with a refcount. May be called inside a commit. */
  async endOfUse(): Promise<ClusterIndex> {
    for (let index = this.table.entries - 1; index >= 0; index--) {
      while (this.blockSync(index) === undefined) await this.loadBlock(index, false);
      const block = this.blockSync(index);
      if (!block) continue;
      for (let i = this.#perBlock - 1; i >= 0; i--) {
        if (getRefcount(block.view, this.#order, i) !== 0) return (index * this.#perBlock + i + 1) as ClusterIndex;
      }
    }
    return 0 as ClusterIndex;
  }

  /** True where at least `enough` of the clusters before `end` have a refcount. Reads no more than it needs, and does not use the cache. */
  async areUsed(end: number, enough: number): Promise<boolean> {
    const size = this.#clusterSize;
    const bytes = new Uint8Array(size);
    let used = 0;
    for (let index = 0, start = 0; used < enough && used + end - start >= enough; index++, start += this.#perBlock) {
      const block = this.blockSync(index);
      if (block === null) continue;
      const offset = this.table.target(index);
      if (offset % size !== 0 || offset >= this.#image.file.length) continue;
      if (block === undefined) await this.#image.file.read(offset, bytes);
      used += countRefcounts(block?.bytes ?? bytes, this.#order, Math.min(this.#perBlock, end - start));
    }
    return used >= enough;
  }

  // ---- changing -----------------------------------------------------------------------------------------------

  /** Sets the refcounts of `count` free clusters, from entry `start` of `block` on, to one. */
  take(block: Table, start: number, count: number): void {
    assert(block.reserved, 'a refcount block is changed once it has a place of its own');
    assert(count > 0 && start + count <= this.#perBlock, 'a run lies within its refcount block');
    const last = start + count - 1;
    assert(
      getRefcount(block.view, this.#order, start) === 0 && getRefcount(block.view, this.#order, last) === 0,
      'only free clusters are allocated',
    );
    fillRefcounts(block.bytes, this.#order, start, count, 1);
    const [from, to] = refcountByteRange(this.#order, start, count);
    this.blocks.markDirty(block, from, to);
  }

  /** Adds one reference to `cluster`; false where its refcount has the largest value already. */
  raise(block: Table, cluster: ClusterIndex): boolean {
    const value = this.valueIn(block, cluster);
    if (value >= this.#image.geometry.refcountMax) return false;
    this.#set(block, cluster, value + 1);
    return true;
  }

  /** Removes one reference to `cluster`; false where it has none. */
  lower(block: Table, cluster: ClusterIndex): boolean {
    const value = this.valueIn(block, cluster);
    if (value === 0) return false;
    this.#set(block, cluster, value - 1);
    if (value === 1) this.onFree(cluster);
    return true;
  }

  #set(block: Table, cluster: ClusterIndex, value: number): void {
    assert(block.reserved, 'a refcount block is changed once it has a place of its own');
    const slot = cluster % this.#perBlock;
    setRefcount(block.view, this.#order, slot, value);
    const [from, to] = refcountByteRange(this.#order, slot, 1);
    this.blocks.markDirty(block, from, to);
  }
}
