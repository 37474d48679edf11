// The table of a Parallels image, as the places of its clusters, with the words of the header before it.

import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { LinearTable } from '../blocks/linear-table.js';
import { badEntry } from '../blocks/pages.js';
import { type BlockTables, HOLE } from '../blocks/places.js';
import { HEADER_BYTES, HEADER_WORDS, type Header, tableEnd, WORD_BYTES } from './header.js';

const STEP_BYTES = 1 << 20;

/** Called with the entries that are not empty, in order: the place of the cluster in the file. */
export type VisitEntry = (index: number, place: number) => void;

/** Reads the table; beyond the end of the file there are none. Rejects with `io`. */
export async function readEntries(file: ImageFile, { entries, entryUnit }: Header, visit: VisitEntry): Promise<void> {
  const total = Math.min(tableEnd(entries), roundUp(file.length, SECTOR_BYTES));
  const buffer = new Uint8Array(Math.min(STEP_BYTES, total));
  const view = new DataView(buffer.buffer);
  for (let done = 0; done < total; done += buffer.length) {
    const length = Math.min(buffer.length, total - done);
    await file.read(done, buffer.subarray(0, length));
    const end = Math.min(length, HEADER_BYTES + entries * WORD_BYTES - done);
    for (let at = done === 0 ? HEADER_BYTES : 0; at < end; at += WORD_BYTES) {
      const entry = view.getUint32(at, true);
      if (entry !== 0) visit((done + at - HEADER_BYTES) / WORD_BYTES, entry * entryUnit);
    }
  }
}

export class ClusterTable implements BlockTables {
  readonly words: LinearTable;
  readonly #file: ImageFile;
  readonly #header: Header;

  constructor(file: ImageFile, header: Header) {
    this.#file = file;
    this.#header = header;
    this.words = new LinearTable(file, { offset: 0, entries: HEADER_WORDS + header.entries, littleEndian: true });
  }

  /** The place of cluster `index`, which may begin where the file ends: there are zeroes; HOLE; undefined where it is not in memory. Throws `corrupt-image`. */
  place(index: number): number | undefined {
    const entry = this.words.get(HEADER_WORDS + index);
    if (entry === undefined) return undefined;
    if (entry === 0) return HOLE;
    const place = entry * this.#header.entryUnit;
    if (place >= tableEnd(this.#header.entries) && place <= this.#file.length) return place;
    const at = HEADER_BYTES + index * WORD_BYTES;
    throw badEntry(this.#file.path, `cluster ${index} lies outside of the image's data, at ${place}`, at);
  }

  load(index: number): Promise<void> {
    return this.words.load(HEADER_WORDS + index);
  }

  prepare(first: number, last: number): Promise<() => void> {
    return this.words.prepare(HEADER_WORDS + first, HEADER_WORDS + last);
  }

  /** `place`: in the file; 0: the cluster holds zeroes. */
  set(index: number, place: number): void {
    this.words.set(HEADER_WORDS + index, place / this.#header.entryUnit);
  }

  get changedBytes(): number {
    return this.words.pages.changedBytes;
  }
}
