// Tables of two levels: an entry of L1 says where a table of L2 lies, an entry of that where a block lies. Both are read page by page.
//
//   L1   [ table | -     | table | ... ]
//          |               '----------------.
//   L2   [ place | HOLE | ZERO | ... ]    [ place | ... ]
//
// An L2 table is made when a block of it is to get its first place: its space reads as zeroes, which must mean HOLE, before L1 points there. `levels` are the
// pages in the order in which a commit writes them: L2, then L1, so that an entry of L1 never points to a table that is not on the disk.

import type { ImageFile } from '../../image-file.js';
import { type Page, Pages } from './pages.js';
import { type BlockTables, HOLE } from './places.js';
import type { NewBlock } from './space.js';

const PAGE_BYTES = 64 << 10;

/** What the entries of a format mean. Those of both levels have the same size. */
export interface Pointers {
  readonly bytes: 4 | 8;
  /** Where the entry at `at` says that table `index` of L2 lies: an offset in the file, or HOLE. Throws `corrupt-image`. */
  table(view: DataView, at: number, index: number): number;
  /** The table lies at `offset`. */
  putTable(view: DataView, at: number, offset: number): void;
  /** What the entry at `at` says of block `index`: an offset in the file, HOLE, ZERO, COMPRESSED. Throws `corrupt-image`. */
  place(view: DataView, at: number, index: number): number;
  /** The block lies at `place`, or is ZERO. */
  putPlace(view: DataView, at: number, place: number): void;
}

export interface TwoLevelPlace {
  /** Of L1 in the file, bytes. */
  offset: number;
  /** Number of entries of L1. */
  entries: number;
  /** Number of entries of a table of L2. */
  tableEntries: number;
}

/** New tables of L2. */
export interface TableSource {
  /** Takes the space of a table, for which the file has grown. Rejects with `no-space`, `io`. */
  takeTable(): Promise<NewBlock>;
  /** The table is not in use. */
  giveBackTable(table: NewBlock): void;
}

export class TwoLevelTable implements BlockTables {
  readonly #file: ImageFile;
  readonly #pointers: Pointers;
  readonly #place: TwoLevelPlace;
  readonly #source: TableSource;
  readonly #l1: Pages;
  readonly #l2: Pages;
  /** Tables of L2 that are being made, by their index. */
  readonly #making = new Map<number, Promise<number>>();

  constructor(file: ImageFile, pointers: Pointers, place: TwoLevelPlace, source: TableSource) {
    this.#file = file;
    this.#pointers = pointers;
    this.#place = place;
    this.#source = source;
    this.#l1 = new Pages(file);
    this.#l2 = new Pages(file);
  }

