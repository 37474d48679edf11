// The grain directory and the grain tables of an seSparse extent, which are only read. Pages of the directory, and whole tables, are in memory.

import type { ImageFile } from '../../image-file.js';
import { badEntry, type Page, Pages } from '../blocks/pages.js';
import { type BlockTables, HOLE, ZERO } from '../blocks/places.js';
import { SE_ENTRY_BYTES, SE_GRAIN_BYTES, SE_TABLE_BYTES, SE_TABLE_ENTRIES, type SeHeader } from './se-header.js';

const PAGE_BYTES = 64 << 10;

/** The upper half of a directory entry that has a table. */
const TABLE_KIND = 0x1000_0000;
/** What the highest 4 bits of a table entry say. */
const Kind = { hole: 0, unmapped: 1, zeroes: 2, data: 3 } as const;

export class SeTables implements Pick<BlockTables, 'place' | 'load'> {
  readonly #file: ImageFile;
  readonly #header: SeHeader;
  readonly #directory: Pages;
  readonly #tables: Pages;

  constructor(file: ImageFile, header: SeHeader) {
    this.#file = file;
    this.#header = header;
    this.#directory = new Pages(file);
    this.#tables = new Pages(file);
  }

  clear(): void {
    this.#directory.clear();
    this.#tables.clear();
  }

  place(index: number): number | undefined {
    const number = Math.floor(index / SE_TABLE_ENTRIES);
    const at = this.#directoryPage(number);
    const page = this.#directory.peek(at);
    if (page === undefined) return undefined;
    const table = this.#tableOf(page, number);
    if (table === HOLE) return HOLE;
    const entries = this.#tables.peek(table);
    if (entries === undefined) return undefined;
    return this.#placeOf(entries, index);
  }

  async load(index: number): Promise<void> {
    const number = Math.floor(index / SE_TABLE_ENTRIES);
    const table = this.#tableOf(await this.#loadDirectory(number), number);
    if (table !== HOLE) await this.#tables.load(table, SE_TABLE_BYTES);
  }

  #loadDirectory(number: number): Promise<Page> {
    const at = this.#directoryPage(number);
    const end = this.#header.directory + this.#header.directoryEntries * SE_ENTRY_BYTES;
    return this.#directory.load(at, Math.min(PAGE_BYTES, end - at));
  }

  /** Where the page of the directory with entry `number` begins, in the file. */
  #directoryPage(number: number): number {
    return this.#header.directory + Math.floor((number * SE_ENTRY_BYTES) / PAGE_BYTES) * PAGE_BYTES;
  }

  /** Where table `number` lies, whose entry is in `page`; HOLE: there is none. Throws `corrupt-image`. */
  #tableOf(page: Page, number: number): number {
    const place = this.#tablePlace(page, number);
    if (place !== null) return place;
    const entry = this.#header.directory + number * SE_ENTRY_BYTES;
    throw badEntry(this.#file.path, `the entry of grain table ${number} points to no table`, entry);
  }

  /** Null: its entry is wrong. */
  #tablePlace({ view, offset: start }: Page, number: number): number | null {
    const at = this.#header.directory + number * SE_ENTRY_BYTES - start;
    const low = view.getUint32(at, true);
    const high = view.getUint32(at + 4, true);
    if (low === 0 && high === 0) return HOLE;
    const offset = this.#header.tables + low * SE_TABLE_BYTES;
    const isThere =
      high === TABLE_KIND && low < this.#header.tableCount && offset + SE_TABLE_BYTES <= this.#file.length;
    return isThere ? offset : null;
  }

  /** The place of grain `index`, whose table is `page`. Throws `corrupt-image`. */
  #placeOf(page: Page, index: number): number {
    const place = this.#grainPlace(page, index);
    if (place !== null) return place;
    const entry = page.offset + (index % SE_TABLE_ENTRIES) * SE_ENTRY_BYTES;
    throw badEntry(this.#file.path, `the entry of grain ${index} points to no place in the file`, entry);
  }

  /** Null: its entry is wrong. */
  #grainPlace({ view }: Page, index: number): number | null {
    const at = (index % SE_TABLE_ENTRIES) * SE_ENTRY_BYTES;
    const low = view.getUint32(at, true);
    const high = view.getUint32(at + 4, true);
    switch (high >>> 28) {
      case Kind.hole:
        return low === 0 && high === 0 ? HOLE : null;
      case Kind.unmapped:
      case Kind.zeroes:
        return ZERO;
      case Kind.data: {
        const grain = ((high & 0xffff) * 2 ** 32 + low) * 4096 + ((high >>> 16) & 0xfff);
        const offset = this.#header.grains + grain * SE_GRAIN_BYTES;
        return offset < this.#file.length ? offset : null;
      }
      default:
        return null;
    }
  }

  /** The entries of the first `grains` grains that are wrong, in the order of the disk: numbers of tables, and of grains. Rejects with `io`. */
  async *badEntries(grains: number): AsyncGenerator<{ isTable: boolean; index: number }> {
    for (let number = 0; number * SE_TABLE_ENTRIES < grains; number++) {
      const table = this.#tablePlace(await this.#loadDirectory(number), number);
      if (table === null) yield { isTable: true, index: number };
      if (table === null || table === HOLE) continue;
      const page = await this.#tables.load(table, SE_TABLE_BYTES);
      const end = Math.min(grains, (number + 1) * SE_TABLE_ENTRIES);
      for (let index = number * SE_TABLE_ENTRIES; index < end; index++) {
        if (this.#grainPlace(page, index) === null) yield { isTable: false, index };
      }
    }
  }
}
