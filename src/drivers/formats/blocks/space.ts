// The space of a file in blocks of one size: new ones, and what else the format stores there, are taken from its end. What is given back at the end makes the file shorter when it is closed;
// a block that is given back elsewhere is taken again first.

import { BlockError } from '../../../util/errors.js';
import { roundUp } from '../../../util/numbers.js';
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
  readonly #unit: number;
  #end: number;
  /** Blocks that were allocated, and are not in use. */
  readonly #spare: NewBlock[] = [];
  /** Offsets of blocks that nobody has used since before this was made, the last one first. */
  #free: number[] = [];

  /** `end`: where the first new block goes, or before it, where blocks begin at multiples of `unit`. */
  constructor(file: ImageFile, blockBytes: number, end: number, unit = 1) {
    this.#file = file;
    this.#blockBytes = blockBytes;
    this.#end = end;
    this.#unit = unit;
  }

  /** End of what was ever allocated. */
  get end(): number {
    return this.#end;
  }

  /** Blocks before the end, in ascending order, that are not in use: they are taken where none was given back. */
  addFree(offsets: readonly number[]): void {
    this.#free = offsets.toReversed();
  }

  /** A block was given back before the end, and is taken next. */
  get hasSpare(): boolean {
    return this.#spare.length > 0;
  }

  /**
   * Gives up the blocks at the end that are not in use, so that `end` is behind one that is. Returns how many before it are not in use. Of what was taken, all is in use, or was
   * given back.
   */
  settle(): number {
    this.#spare.sort((a, b) => a.offset - b.offset);
    for (;;) {
      const last = this.#spare.at(-1);
      if (last === undefined || last.offset + this.#blockBytes !== this.#end) return this.#spare.length;
      this.#spare.pop();
      this.giveBack(last);
    }
  }

  /**
   * Gives the space of blocks that were given back, and were not taken again, to the file system: at the close, since a read that was located before may still go there. A hint: where
   * that fails, they stay.
   */
  async dropSpare(): Promise<void> {
    this.#spare.sort((a, b) => a.offset - b.offset);
    for (let first = 0, next = 1; first < this.#spare.length; first = next++) {
      while (this.#spare[next]?.offset === this.#spare[next - 1].offset + this.#blockBytes) next++;
      await this.#file.discard(this.#spare[first].offset, (next - first) * this.#blockBytes);
    }
  }

  /** Takes a block, for which the file has grown. Rejects with `no-space`, `io`. */
  async take(): Promise<NewBlock> {
    const spare = this.#spare.pop() ?? this.#nextFree();
    if (spare === undefined) return this.takeRun(1);
    return { ...spare, fresh: (await this.#grown(spare.offset, this.#blockBytes)) || spare.fresh };
  }

  #nextFree(): NewBlock | undefined {
    const offset = this.#free.pop();
    return offset === undefined ? undefined : { offset, fresh: false };
  }

  /** The same for blocks that lie one behind the other, at the end. */
  takeRun(blocks: number): Promise<NewBlock> {
    return this.takeBytes(blocks * this.#blockBytes, this.#unit);
  }

  /** The same for `bytes` at the end, from a multiple of `unit` on. */
  async takeBytes(bytes: number, unit: number): Promise<NewBlock> {
    const offset = roundUp(this.#end, unit);
    this.#end = offset + bytes;
    return { offset, fresh: await this.#grown(offset, bytes) };
  }

  /** The file has these bytes; resolves to whether they are known to read as zeroes. Where it rejects, they are free again. */
  async #grown(offset: number, bytes: number): Promise<boolean> {
    const end = offset + bytes;
    try {
      await this.#file.ensureLength(end);
    } catch (error) {
      this.giveBackBytes({ offset, fresh: false }, bytes);
      throw error;
    }
    return this.#file.takeFresh(offset, end);
  }

  /** The block is not in use. `fresh`: nothing was written to it. */
  giveBack(block: NewBlock): void {
    this.giveBackBytes(block, this.#blockBytes);
  }

  /** The same for those of `takeRun`. */
  giveBackRun(run: NewBlock, blocks: number): void {
    this.giveBackBytes(run, blocks * this.#blockBytes);
  }

  /** The same for those of `takeBytes`: what is no whole block, and does not lie at the end, stays lost. */
  giveBackBytes({ offset, fresh }: NewBlock, bytes: number): void {
    const size = this.#blockBytes;
    if (offset + bytes === this.#end) {
      this.#end = offset;
      this.#file.giveBack(offset, offset + bytes, fresh);
      return;
    }
    const first = roundUp(offset, this.#unit);
    for (let at = first + (Math.floor((offset + bytes - first) / size) - 1) * size; at >= first; at -= size) {
      this.#spare.push({ offset: at, fresh });
    }
  }
}

/** Runs `action`, which gives space back and needs some for it: on a full disk the image stays as it is, which is right, too. Rejects as `action`, but with `no-space`. */
export async function unlessFull(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof BlockError) || error.code !== 'no-space') throw error;
  }
}
