// Refcounts: how many references there are to each cluster of the image file.
//
//   header --> refcount table, in memory --> refcount blocks, in a cache --> one refcount for each cluster
//
//   refcounts.ts         looks refcounts up, and changes single ones
//   allocation.ts        finds free clusters, and takes them
//   refcount-growth.ts   makes blocks where there are none, and a longer table
//   frees.ts             lowers what nothing durable refers to any more
//
// All changes are made in the cache; commit-order.ts says when they are written.

import { assert } from '../../../util/assert.js';
import type { Qcow2Image } from './image.js';
import { blockPointerHex, blockPointerTarget } from './pointer-codec.js';
import { PointerTable } from './pointer-table.js';
import {
  countRefcounts,
  fillRefcountOnes,
  getRefcount,
  refcountByteRange,
  scanRefcounts,
  setRefcount,
} from './refcount-codec.js';
import { type Table, TableCache } from './table-cache.js';
import { solidify } from './table-space.js';
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
    await this.#image.file.read(this.table.offset, this.table.bytes);
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

  /** Brings block `index` into the cache. `mayCommit` is false inside a commit: the cache exceeds its limit rather. */
  async loadBlock(index: number, mayCommit: boolean): Promise<void> {
    if (mayCommit && this.blocks.mustCommit) await this.#image.commit();
    const offset = this.table.target(index);
    const isCut = blockPointerTarget(this.table.view, index) !== offset;
    if (isCut || offset % this.#clusterSize !== 0 || offset >= this.#image.file.length) {
      const text = blockPointerHex(this.table.view, index);
      throw await this.#image.corrupt(`Refblock offset ${text} invalid (reftable index: ${index})`, offset);
    }
    await this.blocks.load(index, offset, (bytes) => this.#image.file.read(offset, bytes));
  }

  async #block(index: number, mayCommit: boolean): Promise<Table | null> {
    let block = this.blockSync(index);
    while (block === undefined) {
      await this.loadBlock(index, mayCommit);
      block = this.blockSync(index);
    }
    return block;
  }

  /** `block` may be changed when this resolves. Rejects with `corrupt-image`, `no-space`, `io`. */
  solidifyBlock(block: Table): Promise<void> {
    return this.makeOne(() => solidify(this.#image, block, 'refcount-block'));
  }

  /** A block is being made, in a cluster that nothing counts yet. */
  get making(): boolean {
    return this.#making !== null;
  }

  /** Blocks are made and given space one at a time. Callers that wait for another one's block look again; its failure is not theirs. */
  async makeOne(action: () => Promise<void>): Promise<void> {
    if (this.#making !== null) {
      // The failure is thrown to the caller that began it.
      await this.#making.catch(() => undefined);
      return;
    }
    this.#making = action().finally(() => {
      this.#making = null;
    });
    await this.#making;
  }

  /** The metadata in these clusters, null for none. Clusters with metadata are never free. The header is there even if nobody asked for checks. */
  metadataIn(cluster: ClusterIndex, count: number): string | null {
    if (cluster === 0) return 'main-header';
    return this.#image.metadata.overlap(hostOf(cluster, this.#image.geometry), (cluster + count) * this.#clusterSize);
  }

  // ---- looking up ---------------------------------------------------------------------------------------------

  /** Refcount of one cluster. Rejects with `corrupt-image`, `io`. */
  async get(cluster: ClusterIndex, mayCommit = true): Promise<number> {
    const block = await this.#block(this.indexOf(cluster), mayCommit);
    return block === null ? 0 : this.valueIn(block, cluster);
  }

  /** Refcount of `cluster`, which `block` counts. */
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

  /** One after the last cluster with a refcount. Asks for no commit. */
  async endOfUse(): Promise<ClusterIndex> {
    for (let index = this.table.entries - 1; index >= 0; index--) {
      const block = await this.#block(index, false);
      if (block === null) continue;
      for (let i = this.#perBlock - 1; i >= 0; i--) {
        if (getRefcount(block.view, this.#order, i) !== 0) return (index * this.#perBlock + i + 1) as ClusterIndex;
      }
    }
    return 0 as ClusterIndex;
  }

  /** Whether at least `enough` of the clusters before `end` have a refcount. Looks no further than it must, and takes no place in the cache. */
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
    assert(block.solid, 'a refcount block is changed once it has a place of its own');
    assert(count > 0 && start + count <= this.#perBlock, 'a run lies within its refcount block');
    const last = start + count - 1;
    assert(
      getRefcount(block.view, this.#order, start) === 0 && getRefcount(block.view, this.#order, last) === 0,
      'only free clusters are allocated',
    );
    fillRefcountOnes(block.bytes, this.#order, start, count);
    const [from, to] = refcountByteRange(this.#order, start, count);
    this.blocks.markDirty(block, from, to);
  }

  /** One reference more to `cluster`; false where the width of refcounts holds no more. */
  raise(block: Table, cluster: ClusterIndex): boolean {
    const value = this.valueIn(block, cluster);
    if (value >= this.#image.geometry.refcountMax) return false;
    this.#set(block, cluster, value + 1);
    return true;
  }

  /** One reference less to `cluster`; false where it has none. */
  lower(block: Table, cluster: ClusterIndex): boolean {
    const value = this.valueIn(block, cluster);
    if (value === 0) return false;
    this.#set(block, cluster, value - 1);
    if (value === 1) this.onFree(cluster);
    return true;
  }

  #set(block: Table, cluster: ClusterIndex, value: number): void {
    assert(block.solid, 'a refcount block is changed once it has a place of its own');
    const slot = cluster % this.#perBlock;
    setRefcount(block.view, this.#order, slot, value);
    const [from, to] = refcountByteRange(this.#order, slot, 1);
    this.blocks.markDirty(block, from, to);
  }
}
