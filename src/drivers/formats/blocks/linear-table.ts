// A table of one number for each block, which lies in the file as one run, read page by page.

import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { type Page, Pages } from './pages.js';

const PAGE_BYTES = 64 << 10;
const ENTRY_BYTES = 4;

export interface LinearPlace {
  /** In the file, bytes. */
  offset: number;
  /** Number of entries. */
  entries: number;
  littleEndian: boolean;
  /** The table is read and written in whole units of so many bytes: a divisor of 64 KiB. Default: sectors. */
  unitBytes?: number;
}

/** Entries of 32 bits. */
export class LinearTable {
  readonly pages: Pages;
  readonly #place: LinearPlace;

  constructor(file: ImageFile, place: LinearPlace) {
    this.#place = place;
    this.pages = new Pages(file, place.unitBytes);
  }

  /** Entry `index`; undefined where it is not in memory. */
  get(index: number): number | undefined {
    const page = this.pages.peek(this.#pageOf(index));
    return page?.view.getUint32((index * ENTRY_BYTES) % PAGE_BYTES, this.#place.littleEndian);
  }

  /** Reads the page of entry `index`. Rejects with `io`. */
  async load(index: number): Promise<void> {
    const offset = this.#pageOf(index);
    await this.pages.load(offset, Math.min(PAGE_BYTES, this.#endOffset - offset));
  }

  /**
   * Entries [first, last] are in memory, and have space in the file, until what this resolves with is called. Rejects with `io`, `no-space`.
   */
  async prepare(first: number, last: number): Promise<() => void> {
    const pages: Page[] = [];
    const release = (): void => {
      for (const page of pages) page.users--;
    };
    try {
      for (let offset = this.#pageOf(first); offset <= this.#pageOf(last); offset += PAGE_BYTES) {
        const length = Math.min(PAGE_BYTES, this.#endOffset - offset);
        const page = await this.pages.use(offset, length);
        pages.push(page);
        await this.pages.reserve(page);
      }
      return release;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Entry `index`, which `prepare` has made ready, becomes `value`. */
  set(index: number, value: number): void {
    const page = this.pages.peek(this.#pageOf(index))!;
    const at = (index * ENTRY_BYTES) % PAGE_BYTES;
    page.view.setUint32(at, value, this.#place.littleEndian);
    this.pages.change(page, at, at + ENTRY_BYTES);
  }

  /** Of the first unit behind the table. */
  get #endOffset(): number {
    const { offset, entries, unitBytes = SECTOR_BYTES } = this.#place;
    return offset + roundUp(entries * ENTRY_BYTES, unitBytes);
  }

  #pageOf(index: number): number {
    return this.#place.offset + Math.floor((index * ENTRY_BYTES) / PAGE_BYTES) * PAGE_BYTES;
  }
}
