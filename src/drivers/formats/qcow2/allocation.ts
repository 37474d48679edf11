// Clusters of the image file: refcounts, the search for free space, growth of the refcount structures, and frees that wait.
//
//   refcount table --> refcount block --> one refcount a cluster
//
// A cluster whose last reference goes is not free at once: `pendFree` remembers it, and `applyFrees` lowers its refcount when the
// commit that took the reference away is durable (see commit-order.ts). Only `release` is immediate, for what was never referenced.

import { assert } from '../../../util/assert.js';
import { BlockError } from '../../../util/errors.js';
import type { Qcow2Image } from './image.js';
import { overlapMessage } from './overlap.js';
import { blockPointerHex, blockPointerTarget } from './pointer-codec.js';
import { PointerTable } from './pointer-table.js';
import { fillRefcountOnes, getRefcount, refcountByteRange, scanRefcounts, setRefcount } from './refcount-codec.js';
import { type Table, TableCache } from './table-cache.js';
import { solidify } from './table-space.js';
import { MAX_REFCOUNT_TABLE_BYTES } from './types.js';

/** Clusters [cluster, cluster + count), reserved for the caller. */
export interface Run {
  cluster: number;
  count: number;
}

export interface PendingFree extends Run {
  /** Give the space back to the file below as well. */
  punch: boolean;
}

export class Refcounts {
  readonly #image: Qcow2Image;
  readonly table: PointerTable;
  readonly blocks: TableCache;
  readonly #order: number;
  readonly #perBlock: number;
  readonly #clusterSize: number;
  /** No cluster below is known to be free. */
  #freeFrom = 0;
  /** Where the search for several clusters starts: smaller holes below are left to single allocations. */
  #runFrom = 0;
  #pending: PendingFree[] = [];
  #making: Promise<void> | null = null;
  /** Counts allocations: unchanged means that nothing was allocated meanwhile. */
  allocations = 0;
  /** Called for each cluster that becomes free. */
  onFree: (cluster: number) => void = () => {};

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

  // ---- reading ------------------------------------------------------------------------------------------------

