// Marks the bitmaps of an image as in use before what is stored of them is wrong, and reserves space for the bits that a write will set (bitmap-store.ts).

import type { DirtyBitmap } from '../../../block/bitmap.js';
import type { Extent } from '../../../block/types.js';
import { reportUnforeseen } from '../../../util/best-effort.js';
import type { KeptBitmap } from './bitmap-kept.js';
import type { DirectoryOnDisk } from './bitmap-on-disk.js';
import { allocateBits } from './bitmap-write.js';

export class BitmapMarks {
  readonly #disk: DirectoryOnDisk;
  readonly #bitmaps: ReadonlyMap<string, DirtyBitmap>;

  /** `bitmaps` are those that the node has, by name. */
  constructor(disk: DirectoryOnDisk, bitmaps: ReadonlyMap<string, DirtyBitmap>) {
    this.#disk = disk;
    this.#bitmaps = bitmaps;
  }

  /** The node has it no more. */
  isGone({ bitmap }: KeptBitmap): boolean {
    return this.#bitmaps.get(bitmap.name ?? '') !== bitmap;
  }

  /** See `BitmapGuard`. */
  mustPrepare(offset: number, length: number): boolean {
    if (this.#disk.switchPending) return true;
    for (const kept of this.#disk.kept) {
      if (kept.needsMark(offset, length) || (this.isGone(kept) && !kept.marked)) return true;
      if (kept.entryWithoutRoom(offset, length) >= 0) return true;
    }
    return false;
  }

  /** See `BitmapGuard`. Nobody may store meanwhile. */
  async prepare(extents: readonly Extent[]): Promise<void> {
    await this.#disk.settle();
    const isConcerned = (kept: KeptBitmap): boolean =>
      (this.isGone(kept) && !kept.marked) || extents.some(({ offset, length }) => kept.needsMark(offset, length));
    for (const { offset, length } of extents) await this.#reserve(offset, length);
    await this.#disk.mark(this.#disk.kept.filter(isConcerned));
  }

  /** All of the disk is about to change. Nobody may store meanwhile. */
  async prepareAll(): Promise<void> {
    await this.#disk.settle();
    // An inconsistent one, too: only what is marked may have a table of another disk size.
    const { kept: all, trusted } = this.#disk;
    await this.#disk.mark(all.filter((kept) => !kept.marked && (kept.usable || kept.stored.auto || trusted)));
  }

  /** Allocates clusters for the bits of a range that will be written, as far as there is space: a store should not fail for lack of it. */
  async #reserve(offset: number, length: number): Promise<void> {
    const { image, kept: list } = this.#disk;
    for (const kept of list) {
      for (let entry = kept.entryWithoutRoom(offset, length); entry >= 0; ) {
        try {
          const host = await allocateBits(image, kept, entry);
          await image.file.reserve(host, image.geometry.clusterSize);
        } catch (error) {
          reportUnforeseen('space for bitmaps', error);
          kept.noRoom = true;
        }
        entry = kept.entryWithoutRoom(offset, length);
      }
    }
  }
}
