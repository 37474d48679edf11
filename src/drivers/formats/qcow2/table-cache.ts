// A cache of metadata clusters (L2 tables, or refcount blocks) as raw bytes, by their index in the L1 or refcount table. Entries are decoded on look-up
// through the one `DataView` of each table.
//
//   load   --> clean --reserved (table-space.ts)--> may be changed --markDirty--> dirty --takeDirty (a commit)--> clean
//   create --> new, dirty as a whole, reserved      (`isNew` until a commit has written it, before the pointer to it)
//
// Dirty, new and pinned tables stay in the cache. The others leave by the second-chance algorithm when the cache is full: a table that was used since the
// last sweep is passed over once. Where dirty tables fill the cache (`mustCommit`), callers run a commit first.

import type { Memory } from '../../../host/host.js';
import { viewOf } from '../../../util/bytes.js';
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
  /** Nothing durable points to the table yet: it must be written as a whole before the pointer to it. */
  isNew: boolean;
  /** Its cluster overlaps no other metadata and is allocated on the file system. Only then may the table be changed (table-space.ts). */
  reserved: boolean;
  /** Number of users that need the table to stay in the cache. */
  pins: number;
  /** Used since the last sweep. */
  used: boolean;
}

export class TableCache {
  readonly #tables = new Map<number, Table>();
  readonly #loading = new Map<number, Promise<void>>();
  readonly dirty = new Set<Table>();
  readonly #memory: Memory;
  readonly tableBytes: number;
  /** Number of tables; exceeded only by tables that are pinned or dirty. */
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

  /** True when most tables are dirty and the cache is full, so that only a commit makes room. */
  get mustCommit(): boolean {
    return this.#tables.size >= this.limit && this.dirty.size * 4 >= this.limit * 3;
  }

  /** Loads table `index` into the cache; `fill` reads its bytes. The caller calls `get` afterwards, and loads again where the table has left already. */
  load(index: number, offset: HostOffset, fill: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    // Another caller may have loaded the table while this one waited for a commit; the table may be dirty by now.
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

  /** Adds a new, zeroed table, dirty as a whole. Its cluster must be reserved already (`ImageFile.reserve`). */
  create(index: number, offset: HostOffset): Table {
    const bytes = this.#memory.allocate(this.tableBytes).fill(0);
    const table = this.#insert(index, offset, bytes);
    this.renew(table, offset);
    return table;
  }

  /** Moves the table to `offset`, a new place that must be reserved already. The table is dirty as a whole then. */
  renew(table: Table, offset: HostOffset): void {
    table.offset = offset;
    table.isNew = true;
    table.reserved = true;
    this.markDirty(table, 0, this.tableBytes);
  }

  #insert(index: number, offset: HostOffset, bytes: Uint8Array): Table {
    this.#makeRoom();
    const view = viewOf(bytes);
    const table: Table = {
      index,
      offset,
      bytes,
      view,
      dirtyFrom: 0,
      dirtyTo: 0,
      isNew: false,
      reserved: false,
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

  /** Returns the dirty range, rounded to whole sectors, for the caller to write. The table is clean from now on. */
  takeDirty(table: Table): { from: number; to: number } {
    const from = Math.floor(table.dirtyFrom / SECTOR) * SECTOR;
    const to = Math.ceil(table.dirtyTo / SECTOR) * SECTOR;
    table.dirtyFrom = 0;
    table.dirtyTo = 0;
    this.dirty.delete(table);
    return { from, to };
  }

  /** Removes table `index` from the cache, even if it is dirty. Nothing may point to it any more. */
  drop(index: number): void {
    const table = this.#tables.get(index);
    if (table === undefined) return;
    this.dirty.delete(table);
    this.#tables.delete(index);
    this.#memory.free(table.bytes);
  }

  /** Removes all tables, even dirty ones. */
  clear(): void {
    for (const index of [...this.#tables.keys()]) this.drop(index);
  }

  /** Removes clean, unpinned tables until there is room for one: first those that were not used since the last sweep. */
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
