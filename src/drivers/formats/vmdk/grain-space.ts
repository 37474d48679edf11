// The space of a sparse extent's file: new grains and tables go to its end. Several tables share the room of one grain.

import { BlockError } from '../../../util/errors.js';
import { roundUp } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import type { BlockSource } from '../blocks/places.js';
import { BlockSpace, type NewBlock } from '../blocks/space.js';
import { MAX_FILE_BYTES } from './header.js';

export class GrainSpace implements BlockSource {
  readonly #file: ImageFile;
  readonly #grainBytes: number;
  readonly #blocks: BlockSpace;
  /** What is left of the room for tables. */
  readonly #room = { offset: 0, end: 0 };
  #roomTaken: Promise<void> | null = null;
  /** Something was taken since this was made, or `forget`. */
  hasTaken = false;

  constructor(file: ImageFile, grainBytes: number) {
    this.#file = file;
    this.#grainBytes = grainBytes;
    // Behind a last grain that was cut.
    const cut = file.length % grainBytes === 0 ? 0 : grainBytes;
    this.#blocks = new BlockSpace(file, grainBytes, roundUp(file.length, grainBytes) + cut);
  }

  /** Rejects with `limit` where a place does not fit in an entry, `no-space`, `io`. */
  async take(): Promise<NewBlock> {
    this.hasTaken = true;
    const block = await this.#blocks.take();
    if (block.offset + this.#grainBytes <= MAX_FILE_BYTES) return block;
    this.#blocks.giveBack(block);
    throw BlockError.at(this.#file.path, 'limit', 'The file of a VMDK extent cannot be larger than 2 TiB', {
      offset: block.offset,
      operation: 'allocate',
    });
  }

  giveBack(block: NewBlock): void {
    this.#blocks.giveBack(block);
  }

  /** Gives up what was given back: at the end the file becomes shorter when it is trimmed, elsewhere it has holes. Only at the close. */
  async dropSpare(): Promise<void> {
    this.#blocks.settle();
    await this.#blocks.dropSpare();
  }

  /** Room for a table of `length` bytes, no more than a grain. Rejects as `take`. */
  async takeTable(length: number): Promise<number> {
    while (this.#room.offset + length > this.#room.end) {
      this.#roomTaken ??= this.#takeRoom().finally(() => {
        this.#roomTaken = null;
      });
      await this.#roomTaken;
    }
    const { offset } = this.#room;
    this.#room.offset += length;
    return offset;
  }

  async #takeRoom(): Promise<void> {
    const { offset } = await this.take();
    this.#room.offset = offset;
    this.#room.end = offset + this.#grainBytes;
  }
}
