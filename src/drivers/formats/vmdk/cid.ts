// The content ID of an image: it changes when the disk is written to for the first time after it was opened, so that whoever has the image below another one
// knows that what was made of it may not fit any more.
//
// The new one has as many digits as the old one: the text keeps its places, and one sector is written. It is on the disk before what is written to the disk is.

import { BlockError } from '../../../util/errors.js';
import { roundDown, roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { type Descriptor, NO_PARENT, type NumberPlace } from './descriptor.js';

export class ContentId {
  readonly #file: ImageFile;
  readonly #descriptor: Descriptor;
  /** Where the descriptor begins in the file. */
  readonly #start: number;
  readonly #random: () => number;
  #value: number;
  #changing: Promise<void> | null = null;
  /** It was changed since the image was opened. */
  isChanged = false;

  constructor(file: ImageFile, descriptor: Descriptor, start: number, random: () => number) {
    this.#file = file;
    this.#descriptor = descriptor;
    this.#start = start;
    this.#random = random;
    this.#value = descriptor.cid.value;
  }

  get value(): number {
    return this.#value;
  }

  /** Called before anything is written; the second call does nothing. Rejects with `io`. */
  change(): Promise<void> {
    if (this.isChanged) return Promise.resolve();
    this.#changing ??= this.#change().finally(() => {
      this.#changing = null;
    });
    return this.#changing;
  }

  /** The content ID of the backing file is `value` from now on. Rejects with `io`, and with `unsupported` where the descriptor has no room for it. */
  async setParent(value: number): Promise<void> {
    const place = this.#descriptor.parentCid;
    const text = value.toString(16);
    if (place.digits < text.length) {
      throw BlockError.at(
        this.#file.path,
        'unsupported',
        'The descriptor has no room for the content ID of the backing file',
        {
          operation: 'note backing file',
        },
      );
    }
    await this.#patch(place, text);
    place.value = value;
  }

  async #change(): Promise<void> {
    const { cid } = this.#descriptor;
    const value = this.#another(cid.digits);
    await this.#patch(cid, value.toString(16));
    this.#value = value;
    this.isChanged = true;
  }

  /** Writes the digits of a number in place of those that are there, and makes that durable. */
  async #patch({ at, digits }: NumberPlace, text: string): Promise<void> {
    const from = this.#start + at;
    const first = roundDown(from, SECTOR_BYTES);
    const end = Math.min(roundUp(from + digits, SECTOR_BYTES), this.#file.length);
    const bytes = new Uint8Array(end - first);
    await this.#file.read(first, bytes);
    bytes.set(new TextEncoder().encode(text.padStart(digits, '0')), from - first);
    await this.#file.write(first, bytes);
    await this.#file.flush();
  }

  #another(digits: number): number {
    const most = 16 ** digits;
    for (;;) {
      const value = (this.#random() >>> 0) % most;
      if (value !== this.#value && value !== NO_PARENT && (digits === 1 || value !== 0)) return value;
    }
  }
}

/** A content ID for a new image. `random`: 32 random bits. */
export function newContentId(random: () => number): number {
  for (;;) {
    const value = random() >>> 0;
    if (value !== NO_PARENT && value !== 0) return value;
  }
}
