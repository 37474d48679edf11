// Guest to host: the L1 table in memory, L2 tables in a cache, and the decoding of their entries.
//
//   guest offset = | L1 index | L2 slot | offset in cluster |
//
// Everything that can be answered from the cache is synchronous; `tableSync` says `undefined` where a table must be loaded first.

import type { BlockError } from '../../../util/errors.js';
import type { Qcow2Image } from './image.js';
import { PointerTable } from './pointer-table.js';
import { type Table, TableCache } from './table-cache.js';
import type { GuestOffset, HostOffset } from './types.js';

/** Kinds of an L2 entry, as numbers for the hot path; `bad` breaks the format. */
export const Kind = {
  unallocated: 0,
  normal: 1,
  compressed: 2,
  zeroPlain: 3,
  zeroAllocated: 4,
  bad: 5,
} as const;
export type KindNumber = (typeof Kind)[keyof typeof Kind];

const COPIED = 0x8000_0000;
const COMPRESSED = 0x4000_0000;
const HIGH_OFFSET = 0x00ff_ffff;
const ZERO = 1;

/** Answers of `mapSync` that are no offset: only the slow path can tell; all of it is unallocated. */
export const MISS = -1;
export const BELOW = -2;

export class Mapping {
  readonly #image: Qcow2Image;
  readonly l1: PointerTable;
  readonly cache: TableCache;
  /** By index: tables that are being made, moved, or given space. */
  readonly #creating = new Map<number, Promise<void>>();
  readonly #clusterSize: number;
  readonly #l2Span: number;
  /** Bits of a compressed descriptor's high word that belong to the offset. */
  readonly #compressedShift: number;

  /** What `decode` found: host offset, 0 for none; COPIED flag; bytes of compressed data up to the end of its last sector. */
  host = 0 as HostOffset;
  copied = false;
  compressedBytes = 0;

  constructor(image: Qcow2Image, cacheTables: number) {
    this.#image = image;
    const { header, geometry } = image;
    this.l1 = new PointerTable(header.l1TableOffset, header.l1Size);
    this.cache = new TableCache(image.memory, geometry.clusterSize, cacheTables);
    this.#clusterSize = geometry.clusterSize;
    this.#l2Span = geometry.l2Span;
    this.#compressedShift = 38 - geometry.clusterBits;
  }

  async load(): Promise<void> {
    await this.#image.file.read(this.l1.offset, this.l1.bytes);
  }

  // ---- the hot path -------------------------------------------------------------------------------------------

