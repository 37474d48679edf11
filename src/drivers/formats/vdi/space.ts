// The blocks of a VDI image that are free. The header only counts those in use, and what a loss of power has left is counted, too, or lies where no entry points: so the map
// is looked through before the first block is taken (4 bytes for each MiB of the disk).

import type { ImageFile } from '../../image-file.js';
import { Bits } from '../blocks/bits.js';
import type { BlockSource } from '../blocks/places.js';
import { BlockSpace, type NewBlock } from '../blocks/space.js';
import { readEntries } from './check.js';
import { BLOCK_BYTES, type Header } from './header.js';

export class VdiSpace implements BlockSource {
  readonly #file: ImageFile;
  readonly #header: Header;
  #blocks: BlockSpace | null = null;
  #looking: Promise<BlockSpace> | null = null;
  /** When the map was looked through, each entry had a block of its own, and no block before the last one was free. */
  #wasDense = false;
  /** The blocks that were in use then, while some before the last one may be free that nobody has taken since: from number `#gap` on. There may be millions. */
  #used: Bits | null = null;
  #gap = 0;
  #end = 0;

  constructor(file: ImageFile, header: Header) {
    this.#file = file;
    this.#header = header;
  }

  /** How many blocks the header is to count: up to the last one that was taken. */
  get count(): number {
    if (this.#blocks === null) return this.#header.allocated;
    return (this.#blocks.end - this.#header.dataOffset) / BLOCK_BYTES;
  }

  async take(): Promise<NewBlock> {
    if (this.#blocks === null) {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = null;
      });
      const found = await this.#looking;
      this.#blocks ??= found;
    }
    this.#findGap(this.#blocks);
    return this.#blocks.take();
  }

  /** Gives the next free block of the image to `blocks`, which has no other one before its end. */
  #findGap(blocks: BlockSpace): void {
    if (this.#used === null || blocks.hasSpare) return;
    while (this.#gap < this.#end && this.#used.has(this.#gap)) this.#gap++;
    if (this.#gap === this.#end) this.#used = null;
    else blocks.giveBack({ offset: this.#header.dataOffset + this.#gap++ * BLOCK_BYTES, fresh: false });
  }

  giveBack(block: NewBlock): void {
    this.#blocks!.giveBack(block);
  }

  /**
   * How many blocks before the last one in use were taken, and are not in use; `count` is up to that last one then. Of an image that had such blocks before, or wrong entries, that is not
   * told: these are for a repair.
   */
  settle(): number {
    const gaps = this.#blocks?.settle() ?? 0;
    return this.#wasDense ? gaps : 0;
  }

  /** The map was changed by a repair: it is looked through anew. */
  forget(): void {
    this.#blocks = null;
  }

  async #look(): Promise<BlockSpace> {
    const { blocks, dataOffset } = this.#header;
    const used = new Bits(blocks);
    let entries = 0;
    let end = 0;
    let isWrong = false;
    await readEntries(this.#file, this.#header, (_, entry) => {
      isWrong ||= entry >= blocks || used.has(entry);
      if (entry >= blocks) return;
      used.add(entry);
      entries++;
      end = Math.max(end, entry + 1);
    });
    this.#wasDense = !isWrong && entries === end;
    this.#used = this.#wasDense ? null : used;
    this.#gap = 0;
    this.#end = end;
    return new BlockSpace(this.#file, BLOCK_BYTES, dataOffset + end * BLOCK_BYTES);
  }
}
