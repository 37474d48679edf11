// The refcounts of a damaged image, as far as they can be read. They say no more than whether a cluster was in use, and by how many; nothing that is salvaged
// depends on them.

import type { Child } from '../../../block/child.js';
import { viewOf } from '../../../util/bytes.js';
import { blockPointerTarget, POINTER_BYTES } from './pointer-codec.js';
import { getRefcount } from './refcount-codec.js';
import type { Claims } from './salvage-claims.js';
import { eachTableCluster, readWhatCan } from './salvage-read.js';
import { type Geometry, MAX_REFCOUNT_TABLE_BYTES } from './types.js';

/** Blocks that are kept. */
const MAX_BLOCKS = 8;

/** Refcounts of a block that are larger than this are none: so many snapshots, or compressed clusters in one cluster, are rare. */
const MAX_LIKELY = 8192;

export class SalvagedRefcounts {
  readonly #file: Child;
  readonly #geometry: Geometry;
  readonly #table: DataView;
  /** By index in the table; null: it cannot be read, or is none. */
  readonly #blocks = new Map<number, DataView | null>();

  private constructor(file: Child, geometry: Geometry, table: Uint8Array) {
    this.#file = file;
    this.#geometry = geometry;
    this.#table = viewOf(table);
  }

  /** Reads the table at `offset`, of `clusters` clusters; what is no such table counts nothing. Its clusters and those of its blocks are metadata from now on. */
  static async load(
    file: Child,
    geometry: Geometry,
    place: { offset: number; clusters: number },
    claims: Claims,
  ): Promise<SalvagedRefcounts> {
    const { clusterSize } = geometry;
    const length = Math.min(place.clusters * clusterSize, MAX_REFCOUNT_TABLE_BYTES);
    const there = Math.min(length, file.length - place.offset) & ~7;
    const table = new Uint8Array(Math.max(0, there));
    await eachTableCluster(file, clusterSize, place.offset, table.length, false, (offset, cluster) => {
      table.set(cluster, offset - place.offset);
      claims.metadata.add(offset / clusterSize);
    });
    const refcounts = new SalvagedRefcounts(file, geometry, table);
    await refcounts.#claimBlocks(claims);
    return refcounts;
  }

  /** Null: the entry is none that a table has. */
  #targetOf(index: number): number | null {
    const target = blockPointerTarget(this.#table, index);
    const low = this.#table.getUint32(index * POINTER_BYTES + 4);
    return target % this.#geometry.clusterSize !== 0 || target >= this.#file.length || (low & 511) !== 0
      ? null
      : target;
  }

  async #claimBlocks(claims: Claims): Promise<void> {
    for (let index = 0; index < this.#table.byteLength / POINTER_BYTES; index++) {
      const target = this.#targetOf(index);
      if (target === null || target === 0) continue;
      const cluster = target / this.#geometry.clusterSize;
      if (!claims.metadata.has(cluster) && (await this.#block(index)) !== null) claims.metadata.add(cluster);
    }
  }

  /** The block with the refcount of a cluster; null where it cannot be used. */
  blockOf(cluster: number): Promise<DataView | null> {
    return this.#block(Math.floor(cluster / this.#geometry.blockEntries));
  }

  /** The first cluster that the next block counts. */
  blockEnd(cluster: number): number {
    const { blockEntries } = this.#geometry;
    return (Math.floor(cluster / blockEntries) + 1) * blockEntries;
  }

  countIn(block: DataView, cluster: number): number {
    const { blockEntries, refcountOrder } = this.#geometry;
    return getRefcount(block, refcountOrder, cluster % blockEntries);
  }

  async #block(index: number): Promise<DataView | null> {
    const known = this.#blocks.get(index);
    if (known !== undefined) return known;
    const target = index < this.#table.byteLength / POINTER_BYTES ? this.#targetOf(index) : null;
    let block: DataView | null = null;
    if (target !== null && target > 0) {
      const bytes = new Uint8Array(this.#geometry.clusterSize);
      let isRead = true;
      await readWhatCan(this.#file, target, bytes, () => {
        isRead = false;
      });
      if (isRead && this.#isBlock(viewOf(bytes))) block = viewOf(bytes);
    }
    if (this.#blocks.size === MAX_BLOCKS) this.#blocks.delete(this.#blocks.keys().next().value!);
    this.#blocks.set(index, block);
    return block;
  }

  /** It counts something, and most of what it counts is likely. */
  #isBlock(block: DataView): boolean {
    const { blockEntries, refcountOrder } = this.#geometry;
    let [some, unlikely] = [0, 0];
    for (let i = 0; i < blockEntries; i++) {
      const refcount = getRefcount(block, refcountOrder, i);
      if (refcount === 0) continue;
      if (refcount > MAX_LIKELY) unlikely++;
      else some++;
    }
    return some > unlikely;
  }

  /** The refcount of a cluster; null where it is not known. */
  async get(cluster: number): Promise<number | null> {
    const block = await this.blockOf(cluster);
    return block === null ? null : this.countIn(block, cluster);
  }
}
