// A node of a format whose image is made ready before its first change: marked in its header as in use, say. Nothing is written before that is durable.

import type { Extent, Located, MovePlace, WriteFlags, ZeroFlags } from '../../../block/types.js';
import { BlocksNode } from './node.js';

export abstract class BegunBlocksNode extends BlocksNode {
  /** The image is ready for changes; a `close`, or what makes it read-only, ends that. */
  protected isBegun = false;
  #preparing: Promise<void> | null = null;

  /** Makes the image ready. Where it rejects, the change that comes next tries again. */
  protected abstract begin(): Promise<void>;

  /** Whoever comes while it is made ready waits for that. */
  #makeReady(): Promise<void> {
    this.#preparing ??= this.begin()
      .then(() => {
        this.isBegun = true;
      })
      .finally(() => {
        this.#preparing = null;
      });
    return this.#preparing;
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return (!write || this.isBegun) && super.doLocate(offset, length, write, into);
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    if (!this.isBegun) await this.#makeReady();
    return super.doWrite(offset, buffer, flags);
  }

  protected override async doPrepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    if (!this.isBegun) await this.#makeReady();
    return super.doPrepareMove(extents, granule);
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    if (!this.isBegun) await this.#makeReady();
    return super.doWriteZeroes(offset, length, flags);
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    if (!this.isBegun) await this.#makeReady();
    return super.doDiscard(offset, length);
  }
}
