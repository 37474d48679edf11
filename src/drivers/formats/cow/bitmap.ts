// The bitmap of a cow image: a bit for each sector, set where the sector was written. Pages of it are in memory.

import type { ImageFile } from '../../image-file.js';
import { hasBit } from '../blocks/bits.js';
import { type Page, Pages } from '../blocks/pages.js';
import type { Header } from './header.js';

const PAGE_BYTES = 64 << 10;
const PAGE_SECTORS = PAGE_BYTES * 8;

/** Sectors one behind the other that were all written, or none of them. */
export interface SectorRun {
  isWritten: boolean;
  sectors: number;
}

export class SectorBitmap {
  readonly pages: Pages;
  readonly #start: number;
  readonly #end: number;
  readonly #bits: number;

  constructor(file: ImageFile, { bitmapOffset, bits, dataOffset }: Header) {
    this.pages = new Pages(file);
    this.#start = bitmapOffset;
    this.#end = dataOffset;
    this.#bits = bits;
  }

  /** The run at `sector`, of `count` sectors at most, up to the end of a page; null where that is not in memory. */
  run(sector: number, count: number): SectorRun | null {
    if (sector >= this.#bits) return { isWritten: false, sectors: count };
    const page = this.pages.peek(this.#pageOf(sector));
    if (page === undefined) return null;
    const first = sector % PAGE_SECTORS;
    const stop = Math.min(PAGE_SECTORS, first + Math.min(count, this.#bits - sector));
    const { bytes } = page;
    const isWritten = hasBit(bytes, first);
    const same = isWritten ? 0xff : 0;
    let end = first + 1;
    while (end < stop) {
      if ((end & 7) === 0 && end + 8 <= stop && bytes[end >>> 3] === same) end += 8;
      else if (hasBit(bytes, end) === isWritten) end++;
      else break;
    }
    return { isWritten, sectors: end - first };
  }

  /** Reads the page of `sector`. Rejects with `io`. */
  async load(sector: number): Promise<void> {
    const offset = this.#pageOf(sector);
    await this.pages.load(offset, this.#lengthOf(offset));
  }

  /** Makes all ready for `mark` of [first, end), until what this resolves with is called. Rejects with `no-space`, `io`. */
  async prepare(first: number, end: number): Promise<() => void> {
    const used: Page[] = [];
    const release = (): void => {
      for (const page of used) page.users--;
    };
    try {
      for (let offset = this.#pageOf(first); offset <= this.#pageOf(end - 1); offset += PAGE_BYTES) {
        const page = await this.pages.use(offset, this.#lengthOf(offset));
        used.push(page);
        await this.pages.reserve(page);
      }
      return release;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Sectors [first, end) are written from now on. */
  mark(first: number, end: number): void {
    for (let sector = first; sector < end; ) {
      const page = this.pages.peek(this.#pageOf(sector))!;
      const from = sector % PAGE_SECTORS;
      const to = Math.min(PAGE_SECTORS, from + end - sector);
      setBits(page.bytes, from, to);
      this.pages.change(page, from >>> 3, (to + 7) >>> 3);
      sector += to - from;
    }
  }

  #pageOf(sector: number): number {
    return this.#start + Math.floor(sector / PAGE_SECTORS) * PAGE_BYTES;
  }

  #lengthOf(offset: number): number {
    return Math.min(PAGE_BYTES, this.#end - offset);
  }
}

function setBits(bytes: Uint8Array, from: number, to: number): void {
  let bit = from;
  while (bit < to) {
    if ((bit & 7) === 0 && bit + 8 <= to) {
      const whole = (to - bit) >>> 3;
      bytes.fill(0xff, bit >>> 3, (bit >>> 3) + whole);
      bit += whole * 8;
    } else {
      bytes[bit >>> 3] |= 1 << (bit & 7);
      bit++;
    }
  }
}
