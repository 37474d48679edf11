// The space of an image: new blocks go where no block of the table lies, as there may be such places after a loss of power, and then to the end of the file.

import { roundUp } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import type { BlockSource } from '../blocks/places.js';
import { BlockSpace, type NewBlock } from '../blocks/space.js';
import type { Survey } from './check.js';
import { MIB } from './header.js';
import { regionUnder, type TableShape } from './table.js';

/** The next writer finds what is more. */
const MAX_FREE = 1 << 16;

export class VhdxSpace implements BlockSource {
  readonly #file: ImageFile;
  readonly #shape: TableShape;
  #blocks: BlockSpace | null = null;

  constructor(file: ImageFile, shape: TableShape) {
    this.#file = file;
    this.#shape = shape;
  }

  /** Where the blocks end; 0 before `begin`. */
  get end(): number {
    return this.#blocks?.end ?? 0;
  }

  /** To be called before the first block is taken, and when a repair has changed the table. */
  begin({ used, end }: Pick<Survey, 'used' | 'end'>): void {
    const { blockBytes, regions } = this.#shape;
    const blocks = new BlockSpace(this.#file, blockBytes, roundUp(end, MIB));
    const free: number[] = [];
    for (let place = roundUp(regions.all[0][1], MIB); place + blockBytes <= blocks.end && free.length < MAX_FREE; ) {
      const region = regionUnder(this.#shape, place, place + blockBytes);
      if (region !== undefined) place = roundUp(region[1], MIB);
      else if (used.isFree(place)) {
        free.push(place);
        place += blockBytes;
      } else place += MIB;
    }
    blocks.addFree(free);
    this.#blocks = blocks;
  }

  /** A block that reads as zeroes. */
  async take(): Promise<NewBlock> {
    const block = await this.#blocks!.take();
    if (block.fresh) return block;
    try {
      await this.#file.writeZeroes(block.offset, this.#shape.blockBytes, true);
    } catch (error) {
      this.#blocks!.giveBack(block);
      throw error;
    }
    return { ...block, fresh: true };
  }

  giveBack(block: NewBlock): void {
    this.#blocks!.giveBack(block);
  }

  /** As `BlockSpace.dropSpare`. */
  async dropSpare(): Promise<void> {
    await this.#blocks?.dropSpare();
  }
}
