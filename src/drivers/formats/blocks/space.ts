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
    if (spare === undefined) return this.takeRun(1);
    return { ...spare, fresh: (await this.#grown(spare.offset, 1)) || spare.fresh };
  }

  /** The same for blocks that lie one behind the other, at the end. */
  async takeRun(blocks: number): Promise<NewBlock> {
    const offset = this.#end;
    this.#end = offset + blocks * this.#blockBytes;
    return { offset, fresh: await this.#grown(offset, blocks) };
  }

  /** The file has these blocks; resolves to whether they are known to read as zeroes. Where it rejects, they are free again. */
  async #grown(offset: number, blocks: number): Promise<boolean> {
    const end = offset + blocks * this.#blockBytes;
    try {
      await this.#file.ensureLength(end);
    } catch (error) {
      this.giveBackRun({ offset, fresh: false }, blocks);
      throw error;
    }
    return this.#file.takeFresh(offset, end);
  }

  /** The block is not in use. `fresh`: nothing was written to it. */
  giveBack(block: NewBlock): void {
    this.giveBackRun(block, 1);
  }

  /** The same for those of `takeRun`. */
  giveBackRun({ offset, fresh }: NewBlock, blocks: number): void {
    if (offset + blocks * this.#blockBytes === this.#end) {
      this.#end = offset;
      return;
    }
    for (let i = blocks - 1; i >= 0; i--) this.#spare.push({ offset: offset + i * this.#blockBytes, fresh });
  }
}