  /**
   * The host offset where all of [offset, offset + length) lies contiguously in ordinary clusters, BELOW where all of it is unallocated,
   * or MISS. With `owned`, an offset only where each cluster may be written in place.
   */
  mapSync(offset: number, length: number, owned: boolean): number {
    const index = Math.floor(offset / this.#l2Span);
    const within = offset - index * this.#l2Span;
    if (within + length > this.#l2Span) return MISS;
    const table = this.cache.get(index);
    if (table === undefined) return this.l1.target(index) === 0 ? BELOW : MISS;
    const size = this.#clusterSize;
    const slot = Math.floor(within / size);
    const { view } = table;
    const high = view.getUint32(slot * 8);
    const low = view.getUint32(slot * 8 + 4);
    if ((high & COMPRESSED) !== 0 || (low & ZERO) !== 0 || (owned && (high & COPIED) === 0)) return MISS;
    const host = (high & HIGH_OFFSET) * 0x1_0000_0000 + ((low & 0xffff_fe00) >>> 0);
    const lead = within - slot * size;
    if (host === 0) return this.#unallocated(view, slot + 1, Math.ceil((lead + length) / size) + slot) ? BELOW : MISS;
    if (host % size !== 0) return MISS;
    if (host + lead + length > this.#image.file.length) return MISS;
    let expected = host;
    for (let at = size - lead, next = slot + 1; at < length; at += size, next++) {
      expected += size;
      const nextHigh = view.getUint32(next * 8);
      const nextLow = view.getUint32(next * 8 + 4);
      if ((nextHigh & COMPRESSED) !== 0 || (nextLow & ZERO) !== 0 || (owned && (nextHigh & COPIED) === 0)) return MISS;
      if ((nextHigh & HIGH_OFFSET) * 0x1_0000_0000 + ((nextLow & 0xffff_fe00) >>> 0) !== expected) return MISS;
    }
    return host + lead;
  }

  #unallocated(view: DataView, from: number, to: number): boolean {
    for (let slot = from; slot < to; slot++) {
      const high = view.getUint32(slot * 8);
      const low = view.getUint32(slot * 8 + 4);
      if ((high & (COMPRESSED | HIGH_OFFSET)) !== 0 || (low & 0xffff_fe00) !== 0 || (low & ZERO) !== 0) return false;
    }
    return true;
  }

  // ---- entries ------------------------------------------------------------------------------------------------

  /** Decodes one entry into `host`, `copied` and `compressedBytes`. */
  decode(table: Table, slot: number): KindNumber {
    const high = table.view.getUint32(slot * 8);
    const low = table.view.getUint32(slot * 8 + 4);
    this.copied = (high & COPIED) !== 0;
    if ((high & COMPRESSED) !== 0) {
      const shift = this.#compressedShift;
      const offset = (high & (2 ** shift - 1)) * 0x1_0000_0000 + low;
      this.host = offset as HostOffset;
      this.compressedBytes = (((high & 0x3fff_ffff) >>> shift) + 1) * 512 - (offset % 512);
      return offset > Number.MAX_SAFE_INTEGER - this.compressedBytes ? Kind.bad : Kind.compressed;
    }
    const host = (high & HIGH_OFFSET) * 0x1_0000_0000 + ((low & 0xffff_fe00) >>> 0);
    this.host = host as HostOffset;
    if (host % this.#clusterSize !== 0 || host > Number.MAX_SAFE_INTEGER - this.#clusterSize) return Kind.bad;
    if ((low & ZERO) !== 0) {
      if (this.#image.geometry.version === 2) return Kind.bad;
      return host === 0 ? Kind.zeroPlain : Kind.zeroAllocated;
    }
    return host === 0 ? Kind.unallocated : Kind.normal;
  }

  /** How many slots from `slot` (at most `max`) are of one kind, with contiguous host clusters where they have any. `decode` of the first holds. */
  run(table: Table, slot: number, max: number): number {
    const kind = this.decode(table, slot);
    const first = this.host;
    const { copied, compressedBytes } = this;
    let count = 1;
    if (kind !== Kind.compressed && kind !== Kind.bad) {
      const step = kind === Kind.normal || kind === Kind.zeroAllocated ? this.#clusterSize : 0;
      while (count < max && this.decode(table, slot + count) === kind && this.host === first + count * step) count++;
    }
    this.host = first;
    this.copied = copied;
    this.compressedBytes = compressedBytes;
    return count;
  }

  /** Points `slot` to an owned cluster at `host`; 0 makes it unallocated. */
  setEntry(table: Table, slot: number, host: number, zero = false): void {
    const high = host === 0 ? 0 : (Math.floor(host / 0x1_0000_0000) | COPIED) >>> 0;
    this.setRaw(table, slot, high, (host % 0x1_0000_0000) + (zero ? ZERO : 0));
  }

  /** Points `slot` to compressed data of `length` bytes at `host`. */
  setCompressed(table: Table, slot: number, host: number, length: number): void {
    const sectors = Math.floor((host + length - 1) / 512) - Math.floor(host / 512);
    const high = COMPRESSED + sectors * 2 ** this.#compressedShift + Math.floor(host / 0x1_0000_0000);
    this.setRaw(table, slot, high, host % 0x1_0000_0000);
  }

  setRaw(table: Table, slot: number, high: number, low: number): void {
    table.view.setUint32(slot * 8, high);
    table.view.setUint32(slot * 8 + 4, low);
    this.cache.markDirty(table, slot * 8, slot * 8 + 8);
  }

  /** Where bytes of compressed data may lie at most, so that a descriptor can hold the offset. */
  get compressedLimit(): number {
    return Math.min(2 ** (32 + this.#compressedShift), 2 ** 56, Number.MAX_SAFE_INTEGER);
  }

  indexOf(offset: GuestOffset | number): number {
    return Math.floor(offset / this.#l2Span);
  }

  // ---- tables -------------------------------------------------------------------------------------------------

  /** The L2 table: null where the L1 table has none, undefined where it must be loaded first (`loadTable`, then ask again). */
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
      throw await this.#image.corrupt(`L2 table offset ${offset} invalid (L1 index: ${index})`, offset);
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
        await this.#once(index, () => this.#reserveTable(table));
      } else {
        table.pins++;
        return table;
      }
    }
  }

  /** One at a time of what changes where table `index` lies. */
  #once(index: number, action: () => Promise<void>): Promise<void> {
    let pending = this.#creating.get(index);
    if (pending === undefined) {
      pending = action().finally(() => this.#creating.delete(index));
      this.#creating.set(index, pending);
    }
    return pending;
  }

  /** A table that an earlier writer made may lie in a hole: without space of its own it is not changed. */
  async #reserveTable(table: Table): Promise<void> {
    const { file } = this.#image;
    table.pins++;
    try {
      await file.ensureLength(table.offset + this.#clusterSize);
      await file.reserve(table.offset, this.#clusterSize);
      table.solid = true;
    } finally {
      table.pins--;
    }
  }

  async #createTable(index: number): Promise<void> {
    const image = this.#image;
    if (this.cache.mustCommit) await image.commit();
    const run = await image.refcounts.allocateRun(1);
    const offset = run.cluster * this.#clusterSize;
    try {
      await image.file.ensureLength(offset + this.#clusterSize);
      await image.file.reserve(offset, this.#clusterSize);
      await this.l1.reserve(image.file, index);
      while (this.tableSync(index) === undefined) await this.loadTable(index);
    } catch (error) {
      image.refcounts.release(run.cluster, 1);
      throw error;
    }
    image.file.takeFresh(offset, offset + this.#clusterSize);
    const old = this.tableSync(index);
    if (old === null || old === undefined) {
      this.cache.create(index, offset);
    } else {
      image.refcounts.pendFree(old.offset / this.#clusterSize, 1, false);
      image.metadata.remove('active-l2', old.offset);
      this.cache.renew(old, offset);
    }
    this.l1.set(index, offset, true);
    image.metadata.add('active-l2', offset);
  }

  /** Takes L2 table `index` out of the L1 table; its cluster is freed after the next commit. */
  removeTable(index: number): void {
    const offset = this.l1.target(index);
    this.cache.drop(index);
    this.l1.set(index, 0, false);
    this.#image.metadata.remove('active-l2', offset);
    this.#image.refcounts.pendFree(offset / this.#clusterSize, 1, true);
  }

  /** Marks the image corrupt for the entry in `slot`. */
  badEntry(table: Table, slot: number): Promise<BlockError> {
    const hex = (word: number): string => word.toString(16).padStart(8, '0');
    const entry = hex(table.view.getUint32(slot * 8)) + hex(table.view.getUint32(slot * 8 + 4));
    return this.#image.corrupt(`L2 entry 0x${entry} invalid (L2 offset: ${table.offset}, slot: ${slot})`, table.offset);
  }
}
