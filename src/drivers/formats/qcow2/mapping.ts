// Guest to host: the L1 table in memory, and L2 tables in a cache. What their entries say is l2-codec.ts's matter.
//
//   guest offset = | L1 index | L2 slot | offset in cluster |
//
// Everything that can be answered from the cache is synchronous; `tableSync` says `undefined` where a table must be loaded first.

import { assert } from '../../../util/assert.js';
import type { BlockError } from '../../../util/errors.js';
import type { Qcow2Image } from './image.js';
import { BELOW, L2Codec, MISS } from './l2-codec.js';
import { pointerHex, wordsToHex } from './pointer-codec.js';
import { PointerTable } from './pointer-table.js';
import { type Table, TableCache } from './table-cache.js';
import { reserveEntry, solidify } from './table-space.js';
import { clusterAt, type GuestOffset, type HostOffset, hostOf, NO_HOST } from './types.js';

export class Mapping {
  readonly #image: Qcow2Image;
  readonly l1: PointerTable;
  readonly cache: TableCache;
  readonly codec: L2Codec;
  /** By index: tables that are being made, moved, or given space. */
  readonly #creating = new Map<number, Promise<void>>();
  readonly #clusterSize: number;
  readonly #l2Span: number;

  constructor(image: Qcow2Image, cacheTables: number) {
    this.#image = image;
    const { header, geometry } = image;
    this.l1 = new PointerTable(header.l1TableOffset, header.l1Size);
    this.cache = new TableCache(image.memory, geometry.clusterSize, cacheTables);
    this.#clusterSize = geometry.clusterSize;
    this.#l2Span = geometry.l2Span;
    this.codec = new L2Codec(geometry.version, geometry.clusterBits);
  }

  async load(): Promise<void> {
    await this.#image.file.read(this.l1.offset, this.l1.bytes);
  }

  // ---- the hot path -------------------------------------------------------------------------------------------

