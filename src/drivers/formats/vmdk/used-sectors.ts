// The sectors of a file that are in use: bits, of which there are pages where any is set.

import { SECTOR_BYTES } from '../../../util/numbers.js';
import { hasBit } from '../blocks/bits.js';

const PAGE_SECTORS = 4096;

export class UsedSectors {
  readonly #pages = new Map<number, Uint8Array>();

  /** Marks the sectors of [start, end), bytes; false where one of them was marked before: then nothing is. */
  take(start: number, end: number): boolean {
    const first = Math.floor(start / SECTOR_BYTES);
    const last = Math.ceil(end / SECTOR_BYTES);
    for (let sector = first; sector < last; sector++) if (this.#has(sector)) return false;
    for (let sector = first; sector < last; sector++) this.#add(sector);
    return true;
  }

  #has(sector: number): boolean {
    const page = this.#pages.get(Math.floor(sector / PAGE_SECTORS));
    return page !== undefined && hasBit(page, sector % PAGE_SECTORS);
  }

  #add(sector: number): void {
    const number = Math.floor(sector / PAGE_SECTORS);
    const page = this.#pages.get(number) ?? new Uint8Array(PAGE_SECTORS / 8);
    this.#pages.set(number, page);
    const at = sector % PAGE_SECTORS;
    page[at >> 3] |= 1 << (at & 7);
  }
}
