// The grain directory and the grain tables of a sparse extent, with their copies. Pages of the directories, and whole tables, are in memory.
//
//   directory  | . | T1 | ...          copy of the directory  | . | C1 | ...
//                     \                                            \
//   table T1          | . | grain | ... |                     C1   | . | grain | ... |     an entry is set in both
//
// A table that is not there is made, with its copy, when the first grain of it is written: it is durable before the directories point to it.

import { SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { LinearTable } from '../blocks/linear-table.js';
import { badEntry, type Page, Pages } from '../blocks/pages.js';
import { type BlockTables, HOLE, ZERO } from '../blocks/places.js';
import type { GrainSpace } from './grain-space.js';
import { ENTRY_BYTES, HEADER_BYTES, type SparseHeader, tableBytes } from './header.js';

/** The entry of a grain of zeroes, where a flag of the header says so. */
export const ZERO_ENTRY = 1;

export class GrainTables implements BlockTables {
  readonly #file: ImageFile;
  readonly #header: SparseHeader;
  readonly #tableBytes: number;
  readonly #space: GrainSpace;
  readonly #directory: LinearTable;
  readonly #copies: LinearTable | null;
  /** Tables, and copies of tables. */
  readonly #tables: Pages;
  /** What no grain and no table may lie on: [start, end) each. */
  readonly #metadata: readonly (readonly [number, number])[];
  readonly #metadataEnd: number;
  /** Tables that are being made, by their number. */
  readonly #making = new Map<number, Promise<void>>();

  /** `descriptorEnd`: of the descriptor that lies in the file, 0 where none does. */
  constructor(file: ImageFile, header: SparseHeader, space: GrainSpace, descriptorEnd: number) {
    this.#file = file;
    this.#header = header;
    this.#tableBytes = tableBytes(header);
    this.#space = space;
    const { directory, redundantDirectory, directoryEntries: entries } = header;
    this.#directory = new LinearTable(file, { offset: directory, entries, littleEndian: true });
    this.#copies =
      redundantDirectory === null
        ? null
        : new LinearTable(file, { offset: redundantDirectory, entries, littleEndian: true });
    this.#tables = new Pages(file);
    const bytes = entries * ENTRY_BYTES;
    this.#metadata = [
      [0, Math.max(HEADER_BYTES, descriptorEnd)],
      [directory, directory + bytes],
      ...(redundantDirectory === null ? [] : [[redundantDirectory, redundantDirectory + bytes] as const]),
    ];
    this.#metadataEnd = Math.max(...this.#metadata.map(([, end]) => end));
  }

  #isOnMetadata(offset: number, bytes: number): boolean {
    if (offset >= this.#metadataEnd) return false;
    return this.#metadata.some(([from, to]) => offset < to && from < offset + bytes);
  }

  /** In the order in which a commit writes them. */
  get levels(): readonly Pages[] {
    const { pages } = this.#directory;
    return this.#copies === null ? [this.#tables, pages] : [this.#tables, this.#copies.pages, pages];
  }

  get changedBytes(): number {
    return this.#tables.changedBytes;
  }

  clear(): void {
    for (const pages of this.levels) pages.clear();
  }

  place(index: number): number | undefined {
    const { tableEntries } = this.#header;
    const number = Math.floor(index / tableEntries);
    const table = this.#directory.get(number);
    if (table === undefined) return undefined;
    if (table === 0) return HOLE;
    const page = this.#tables.peek(table * SECTOR_BYTES);
    if (page === undefined) return undefined;
    return this.#placeOf(page.view.getUint32((index % tableEntries) * ENTRY_BYTES, true), index);
  }

  #placeOf(entry: number, index: number): number {
    if (entry === 0) return HOLE;
    if (entry === ZERO_ENTRY && this.#header.zeroGrains) return ZERO;
    const offset = entry * SECTOR_BYTES;
    // A guest that writes to the grain would write the descriptor, and the names in it.
    if (this.#isOnMetadata(offset, this.#header.isCompressed ? SECTOR_BYTES : this.#header.grainBytes)) {
      throw badEntry(this.#file.path, `grain ${index} lies on the metadata`, offset);
    }
    if (offset < this.#file.length) return offset;
    throw badEntry(this.#file.path, `grain ${index} points beyond the end of the file`, offset);
  }

  async load(index: number): Promise<void> {
    const number = Math.floor(index / this.#header.tableEntries);
    await this.#directory.load(number);
    const table = this.#directory.get(number);
    if (table !== undefined && table !== 0) await this.#tables.load(this.#checked(table, number), this.#tableBytes);
  }

  /** Where the table lies; all of it is in the file. Throws `corrupt-image`. */
  #checked(table: number, number: number): number {
    const offset = table * SECTOR_BYTES;
    if (this.#isOnMetadata(offset, this.#tableBytes)) {
      throw badEntry(this.#file.path, `grain table ${number} lies on the metadata`, offset);
    }
    if (this.#isInFile(offset)) return offset;
    throw badEntry(this.#file.path, `grain table ${number} lies outside of the file`, offset);
  }

  #isInFile(offset: number): boolean {
    return offset + this.#tableBytes <= this.#file.length;
  }

  async prepare(first: number, last: number): Promise<() => void> {
    const { tableEntries } = this.#header;
    const pages: Page[] = [];
    const release = (): void => {
      for (const page of pages) page.users--;
    };
    try {
      for (let number = Math.floor(first / tableEntries); number <= Math.floor(last / tableEntries); number++) {
        const [table, copy] = await this.#placesOf(number);
        for (const offset of copy === 0 ? [table] : [table, copy]) {
          const page = await this.#tables.use(offset, this.#tableBytes);
          pages.push(page);
          await this.#tables.reserve(page);
        }
      }
      return release;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Of table `number` and its copy (0: there is none that lies in the file): bytes. A table that is not there is made. */
  async #placesOf(number: number): Promise<[table: number, copy: number]> {
    for (;;) {
      await this.#directory.load(number);
      await this.#copies?.load(number);
      const table = this.#directory.get(number);
      const copy = this.#copies === null ? 0 : this.#copies.get(number);
      if (table === undefined || copy === undefined) continue;
      if (table !== 0) {
        const offset = this.#checked(table, number);
        const second = copy * SECTOR_BYTES;
        const isThere =
          copy !== 0 && copy !== table && this.#isInFile(second) && !this.#isOnMetadata(second, this.#tableBytes);
        return [offset, isThere ? second : 0];
      }
      const making = this.#making.get(number) ?? this.#make(number).finally(() => this.#making.delete(number));
      this.#making.set(number, making);
      await making;
    }
  }

  async #make(number: number): Promise<void> {
    const releases: (() => void)[] = [];
    try {
      for (const directory of this.#directories) releases.push(await directory.prepare(number, number));
      const places: number[] = [];
      for (const _ of this.#directories) {
        const offset = await this.#space.takeTable(this.#tableBytes);
        places.push(offset);
        await this.#file.reserve(offset, this.#tableBytes);
      }
      for (const [i, directory] of this.#directories.entries()) {
        // Its space is there already.
        this.#tables.make(places[i], this.#tableBytes).space = Promise.resolve();
        directory.set(number, places[i] / SECTOR_BYTES);
      }
    } finally {
      for (const release of releases) release();
    }
  }

  get #directories(): readonly LinearTable[] {
    return this.#copies === null ? [this.#directory] : [this.#directory, this.#copies];
  }

  /** Makes holes of all grains. Nothing is written meanwhile, and what was changed is written. Resolves with the end of the last table. Rejects with `io`, `corrupt-image`. */
  async empty(): Promise<number> {
    let end = 0;
    for (let number = 0; number < this.#header.directoryEntries; number++) {
      for (const directory of this.#directories) {
        await directory.load(number);
        const table = directory.get(number)!;
        if (table === 0) continue;
        const offset = this.#checked(table, number);
        await this.#file.writeZeroes(offset, this.#tableBytes);
        end = Math.max(end, offset + this.#tableBytes);
      }
    }
    await this.#file.flush();
    this.clear();
    return end;
  }

  set(index: number, place: number): void {
    const { tableEntries } = this.#header;
    const number = Math.floor(index / tableEntries);
    const at = (index % tableEntries) * ENTRY_BYTES;
    for (const directory of this.#directories) {
      const table = directory.get(number);
      const page = table === undefined ? undefined : this.#tables.peek(table * SECTOR_BYTES);
      // A copy that does not lie in the file was not made ready.
      if (page === undefined) continue;
      page.view.setUint32(at, place === ZERO ? ZERO_ENTRY : place / SECTOR_BYTES, true);
      this.#tables.change(page, at, at + ENTRY_BYTES);
    }
  }
}