  /**
   * The host offset where all of [offset, offset + length) lies contiguously in ordinary clusters, BELOW where all of it is unallocated,
   * ZEROES where all of it has the zero flag, or MISS. With `owned`, an offset only where each cluster may be written in place.
   */
  mapSync(offset: GuestOffset, length: number, owned: boolean): number {
    const index = Math.floor(offset / this.#l2Span);
    const within = offset - index * this.#l2Span;
    if (within + length > this.#l2Span) return MISS;
    const table = this.cache.get(index);
    if (table === undefined) return this.l1.target(index) === 0 ? BELOW : MISS;
    const size = this.#clusterSize;
    const { codec } = this;
    const { view } = table;
    const slot = Math.floor(within / size);
    const lead = within - slot * size;
    const last = slot + Math.ceil((lead + length) / size);
    const host = codec.directHost(view, slot, owned);
    if (host < 0) {
      if (host === MISS) return MISS;
      for (let next = slot + 1; next < last; next++) if (codec.directHost(view, next, owned) !== host) return MISS;
      return host;
    }
    if (host % size !== 0) return MISS;
    if (host + lead + length > this.#image.data.length) return MISS;
    for (let next = slot + 1, expected = host + size; next < last; next++, expected += size) {
      if (codec.directHost(view, next, owned) !== expected) return MISS;
    }
    return host + lead;
  }

  // ---- entries ------------------------------------------------------------------------------------------------

  /** Also of a table that is about to be removed, and never written. */
  setUnallocated(table: Table, slot: number): void {
    this.codec.putUnallocated(table.view, slot);
    this.#markDirty(table, slot);
  }

  /** Points `slot` to the cluster at `host`, which nothing else refers to. */
  setNormal(table: Table, slot: number, host: HostOffset): void {
    this.#checkHost(host);
    this.codec.putNormal(table.view, slot, host);
    this.#changed(table, slot);
  }

  /** Makes `slot` read as zeroes, without a host cluster. */
  setZero(table: Table, slot: number): void {
    this.codec.putZero(table.view, slot);
    this.#changed(table, slot);
  }

  /** Makes `slot` read as zeroes, and keeps its cluster at `host`, which nothing else refers to. */
  setZeroAllocated(table: Table, slot: number, host: HostOffset): void {
    this.#checkHost(host);
    this.codec.putZeroAllocated(table.view, slot, host);
    this.#changed(table, slot);
  }

  /** Points `slot` to compressed data of `length` bytes at `host`. */
  setCompressed(table: Table, slot: number, host: HostOffset, length: number): void {
    assert(host > 0 && host + length <= this.codec.compressedLimit, 'an L2 entry can hold where compressed data lies');
    this.codec.putCompressed(table.view, slot, host, length);
    this.#changed(table, slot);
  }

  #checkHost(host: number): void {
    assert(host > 0 && host % this.#clusterSize === 0, 'an L2 entry points to a whole cluster');
  }

  #changed(table: Table, slot: number): void {
    assert(table.solid && table.pins > 0, 'an L2 table is changed while it is pinned and has a place of its own');
    this.#markDirty(table, slot);
  }

  #markDirty(table: Table, slot: number): void {
    const { entryBytes } = this.codec;
    this.cache.markDirty(table, slot * entryBytes, (slot + 1) * entryBytes);
  }

  indexOf(offset: GuestOffset): number {
    return Math.floor(offset / this.#l2Span);
  }

  // ---- tables -------------------------------------------------------------------------------------------------

  /**
   * The L2 table: null where the L1 table has none, undefined where it must be loaded first. A caller then loops: `loadTable`, and ask again. No
   * promise hands out a table: it could leave the cache before whoever awaits that goes on.
   */
  tableSync(index: number): Table | null | undefined {
    const table = this.cache.get(index);
    if (table !== undefined) return table;
    return this.l1.target(index) === 0 ? null : undefined;
  }

  /** Brings L2 table `index` into the cache. Rejects with `corrupt-image` for a pointer that cannot be. */
  async loadTable(index: number): Promise<void> {
    if (this.cache.mustCommit) await this.#image.commit();
    const offset = this.l1.target(index);
    if (offset === 0) return;
    if (offset % this.#clusterSize !== 0 || offset >= this.#image.file.length) {
      const text = pointerHex(this.l1.view, index);
      throw await this.#image.corrupt(`L2 table offset ${text} invalid (L1 index: ${index})`, offset);
    }
    await this.cache.load(index, offset, (bytes) => this.#image.file.read(offset, bytes));
    // The pointer may have changed meanwhile: what was read is then of no use.
    if (this.l1.target(index) !== this.cache.get(index)?.offset) this.cache.drop(index);
  }

  /** The L2 table for a change: made where there is none, copied where it is shared. Pinned: the caller unpins (`table.pins--`). */
  async pinForWrite(index: number): Promise<Table> {
    for (;;) {
      const table = this.tableSync(index);
      if (table === undefined) {
        await this.loadTable(index);
      } else if (table === null || !this.l1.copied(index)) {
        await this.#once(index, () => this.#createTable(index));
      } else if (!table.solid) {
        await this.#once(index, () => solidify(this.#image, table, 'active-l2'));
      } else {
        table.pins++;
        return table;
      }
    }
  }

  /** Runs `action`, which changes where table `index` lies, or waits for the one that is running. */
  #once(index: number, action: () => Promise<void>): Promise<void> {
    let pending = this.#creating.get(index);
    if (pending === undefined) {
      pending = action().finally(() => this.#creating.delete(index));
      this.#creating.set(index, pending);
    }
    return pending;
  }

  async #createTable(index: number): Promise<void> {
    const image = this.#image;
    if (this.cache.mustCommit) await image.commit();
    const run = await image.allocation.allocateRun(1);
    const offset = hostOf(run.cluster, image.geometry);
    try {
      await image.file.ensureLength(offset + this.#clusterSize);
      await image.file.reserve(offset, this.#clusterSize);
      await reserveEntry(image, this.l1, 'active-l1', index);
      while (this.tableSync(index) === undefined) await this.loadTable(index);
    } catch (error) {
      image.allocation.release(run.cluster, 1);
      throw error;
    }
    image.file.takeFresh(offset, offset + this.#clusterSize);
    const old = this.tableSync(index);
    if (old === null || old === undefined) {
      this.cache.create(index, offset);
    } else {
      image.frees.add(clusterAt(old.offset, image.geometry), 1, false);
      image.metadata.remove('active-l2', old.offset);
      this.cache.renew(old, offset);
    }
    this.l1.set(index, offset, true);
    image.metadata.add('active-l2', offset);
  }

  /** Takes L2 table `index` out of the L1 table; its cluster is freed after the next commit. */
  removeTable(index: number): void {
    const offset = this.l1.target(index);
    assert(offset > 0, 'only an L2 table that the L1 table points to is removed');
    this.cache.drop(index);
    this.l1.set(index, NO_HOST, false);
    this.#image.metadata.remove('active-l2', offset);
    this.#image.frees.add(clusterAt(offset, this.#image.geometry), 1, true);
  }

  /** Marks the image corrupt for the entry in `slot`. */
  badEntry(table: Table, slot: number): Promise<BlockError> {
    const { view } = table;
    const at = slot * this.codec.entryBytes;
    const entry = wordsToHex(view.getUint32(at), view.getUint32(at + 4)).padStart(16, '0');
    return this.#image.corrupt(`L2 entry 0x${entry} invalid (L2 offset: ${table.offset}, slot: ${slot})`, table.offset);
  }
}
