// The two footers of a dynamic image that is written. The last sector of the file is one; it moves when the file grows, and what was the last sector becomes a part of a block.
// So at each instant the copy at the begin is right: nothing writes there, unless it was wrong, and then it is mended, and durable, before anything else is written.
//
//   | copy | header | table | block | block | ... unused ... | footer |     as each commit leaves the file, and the close, without the unused part
//
// The file grows in strides. The footer of an earlier stride may lie where a block comes: such a block does not read as zeroes (`holds`), and waits for a footer that is on
// its way there (`settled`).

import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { FOOTER_BYTES } from './footer.js';
import type { Head } from './head.js';

export class Footers {
  readonly #file: ImageFile;
  readonly #footer: Uint8Array;
  #hasCopy: boolean;
  #mending: Promise<void> | null = null;
  /** Where the last sector was written, and the file ended then; -1: nowhere. */
  #end = -1;
  /** All places at which it was written. */
  readonly #places: number[] = [];
  /** What is under way to places of the last sector, old ones too. */
  readonly #busy = new Set<Promise<void>>();
  /** Where the last sector has, or gets, space on the file system. */
  #reserved: { last: number; done: Promise<void> } | null = null;

  constructor(file: ImageFile, { footer, hasCopy, hasEnd }: Head) {
    this.#file = file;
    this.#footer = footer;
    this.#hasCopy = hasCopy;
    if (hasEnd) this.#end = this.#last;
  }

  get #last(): number {
    return this.#file.length - FOOTER_BYTES;
  }

  /** The copy at the begin is right, and durable. Must be called before the file grows, and before what was its end is written to. Rejects with `io`. */
  async keepCopy(): Promise<void> {
    if (this.#hasCopy) return;
    this.#mending ??= this.#mend().finally(() => {
      this.#mending = null;
    });
    await this.#mending;
  }

  async #mend(): Promise<void> {
    await this.#file.write(0, this.#footer);
    await this.#file.flush();
    this.#hasCopy = true;
  }

  /** The footer behind `usedEnd`, the end of all blocks, can be written whenever it is to be: there is space for it. Rejects with `no-space`, `io`. */
  async reserve(usedEnd: number): Promise<void> {
    const end = usedEnd + FOOTER_BYTES;
    const { length } = this.#file;
    // A file need not end with a whole sector.
    await this.#file.ensureLength(length % SECTOR_BYTES === 0 ? end : Math.max(end, roundUp(length, SECTOR_BYTES)));
    const last = this.#last;
    if (this.#reserved?.last !== last) {
      const made = { last, done: this.#tracked(this.#file.reserve(last, FOOTER_BYTES)) };
      this.#reserved = made;
      made.done.catch(() => {
        if (this.#reserved === made) this.#reserved = null;
      });
    }
    await this.#reserved!.done;
  }

  /** A footer was written in [start, end), and is not needed there any more. */
  holds(start: number, end: number): boolean {
    return this.#places.some((place) => place < end && place + FOOTER_BYTES > start);
  }

  /** Waits for what is under way to a last sector. When the file has grown, nothing begins at the old one any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#busy]);
  }

  #tracked(action: Promise<void>): Promise<void> {
    const tracked = action.finally(() => this.#busy.delete(tracked));
    this.#busy.add(tracked);
    return tracked;
  }

  /** The last sector of the file is the footer: behind `usedEnd`. Rejects with `io`. */
  async writeEnd(usedEnd: number): Promise<void> {
    if (this.#end === this.#last && this.#end >= usedEnd) return;
    try {
      await this.reserve(usedEnd);
    } catch (error) {
      // Of an image that somebody else left without a last footer, and that has no room for one: the copy is right.
      if (isFull(error) && this.#hasCopy) return;
      throw error;
    }
    const place = this.#last;
    await this.#write(place);
    this.#end = place;
  }

  /** Cuts the unused part of the file, so that it ends with its footer. On a full disk it may stay. Rejects with `io`. */
  async trim(): Promise<void> {
    const { usedEnd, length } = this.#file;
    if (length <= usedEnd) return;
    try {
      await this.#write(usedEnd - FOOTER_BYTES);
    } catch (error) {
      if (isFull(error)) return;
      throw error;
    }
    await this.#file.trim();
    if (this.#file.length === usedEnd) this.#end = usedEnd - FOOTER_BYTES;
    await this.#file.flush();
  }

  #write(place: number): Promise<void> {
    this.#places.push(place);
    return this.#tracked(this.#file.write(place, this.#footer));
  }
}

function isFull(error: unknown): boolean {
  return error instanceof BlockError && error.code === 'no-space';
}