  get levels(): readonly Pages[] {
    return [this.#l2, this.#l1];
  }

  get changedBytes(): number {
    return this.#l1.changedBytes + this.#l2.changedBytes;
  }

  /** Nothing is in memory any more. What was not committed is lost. */
  clear(): void {
    this.#l1.clear();
    this.#l2.clear();
  }

  place(index: number): number | undefined {
    const { tableEntries } = this.#place;
    const table = this.table(Math.floor(index / tableEntries));
    if (table === undefined || table === HOLE) return table;
    const at = (index % tableEntries) * this.#pointers.bytes;
    const page = this.#l2.peek(pageOf(table, at));
    return page === undefined ? undefined : this.#pointers.place(page.view, at % PAGE_BYTES, index);
  }

  /** What `read` makes of the entry of block `index`; undefined where it is not in memory, or there is none. Throws `corrupt-image`, and as `read`. */
  entry<T>(index: number, read: (view: DataView, at: number) => T): T | undefined {
    const { tableEntries } = this.#place;
    const table = this.table(Math.floor(index / tableEntries));
    if (table === undefined || table === HOLE) return undefined;
    const at = (index % tableEntries) * this.#pointers.bytes;
    const page = this.#l2.peek(pageOf(table, at));
    return page === undefined ? undefined : read(page.view, at % PAGE_BYTES);
  }

  /** Where table `index` of L2 lies, or HOLE; undefined where the page of L1 is not in memory. Throws `corrupt-image`. */
  table(index: number): number | undefined {
    const { offset } = this.#place;
    const at = index * this.#pointers.bytes;
    const page = this.#l1.peek(pageOf(offset, at));
    return page === undefined ? undefined : this.#pointers.table(page.view, at % PAGE_BYTES, index);
  }

  /** Reads the page of L1 that says where table `index` of L2 lies. Rejects with `io`. */
  async loadTable(index: number): Promise<void> {
    const { offset, entries } = this.#place;
    const first = pageOf(offset, index * this.#pointers.bytes);
    await this.#l1.load(first, lengthOf(offset, entries * this.#pointers.bytes, first));
  }

  async load(index: number): Promise<void> {
    const { tableEntries } = this.#place;
    const tableIndex = Math.floor(index / tableEntries);
    await this.loadTable(tableIndex);
    const table = this.table(tableIndex);
    if (table === undefined || table === HOLE) return;
    const first = pageOf(table, (index % tableEntries) * this.#pointers.bytes);
    await this.#l2.load(first, this.#tablePageBytes(table, first));
  }

  async prepare(first: number, last: number): Promise<() => void> {
    const { tableEntries } = this.#place;
    const { bytes } = this.#pointers;
    const used: Page[] = [];
    const release = (): void => {
      for (const page of used) page.users--;
    };
    try {
      for (let index = first; index <= last; ) {
        const tableIndex = Math.floor(index / tableEntries);
        const end = Math.min(last + 1, (tableIndex + 1) * tableEntries);
        used.push(await this.#useL1(tableIndex));
        const table = await this.#tableFor(tableIndex);
        const to = pageOf(table, ((end - 1) % tableEntries) * bytes);
        for (let at = pageOf(table, (index % tableEntries) * bytes); at <= to; at += PAGE_BYTES) {
          const length = this.#tablePageBytes(table, at);
          const page = await this.#l2.use(at, length);
          used.push(page);
          await this.#l2.reserve(page);
        }
        index = end;
      }
      return release;
    } catch (error) {
      release();
      throw error;
    }
  }

  set(index: number, place: number): void {
    this.change(index, (view, at) => this.#pointers.putPlace(view, at, place));
  }

  /** `put` writes the entry of block `index`, which `prepare` has made ready. */
  change(index: number, put: (view: DataView, at: number) => void): void {
    const { tableEntries } = this.#place;
    const { bytes } = this.#pointers;
    const table = this.table(Math.floor(index / tableEntries))!;
    const at = (index % tableEntries) * bytes;
    const page = this.#l2.peek(pageOf(table, at))!;
    put(page.view, at % PAGE_BYTES);
    this.#l2.change(page, at % PAGE_BYTES, (at % PAGE_BYTES) + bytes);
  }

  /** Table `index` of L2 lies at `offset` from now on; HOLE: there is none. Rejects with `io`, `no-space`. */
  async setTable(index: number, offset: number): Promise<void> {
    const page = await this.#useL1(index);
    try {
      await this.#l1.reserve(page);
      this.#changeL1(page, index, offset);
    } finally {
      page.users--;
    }
  }

  #changeL1(page: Page, index: number, offset: number): void {
    const at = (index * this.#pointers.bytes) % PAGE_BYTES;
    this.#pointers.putTable(page.view, at, offset);
    this.#l1.change(page, at, at + this.#pointers.bytes);
  }

  #useL1(index: number): Promise<Page> {
    const { offset, entries } = this.#place;
    const first = pageOf(offset, index * this.#pointers.bytes);
    return this.#l1.use(first, lengthOf(offset, entries * this.#pointers.bytes, first));
  }

  /** Where table `index` of L2 lies, whose page of L1 is in use: it is made where there is none. */
  #tableFor(index: number): number | Promise<number> {
    const making = this.#making.get(index);
    if (making !== undefined) return making;
    const table = this.table(index)!;
    if (table !== HOLE) return table;
    const made = this.#makeTable(index).finally(() => this.#making.delete(index));
    this.#making.set(index, made);
    return made;
  }

  async #makeTable(index: number): Promise<number> {
    const page = await this.#useL1(index);
    try {
      await this.#l1.reserve(page);
      const made = await this.#source.takeTable();
      if (!made.fresh) {
        try {
          await this.#file.writeZeroes(made.offset, this.#place.tableEntries * this.#pointers.bytes);
        } catch (error) {
          this.#source.giveBackTable(made);
          throw error;
        }
      }
      this.#changeL1(page, index, made.offset);
      return made.offset;
    } finally {
      page.users--;
    }
  }

  #tablePageBytes(table: number, page: number): number {
    return lengthOf(table, this.#place.tableEntries * this.#pointers.bytes, page);
  }
}

/** Where the page begins that byte `at` of a table lies in. */
function pageOf(table: number, at: number): number {
  return table + at - (at % PAGE_BYTES);
}

/** Bytes of the page at `page` of a table: the last one may be short. */
function lengthOf(table: number, tableBytes: number, page: number): number {
  return Math.min(PAGE_BYTES, table + tableBytes - page);
}