  #blockSync(index: number): Table | null | undefined {
    const block = this.blocks.get(index);
    if (block !== undefined) return block;
    return index >= this.table.entries || this.table.target(index) === 0 ? null : undefined;
  }

  /** `mayCommit` is false inside a commit, where the cache exceeds its limit rather. */
  async #loadBlock(index: number, mayCommit: boolean): Promise<void> {
    if (mayCommit && this.blocks.mustCommit) await this.#image.commit();
    const offset = this.table.target(index);
    const isCut = blockPointerTarget(this.table.view, index) !== offset;
    if (isCut || offset % this.#clusterSize !== 0 || offset >= this.#image.file.length) {
      const text = blockPointerHex(this.table.view, index);
      throw await this.#image.corrupt(`Refblock offset ${text} invalid (reftable index: ${index})`, offset);
    }
    await this.blocks.load(index, offset, (bytes) => this.#image.file.read(offset, bytes));
  }

  /** Refcount of one cluster. Rejects with `corrupt-image`, `io`. */
  async get(cluster: number, mayCommit = true): Promise<number> {
    const index = Math.floor(cluster / this.#perBlock);
    let block = this.#blockSync(index);
    while (block === undefined) {
      await this.#loadBlock(index, mayCommit);
      block = this.#blockSync(index);
    }
    return block === null ? 0 : getRefcount(block.view, this.#order, cluster % this.#perBlock);
  }

  /** One after the last cluster with a refcount. Asks for no commit. */
  async endOfUse(): Promise<number> {
    for (let index = this.table.entries - 1; index >= 0; index--) {
      let block = this.#blockSync(index);
      while (block === undefined) {
        await this.#loadBlock(index, false);
        block = this.#blockSync(index);
      }
      if (block === null) continue;
      for (let i = this.#perBlock - 1; i >= 0; i--) {
        if (getRefcount(block.view, this.#order, i) !== 0) return index * this.#perBlock + i + 1;
      }
    }
    return 0;
  }

  /** How many of the clusters before `end` have a refcount; where there are `enough`, the count ends. Takes no place in the cache. */
  async countUsed(end: number, enough: number): Promise<number> {
    const { clusterSize } = this.#image.geometry;
    let used = 0;
    const bytes = new Uint8Array(clusterSize);
    for (let index = 0; index * this.#perBlock < end && index < this.table.entries && used < enough; index++) {
      const block = this.#blockSync(index);
      const offset = this.table.target(index);
      if (block === null || offset % clusterSize !== 0 || offset >= this.#image.file.length) continue;
      if (block === undefined) await this.#image.file.read(offset, bytes);
      const view = block?.view ?? new DataView(bytes.buffer);
      const count = Math.min(this.#perBlock, end - index * this.#perBlock);
      for (let i = 0; i < count; i++) if (getRefcount(view, this.#order, i) !== 0) used++;
    }
    return used;
  }

  // ---- allocation ---------------------------------------------------------------------------------------------

  /**
   * Reserves up to `want` contiguous clusters (at least one; fewer only where a refcount block ends) and sets their refcounts to one, in the
   * cache. The file may still have to be made longer. Rejects with `corrupt-image`, `limit`, `no-space`, `io`.
   */
  async allocateRun(want: number): Promise<Run> {
    let at = want > 1 ? this.#runFrom : this.#freeFrom;
    for (;;) {
      const index = Math.floor(at / this.#perBlock);
      if (index >= this.table.entries) {
        await this.#image.committer.exclusive(() => this.#growTable(index));
        continue;
      }
      const block = this.#blockSync(index);
      if (block === undefined) {
        await this.#loadBlock(index, true);
        continue;
      }
      if (block === null) {
        if (this.blocks.mustCommit) await this.#image.commit();
        await this.#once(() => this.#createBlock(index, at));
        continue;
      }
      if (!block.solid) {
        await this.#once(() => solidify(this.#image, block, 'refcount-block'));
        continue;
      }
      const found = this.#findRun(block, at - index * this.#perBlock, want);
      if (found === null) {
        at = (index + 1) * this.#perBlock;
        continue;
      }
      const run = { cluster: index * this.#perBlock + found.start, count: found.count };
      const hit = this.#heldBy(run.cluster, run.count);
      if (hit !== null) throw await this.#wronglyFree(run.cluster, hit);
      this.#take(block, found.start, run);
      this.#advance(run, want);
      return run;
    }
  }

  /** The first run of `want` free entries from `from`, or a shorter one that reaches the end of the block. */
  #findRun(block: Table, from: number, want: number): { start: number; count: number } | null {
    let start = from;
    for (;;) {
      start = scanRefcounts(block.view, this.#order, start, this.#perBlock, true);
      if (start >= this.#perBlock) return null;
      const end = scanRefcounts(block.view, this.#order, start, Math.min(this.#perBlock, start + want), false);
      if (end - start >= want || end === this.#perBlock) return { start, count: end - start };
      start = end;
    }
  }

  #take(block: Table, start: number, run: Run): void {
    assert(block.solid, 'a refcount block is changed once it has a place of its own');
    assert(run.cluster > 0 && run.count > 0 && start + run.count <= this.#perBlock, 'a run lies within its refcount block');
    const last = start + run.count - 1;
    assert(
      getRefcount(block.view, this.#order, start) === 0 && getRefcount(block.view, this.#order, last) === 0,
      'only free clusters are allocated',
    );
    this.allocations++;
    fillRefcountOnes(block.bytes, this.#order, start, run.count);
    const [from, to] = refcountByteRange(this.#order, start, run.count);
    this.blocks.markDirty(block, from, to);
  }

  #advance(run: Run, want: number): void {
    const end = run.cluster + run.count;
    if (want === 1 || run.cluster === this.#freeFrom) this.#freeFrom = end;
    if (want > 1 || run.cluster === this.#runFrom) this.#runFrom = end;
    if (this.#runFrom < this.#freeFrom) this.#runFrom = this.#freeFrom;
  }

  /** A block is being made, in a cluster that nothing counts yet. */
  get making(): boolean {
    return this.#making !== null;
  }

  /** The metadata that lies in these clusters, which the refcounts say are free; null for none. The header is there in any case. */
  #heldBy(cluster: number, count: number): string | null {
    if (cluster === 0) return 'main-header';
    return this.#image.metadata.overlap(cluster * this.#clusterSize, (cluster + count) * this.#clusterSize);
  }

  /** A mapping that is gone led to metadata. */
  #wronglyPointedTo(cluster: number, what: string): Promise<BlockError> {
    const start = cluster * this.#clusterSize;
    return this.#image.corrupt(`Preventing the free of metadata (${what}) at offset ${start}`, start);
  }

  /** A free cluster that holds metadata means that the refcounts are wrong. */
  #wronglyFree(cluster: number, what: string): Promise<BlockError> {
    const start = cluster * this.#clusterSize;
    return this.#image.corrupt(overlapMessage(start, what), start);
  }

  /** Blocks are made and given space one at a time. Whoever waits for another one's block looks again; its failure is not theirs. */
  async #once(action: () => Promise<void>): Promise<void> {
    if (this.#making !== null) {
      // Whoever began it is told.
      await this.#making.catch(() => undefined);
      return;
    }
    this.#making = action().finally(() => {
      this.#making = null;
    });
    await this.#making;
  }

  /** A block for a range that has none: it lies in that range itself, at `at`, and counts itself. */
  async #createBlock(index: number, at: number): Promise<void> {
    // Its place is this block's only as long as there is none: what was asked before a commit does not hold after it.
    if (this.#blockSync(index) !== null) return;
    const hit = this.#heldBy(at, 1);
    if (hit !== null) throw await this.#wronglyFree(at, hit);
    const { file } = this.#image;
    const offset = at * this.#clusterSize;
    await file.ensureLength(offset + this.#clusterSize);
    await file.reserve(offset, this.#clusterSize);
    await this.table.reserve(file, index);
    // Asked again: the table may have grown meanwhile, with this block, or another allocation made it before.
    if (this.#blockSync(index) !== null) return;
    const block = this.blocks.create(index, offset);
    this.allocations++;
    fillRefcountOnes(block.bytes, this.#order, at - index * this.#perBlock, 1);
    this.table.set(index, offset, false);
    this.#image.metadata.add('refcount-block', offset);
    this.#image.file.takeFresh(offset, offset + this.#clusterSize);
  }

  /**
   * Makes the refcount table reach to entry `index`. Runs in the commit lock, after a commit. Nothing beyond the old table's reach can
   * be in use, so the new table and the blocks that count it go there:
   *
   *   | ... all that the old table covers | new table | new blocks | free ...
   */
  async #growTable(index: number): Promise<void> {
    const old = { offset: this.table.offset, entries: this.table.entries };
    if (index < old.entries) return;
    const size = this.#clusterSize;
    const start = old.entries * this.#perBlock;
    let clusters = Math.ceil((Math.max(index + 1, old.entries * 1.5) * 8) / size);
    let blockCount = 1;
    for (;;) {
      blockCount = Math.ceil((clusters + blockCount) / this.#perBlock);
      const needed = Math.ceil(((old.entries + blockCount) * 8) / size);
      if (Math.ceil((clusters + blockCount) / this.#perBlock) <= blockCount && needed <= clusters) break;
      clusters = Math.max(clusters, needed);
    }
    const image = this.#image;
    if (clusters * size > MAX_REFCOUNT_TABLE_BYTES) {
      throw image.error('limit', 'The refcount table cannot grow any further', 'allocate');
    }
    const total = clusters + blockCount;
    assert(total <= blockCount * this.#perBlock, 'the new refcount blocks count the new table and themselves');
    assert((old.entries + blockCount) * 8 <= clusters * size, 'the new refcount table points to the new blocks');
    const hit = this.#heldBy(start, total);
    if (hit !== null) throw await this.#wronglyFree(start, hit);
    const end = (start + total) * size;
    await image.file.ensureLength(end);
    image.file.takeFresh(start * size, end);
    const grown = new PointerTable(start * size, (clusters * size) / 8);
    grown.bytes.set(this.table.bytes.subarray(0, old.entries * 8));
    for (const block of this.blocks.dirty) if (block.isNew) grown.set(block.index, 0, false);
    const content = new Uint8Array(size);
    for (let i = 0; i < blockCount; i++) {
      const offset = (start + clusters + i) * size;
      grown.set(old.entries + i, offset, false);
      content.fill(0);
      fillRefcountOnes(content, this.#order, 0, Math.min(this.#perBlock, total - i * this.#perBlock));
      await image.file.write(offset, content);
    }
    await image.file.write(grown.offset, grown.bytes);
    await image.file.flush();
    const left = this.table.resize(grown.offset, grown.entries);
    for (let i = 0; i < blockCount; i++) {
      const offset = (start + clusters + i) * size;
      this.table.set(old.entries + i, offset, false);
      image.metadata.add('refcount-block', offset);
    }
    image.header.refcountTableOffset = grown.offset;
    image.header.refcountTableClusters = clusters;
    image.metadata.setFixed('refcount-table', this.table, grown.offset, clusters * size);
    image.headerDirty = true;
    await left;
    this.pendFree(old.offset / size, (old.entries * 8) / size, false);
    await image.committer.writeHeader();
  }

  /**
   * One more reference to a cluster that has some: compressed data shares it. False where it has none or its refcount is at the limit;
   * undefined where its block must be loaded first (`loadFor`, then ask again).
   */
  tryReference(cluster: number): boolean | undefined {
    const block = this.#blockSync(Math.floor(cluster / this.#perBlock));
    if (block === null) return false;
    if (block === undefined || !block.solid) return undefined;
    const slot = cluster % this.#perBlock;
    const count = getRefcount(block.view, this.#order, slot);
    if (count === 0 || count >= this.#image.geometry.refcountMax) return false;
    this.#set(block, slot, count + 1);
    return true;
  }

  /** Brings the block with the refcount of `cluster` into the cache, ready to be changed. */
  async loadFor(cluster: number): Promise<void> {
    const index = Math.floor(cluster / this.#perBlock);
    for (let block = this.#blockSync(index); !block?.solid; block = this.#blockSync(index)) {
      const unready = block;
      if (!unready) return this.#loadBlock(index, true);
      await this.#once(() => solidify(this.#image, unready, 'refcount-block'));
    }
  }

  #set(block: Table, slot: number, value: number): void {
    assert(block.solid, 'a refcount block is changed once it has a place of its own');
    assert(value >= 0 && value <= this.#image.geometry.refcountMax, 'a refcount fits into its width');
    setRefcount(block.view, this.#order, slot, value);
    const [from, to] = refcountByteRange(this.#order, slot, 1);
    this.blocks.markDirty(block, from, to);
  }

  // ---- freeing ------------------------------------------------------------------------------------------------

  /**
   * Takes back what `allocateRun` or `tryReference` gave and nothing ever pointed to: at once, or with the next commit where its block has
   * left the cache meanwhile.
   */
  release(cluster: number, count: number): void {
    for (let at = cluster; at < cluster + count; at++) {
      const block = this.blocks.get(Math.floor(at / this.#perBlock));
      if (block?.solid) this.#lower(block, at);
      else this.pendFree(at, 1, false);
    }
  }

  /** The reference to each of these clusters is gone from the tables in memory. */
  pendFree(cluster: number, count: number, punch: boolean): void {
    assert(Number.isSafeInteger(cluster + count) && count > 0, 'whole clusters are freed');
    const last = this.#pending[this.#pending.length - 1];
    if (last !== undefined && last.cluster + last.count === cluster && last.punch === punch) last.count += count;
    else this.#pending.push({ cluster, count, punch });
  }

  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  takePending(): PendingFree[] {
    const pending = this.#pending;
    this.#pending = [];
    return pending;
  }

  returnPending(pending: PendingFree[]): void {
    this.#pending = [...pending, ...this.#pending];
  }

  /**
   * Lowers the refcounts of what a durable commit has let go. Part of a commit. Items that are done leave `pending`; where a block has no
   * space of its own and gets none, the rest stays.
   */
  async applyFrees(pending: PendingFree[]): Promise<void> {
    while (pending.length > 0) {
      const item = pending[0];
      while (item.count > 0) {
        const index = Math.floor(item.cluster / this.#perBlock);
        const count = Math.min(item.count, (index + 1) * this.#perBlock - item.cluster);
        const held = this.#heldBy(item.cluster, count);
        if (held !== null) throw await this.#wronglyPointedTo(item.cluster, held);
        if (item.punch) await this.#punch(item.cluster, count);
        const block = await this.#blockToLower(index);
        if (block === 'no room') return;
        const first = item.cluster;
        item.cluster += count;
        item.count -= count;
        for (let at = first; at < first + count; at++) {
          if (block === null || !this.#lower(block, at)) {
            throw await this.#image.corrupt(`Freeing free cluster ${at}`, at * this.#clusterSize);
          }
        }
      }
      pending.shift();
    }
  }

  /** Block `index`, loaded and with space of its own; null where there is none. Inside a commit. */
  async #blockToLower(index: number): Promise<Table | null | 'no room'> {
    for (;;) {
      const block = this.#blockSync(index);
      if (block === null || block?.solid) return block;
      if (block === undefined) {
        await this.#loadBlock(index, false);
        continue;
      }
      try {
        await this.#once(() => solidify(this.#image, block, 'refcount-block'));
      } catch (error) {
        if (error instanceof BlockError && error.code === 'no-space') return 'no room';
        throw error;
      }
    }
  }

  #lower(block: Table, cluster: number): boolean {
    const slot = cluster % this.#perBlock;
    const value = getRefcount(block.view, this.#order, slot);
    if (value === 0) return false;
    this.#set(block, slot, value - 1);
    if (value > 1) return true;
    if (cluster < this.#freeFrom) this.#freeFrom = cluster;
    if (cluster < this.#runFrom) this.#runFrom = cluster;
    this.onFree(cluster);
    return true;
  }

  /** Gives the space of clusters with one last reference back to the file; a hint, so a refusal is none. */
  async #punch(cluster: number, count: number): Promise<void> {
    let from = cluster;
    for (let at = cluster; at <= cluster + count; at++) {
      if (at < cluster + count && (await this.get(at, false)) === 1) continue;
      const offset = from * this.#clusterSize;
      const length = Math.min((at - from) * this.#clusterSize, this.#image.file.length - offset);
      if (length > 0) await this.#image.file.discard(offset, length);
      from = at + 1;
    }
  }
}
