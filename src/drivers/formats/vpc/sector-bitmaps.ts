// The bitmaps of a dynamic image's blocks: a bit for each sector that was ever written. A block that is written to has all of them set. New blocks begin so; others, which
// another program has made, are looked at when they are first written to.

import type { ImageFile } from '../../image-file.js';
import { Bits } from '../blocks/bits.js';

export class SectorBitmaps {
  readonly #file: ImageFile;
  readonly #bitmapBytes: number;
  /** Blocks whose bits are known to be set. */
  readonly #full: Bits;

  constructor(file: ImageFile, bitmapBytes: number, blocks: number) {
    this.#file = file;
    this.#bitmapBytes = bitmapBytes;
    this.#full = new Bits(blocks);
  }

  isFull(index: number): boolean {
    return this.#full.has(index);
  }

  /** All bits of block `index` are set. */
  noteFull(index: number): void {
    this.#full.add(index);
  }

  /** Sets all bits of block `index`, whose content lies at `place`. Rejects with `io`. */
  async fill(index: number, place: number): Promise<void> {
    const bits = new Uint8Array(this.#bitmapBytes);
    await this.#file.read(place - bits.length, bits);
    if (bits.some((byte) => byte !== 0xff)) await this.#file.write(place - bits.length, bits.fill(0xff));
    this.noteFull(index);
  }
}
