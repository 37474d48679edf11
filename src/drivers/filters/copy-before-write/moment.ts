// What the node of a copy-before-write filter held when the filter was opened, as it is read now: what was saved meanwhile lies in the target, the
// rest still in the node.

import type { Moment } from '../../../block/abilities.js';
import type { DirtyBitmap } from '../../../block/bitmap.js';
import { passedStatus } from '../../../block/chain.js';
import type { Child } from '../../../block/child.js';
import type { BlockNode } from '../../../block/node/node.js';
import type { BlockStatus } from '../../../block/types.js';
import { BlockError } from '../../../util/errors.js';
import type { RangeLock } from '../../../util/range-lock.js';
import { reasonInWords } from '../../../util/system-words.js';

/** Read under one lock at most: a guest's write may wait for it. */
const STEP_BYTES = 1 << 20;

export interface MomentOptions {
  node: BlockNode;
  file: Child;
  target: Child;
  /** What is not saved yet: it lies in `file`. */
  copy: DirtyBitmap;
  /** What is kept, and may be read. */
  access: DirtyBitmap;
  lock: RangeLock;
  /** Why nothing may be read any more; null: it may. */
  failure(): BlockError | null;
}

export class KeptMoment implements Moment {
  readonly #options: MomentOptions;

  constructor(options: MomentOptions) {
    this.#options = options;
  }

  async read(offset: number, buffer: Uint8Array): Promise<void> {
    this.#checkAccess('read', offset, buffer.length);
    for (let at = 0; at < buffer.length; ) {
      const start = offset + at;
      const step = Math.min(buffer.length - at, STEP_BYTES - (start % STEP_BYTES));
      await this.#locked(start, step, async () => {
        for (const end = at + step; at < end; ) {
          const { from, length } = this.#where(offset + at, end - at);
          await from.read(offset + at, buffer.subarray(at, at + length));
          at += length;
        }
      });
    }
    // What broke it meanwhile may have changed what was read.
    this.#checkAccess('read', offset, buffer.length);
  }

  async blockStatus(offset: number, length: number): Promise<BlockStatus> {
    this.#checkAccess('block status', offset, 1);
    const kept = this.#options.access.nextZero(offset, offset + length);
    const most = Math.min(kept < 0 ? length : kept - offset, STEP_BYTES - (offset % STEP_BYTES));
    return this.#locked(offset, most, async () => {
      const { from, length: run } = this.#where(offset, most);
      // The bytes are somewhere else as soon as a guest writes there.
      return { ...(await passedStatus(from.node, offset, run)), offset: -1, node: null };
    });
  }

  /** Whole clusters are kept no longer: nothing is saved for them, and what was is discarded in the target. */
  async discard(offset: number, length: number): Promise<void> {
    const { access, copy, target } = this.#options;
    const unit = access.granularity;
    const start = Math.ceil(offset / unit) * unit;
    const stop = offset + length === access.size ? access.size : Math.floor((offset + length) / unit) * unit;
    if (start >= stop) return;
    this.#checkAccess('discard', offset, length);
    await this.#options.lock.with(start, stop, async () => {
      access.reset(start, stop - start);
      copy.reset(start, stop - start);
      await target.discard(start, stop - start);
    });
  }

  /** The longest run at `offset` that lies in one of the two; locked. */
  #where(offset: number, length: number): { from: Child; length: number } {
    const { copy, file, target } = this.#options;
    const unsaved = copy.get(offset);
    const end = offset + length;
    const next = unsaved ? copy.nextZero(offset, end) : copy.nextDirty(offset, end);
    return { from: unsaved ? file : target, length: (next < 0 ? end : next) - offset };
  }

  async #locked<T>(offset: number, length: number, action: () => Promise<T>): Promise<T> {
    const { lock, copy } = this.#options;
    const unit = copy.granularity;
    const end = Math.ceil((offset + length) / unit) * unit;
    const held = await lock.acquire(offset - (offset % unit), Math.min(end, copy.size), 'shared');
    try {
      return await action();
    } finally {
      lock.release(held);
    }
  }

  #checkAccess(operation: string, offset: number, length: number): void {
    const { access, node, failure } = this.#options;
    const info = { operation, offset, length, errno: 'EACCES' };
    const lost = failure();
    if (lost !== null) {
      const cause = { ...info, cause: lost };
      throw BlockError.at(node.filename, 'permission', `the moment is lost: ${reasonInWords(lost)}`, cause);
    }
    const end = offset + length;
    if (end <= access.size && access.nextZero(offset, end) < 0) return;
    throw BlockError.at(node.filename, 'permission', 'this part of the moment is not kept', info);
  }
}
