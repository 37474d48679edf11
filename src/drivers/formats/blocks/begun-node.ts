// A node of a format whose image is made ready before its first change: marked in its header as in use, say. Nothing is written before that is durable.

import type { Extent, Located, MovePlace, WriteFlags, ZeroFlags } from '../../../block/types.js';
import { BlocksNode } from './node.js';

export abstract class BegunBlocksNode extends BlocksNode {
  /** The image is ready for changes; a `close`, or what makes it read-only, ends that. */
  protected isBegun = false;
  #beginning: Promise<void> | null = null;

  /** Makes the image ready. Where it rejects, the change that comes next tries again. */
  protected abstract begin(): Promise<void>;

  /** Null: it is ready already. */
  #begun(): Promise<void> | null {
    if (this.isBegun) return null;
    this.#beginning ??= this.#begin().finally(() => {
      this.#beginning = null;
    });
    return this.#beginning;
  }

  async #begin(): Promise<void> {
    await this.begin();
    this.isBegun = true;
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return (!write || this.isBegun) && super.doLocate(offset, length, write, into);
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    await this.#begun();
    await super.doWrite(offset, buffer, flags);
  }

  protected override async doPrepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    await this.#begun();
    return super.doPrepareMove(extents, granule);
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    await this.#begun();
    await super.doWriteZeroes(offset, length, flags);
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    await this.#begun();
    await super.doDiscard(offset, length);
  }
}
