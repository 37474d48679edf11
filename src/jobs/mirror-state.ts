// How a mirror sees the guest's writes: in `background` mode they are marked and copied later, in `write-blocking` mode they go
// to the target before they are answered.
//
//   background       write -> source -> mark dirty                  (located writes, too)
//   write-blocking   [lock the range] write -> source -> target -> clean -> [unlock]      (the target fails: mark dirty)
//
// Each mode is an observer of its own: requests that are under way when the mode changes end under the one they began with.

import type { DirtyBitmap } from '../block/bitmap.js';
import type { Child } from '../block/child.js';
import type { WriteObserver } from '../block/observer.js';
import type { Extent } from '../block/types.js';
import { reportUnforeseen } from '../util/best-effort.js';
import type { LockedRange, RangeLock } from '../util/range-lock.js';
import type { DirtyChunks } from './dirty-chunks.js';

export interface MirrorState {
  readonly dirty: DirtyBitmap;
  readonly lock: RangeLock;
  readonly chunks: DirtyChunks;
  /** Called once the job has taken it. */
  readonly target: () => Child;
  readonly unmap: boolean;
  /** Each write is durable when it is answered; undefined: it is not. */
  readonly fua: true | undefined;
  /** Parts that the first sweep has not reached are as they were at the start. False once that may not hold. */
  pristine: boolean;
  /** The target must not be written in parts of the bitmap's granules. */
  readonly wholeClusters: boolean;
  /** Called when the first byte becomes dirty. */
  wake(): void;
}

/** Never fails: what was written to the source must be remembered. */
function mark(state: MirrorState, offset: number, length: number): void {
  const clean = state.dirty.dirtyBytes === 0;
  state.dirty.recordAgain(offset, length);
  state.chunks.changed();
  if (clean) state.wake();
}

function markAll(state: MirrorState, extents: readonly Extent[]): void {
  for (const { offset, length } of extents) mark(state, offset, length);
}

/** Can these go to the target as they are? */
function writable({ dirty, wholeClusters }: MirrorState, extents: readonly Extent[]): boolean {
  const { granularity, size } = dirty;
  const whole = (at: number) => at % granularity === 0 || at === size;
  return !wholeClusters || extents.every(({ offset, length }) => whole(offset) && whole(offset + length));
}

export class BackgroundObserver implements WriteObserver {
  readonly #state: MirrorState;

  constructor(state: MirrorState) {
    this.#state = state;
  }

  written(offset: number, length: number): void {
    mark(this.#state, offset, length);
  }
}

export class BlockingObserver implements WriteObserver {
  readonly #state: MirrorState;
  /** By extent list: each request has its own. */
  readonly #held = new Map<readonly Extent[], LockedRange[]>();
  /** What goes to the target now. */
  readonly #writing = new Set<Promise<void>>();
  #over = false;

  constructor(state: MirrorState) {
    this.#state = state;
  }

  async beforeWrite(extents: readonly Extent[]): Promise<void> {
    const { lock } = this.#state;
    // All at once, so that no other request comes between two of them in the queue.
    const held = await Promise.all(extents.map(({ offset, length }) => lock.acquire(offset, offset + length)));
    this.#held.set(extents, held);
  }

  async afterWrite(
    extents: readonly Extent[],
    kind: 'write' | 'zero' | 'discard',
    data: Uint8Array | null,
  ): Promise<void> {
    const state = this.#state;
    try {
      state.chunks.changed();
      if (kind === 'discard') {
        // What it reads as now is for the sweep to find out; what it read as may be on the target already.
        state.pristine = false;
        markAll(state, extents);
        return;
      }
      if (this.#over || !writable(state, extents)) {
        markAll(state, extents);
        return;
      }
      const writing = this.#toTarget(extents, data);
      this.#writing.add(writing);
      try {
        await writing;
      } finally {
        this.#writing.delete(writing);
      }
      for (const { offset, length } of extents) state.dirty.reset(offset, length);
    } catch (error) {
      reportUnforeseen('mirror', error);
      // The guest's write succeeded. The sweep tries again and reports.
      state.pristine = false;
      markAll(state, extents);
    } finally {
      this.#release(extents);
    }
  }

  async #toTarget(extents: readonly Extent[], data: Uint8Array | null): Promise<void> {
    const { target, unmap, fua } = this.#state;
    if (data !== null) return target().writeExtents(extents, data, fua && { fua });
    for (const { offset, length } of extents) await target().writeZeroes(offset, length, { mayUnmap: unmap, fua });
  }

  /** From now on nothing begins to be written to the target. */
  abandon(): void {
    this.#over = true;
  }

  /** The job is about to release the target: when this resolves, nothing is written there any more. */
  async end(): Promise<void> {
    this.abandon();
    await Promise.allSettled(this.#writing);
  }

  writeFailed(extents: readonly Extent[]): void {
    markAll(this.#state, extents);
    this.#release(extents);
  }

  #release(extents: readonly Extent[]): void {
    for (const range of this.#held.get(extents) ?? []) this.#state.lock.release(range);
    this.#held.delete(extents);
  }
}
