// A cache of metadata clusters (L2 tables, or refcount blocks) as raw bytes, found by their index in the table above them.
// Entries are decoded on look-up through the one `DataView` of each. A dirty table stays until `commit-order.ts` has written it;
// clean ones leave by second chance when the cache is full.

import type { Memory } from '../../../host/host.js';
import { type HostOffset, SECTOR } from './types.js';

/** One cached metadata cluster. */
export interface Table {
  /** Index in the L1 table, or in the refcount table. */
  readonly index: number;
  offset: HostOffset;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Byte range that differs from the disk; empty when `dirtyFrom >= dirtyTo`. */
  dirtyFrom: number;
  dirtyTo: number;
  /** Nothing durable points to it yet, so all of it is to be written before its pointer is. */
  isNew: boolean;
  /** Its cluster is its own, and allocated on the file system, so that it can be written: only then may it be changed (table-space.ts). */
  solid: boolean;
  /** Users that rely on its staying in the cache. */
  pins: number;
  /** Looked at since the last sweep. */
  used: boolean;
}

export class TableCache {
  readonly #tables = new Map<number, Table>();
  readonly #loading = new Map<number, Promise<void>>();
  readonly dirty = new Set<Table>();
  readonly #memory: Memory;
  readonly tableBytes: number;
  /** Tables; exceeded only by what is pinned or dirty. */
  limit: number;

  constructor(memory: Memory, tableBytes: number, limit: number) {
    this.#memory = memory;
    this.tableBytes = tableBytes;
    this.limit = limit;
  }

  get size(): number {
    return this.#tables.size;
  }

  get(index: number): Table | undefined {
    const table = this.#tables.get(index);
    if (table !== undefined) table.used = true;
    return table;
  }

  /** True when all room is taken by dirty tables, so that only a commit makes some. */
  get mustCommit(): boolean {
    return this.#tables.size >= this.limit && this.dirty.size * 4 >= this.limit * 3;
  }

  /** Reads table `index` into the cache with `fill`; callers ask `get` afterwards, and again if it has gone already. */
  load(index: number, offset: HostOffset, fill: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    // Another caller may have loaded it while this one waited for a commit; it may be dirty by now.
    if (this.#tables.has(index)) return Promise.resolve();
    let pending = this.#loading.get(index);
    if (pending === undefined) {
      pending = this.#load(index, offset, fill).finally(() => this.#loading.delete(index));
      this.#loading.set(index, pending);
    }
    return pending;
  }

  async #load(index: number, offset: HostOffset, fill: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    const bytes = this.#memory.allocate(this.tableBytes);
    try {
      await fill(bytes);
    } catch (error) {
      this.#memory.free(bytes);
      throw error;
    }
    this.#insert(index, offset, bytes);
  }

  /** A new, zeroed table, dirty as a whole. Its cluster was reserved (`ImageFile.reserve`). */
  create(index: number, offset: HostOffset): Table {
    const bytes = this.#memory.allocate(this.tableBytes).fill(0);
    const table = this.#insert(index, offset, bytes);
    this.renew(table, offset);
    return table;
  }

  /** The table moves to `offset`, a new place that was reserved: all of it is to be written there. */
  renew(table: Table, offset: HostOffset): void {
    table.offset = offset;
    table.isNew = true;
    table.solid = true;
    this.markDirty(table, 0, this.tableBytes);
  }

  #insert(index: number, offset: HostOffset, bytes: Uint8Array): Table {
    this.#makeRoom();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const table: Table = {
      index,
      offset,
      bytes,
      view,
      dirtyFrom: 0,
      dirtyTo: 0,
      isNew: false,
      solid: false,
      pins: 0,
      used: true,
    };
    this.#tables.set(index, table);
    return table;
  }

  /** Bytes [from, to) of `table` changed. */
  markDirty(table: Table, from: number, to: number): void {
    if (table.dirtyFrom >= table.dirtyTo) {
      table.dirtyFrom = from;
      table.dirtyTo = to;
      this.dirty.add(table);
      return;
    }
    if (from < table.dirtyFrom) table.dirtyFrom = from;
    if (to > table.dirtyTo) table.dirtyTo = to;
  }

  /** Takes the dirty range, rounded to whole sectors, as being written: the table counts as clean from here on. */
  takeDirty(table: Table): { from: number; to: number } {
    const from = Math.floor(table.dirtyFrom / SECTOR) * SECTOR;
    const to = Math.ceil(table.dirtyTo / SECTOR) * SECTOR;
    table.dirtyFrom = 0;
    table.dirtyTo = 0;
    this.dirty.delete(table);
    return { from, to };
  }

  /** Forgets table `index`, written or not: nothing points to it any more. */
  drop(index: number): void {
    const table = this.#tables.get(index);
    if (table === undefined) return;
    this.dirty.delete(table);
    this.#tables.delete(index);
    this.#memory.free(table.bytes);
  }

  /** Forgets all; to be called when nothing is dirty that matters. */
  clear(): void {
    for (const index of [...this.#tables.keys()]) this.drop(index);
  }

  /** Drops clean, unpinned tables until there is room for one: those not looked at since the last sweep first. */
  #makeRoom(): void {
    let looks = this.#tables.size * 2;
    for (const [index, table] of this.#tables) {
      if (this.#tables.size < this.limit || looks-- <= 0) return;
      if (table.pins > 0 || table.isNew || table.dirtyFrom < table.dirtyTo) continue;
      if (table.used) {
        table.used = false;
        this.#tables.delete(index);
        this.#tables.set(index, table);
        continue;
      }
      this.drop(index);
    }
  }
}
