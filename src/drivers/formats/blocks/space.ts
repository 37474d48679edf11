// The space of a file in blocks of one size, from `start` on: new blocks are taken from its end.

import type { ImageFile } from '../../image-file.js';

/** A block for new content. */
export interface NewBlock {
  /** In the file. */
  offset: number;
  /** It reads as zeroes. */
  fresh: boolean;
}

export class BlockSpace {
  readonly #file: ImageFile;
  readonly #blockBytes: number;
  #end: number;
  /** Blocks that were allocated, and are not in use. */
  readonly #spare: NewBlock[] = [];

  /** `end`: where the first new block goes. */
  constructor(file: ImageFile, blockBytes: number, end: number) {
    this.#file = file;
    this.#blockBytes = blockBytes;
    this.#end = end;
  }

  /** End of what was ever allocated. */
  get end(): number {
    return this.#end;
  }

  /** Takes a block, for which the file has grown. Rejects with `no-space`, `io`. */
  async take(): Promise<NewBlock> {
    const spare = this.#spare.pop();
    const offset = spare?.offset ?? this.#end;
    const end = offset + this.#blockBytes;
    this.#end = Math.max(this.#end, end);
    try {
      await this.#file.ensureLength(end);
    } catch (error) {
      this.giveBack({ offset, fresh: false });
      throw error;
    }
    const fresh = this.#file.takeFresh(offset, end);
    return { offset, fresh: fresh || spare?.fresh === true };
  }

  /** The block is not in use. `fresh`: nothing was written to it. */
  giveBack(block: NewBlock): void {
    if (block.offset + this.#blockBytes === this.#end) this.#end = block.offset;
    else this.#spare.push(block);
  }
}
