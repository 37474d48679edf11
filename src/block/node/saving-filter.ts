// A filter that keeps what its node held at one moment: who writes through it waits until a keeper has saved the old content. Where that goes,
// and for whom, is up to the filter (copy-before-write, and the node that a backup job puts in).
//
//   write --> [old content still needed here?] --no--> node
//                        | yes                          ^
//                        +--> save it ------------------+
//
// Writes to the node that come past the filter would be missed. While anybody uses the filter, its link to the node lets nobody write there.

import type { Child } from '../child.js';
import type { Keeper } from '../keeper.js';
import { type Permissions, ROLES } from '../roles.js';
import {
  type Extent,
  type Located,
  PERM_ALL,
  Perm,
  type TruncateOptions,
  type WriteFlags,
  type ZeroFlags,
} from '../types.js';
import { FilterNode } from './filter.js';

/** What others may do with the target: read and write there, at their own risk. */
export const SAVED_TO_SHARED = PERM_ALL & ~Perm.RESIZE;

export abstract class SavingFilter extends FilterNode {
  protected abstract readonly keeper: Keeper;

  /** What is written is read before. A monitor's hold is no use. */
  override needsOf(link: Child, perm: number, shared: number): Permissions | null {
    if (link !== this.primary) return null;
    if (![...this.parents].some(({ role }) => role !== ROLES.monitor)) return { perm: 0, shared: PERM_ALL };
    const read = (perm & Perm.WRITE) === 0 ? 0 : Perm.CONSISTENT_READ;
    return { perm: perm | read, shared: shared & ~(Perm.WRITE | Perm.RESIZE) };
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (write && this.keeper.needed(offset, length)) return false;
    return super.doLocate(offset, length, write, into);
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    await this.keeper.beforeWrite([{ offset, length: buffer.length }]);
    await super.doWrite(offset, buffer, flags);
  }

  protected override async doWriteExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags) {
    await this.keeper.beforeWrite(extents);
    await super.doWriteExtents(extents, buffer, flags);
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    await this.keeper.beforeWrite([{ offset, length }]);
    await super.doWriteZeroes(offset, length, flags);
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    await this.keeper.beforeWrite([{ offset, length }]);
    await super.doDiscard(offset, length);
  }

  protected override async doTruncate(size: number, options: TruncateOptions): Promise<void> {
    if (size < this.length) await this.keeper.beforeWrite([{ offset: size, length: this.length - size }]);
    await super.doTruncate(size, options);
  }

  protected override async doMakeEmpty(): Promise<void> {
    await this.keeper.beforeWrite([{ offset: 0, length: this.length }]);
    await super.doMakeEmpty();
  }
}
