// Keeps what a node held at one moment: before a place is written over, its old content is saved elsewhere. The filter copy-before-write does it for
// its users, and a backup job while it copies in the background; what "saved" means is up to them.
//
//   guest's write --> [old content still needed here?] --no--------------------> write
//                                 | yes                                           ^
//                                 +--> lock the clusters --> save --> unlock -----+
//                                                                 |
//                                                                 +--> where the target lies over the node itself: wait for its readers
//
// What is still to be saved is marked in a dirty bitmap, whose granules are the clusters that are saved as wholes. A range lock over the same
// clusters keeps two from saving one place, and a write from a place that is being read. Once the mark is gone and the place is not locked,
// nothing is in a write's way, and `needed` says so without waiting.

import type { Clock } from '../host/host.js';
import type { OnCbwError } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import type { RangeLock } from '../util/range-lock.js';
import type { DirtyBitmap } from './bitmap.js';
import type { Extent } from './types.js';

/** Saved in one step at most, so that what is saved already is known soon. */
const MAX_RUN_BYTES = 1 << 30;
const MS_PER_SECOND = 1000;

/** Old content is saved as whole clusters of at least so many bytes. */
export const MIN_CLUSTER_BYTES = 65536;

export interface KeeperOptions {
  clock: Clock;
  /** What is still to be saved. */
  copy: DirtyBitmap;
  /** Over bytes, whole granules of `copy`. */
  lock: RangeLock;
  /** Saves a run of whole granules, which is locked. Resolves with what it failed with, or null. */
  save(run: Extent): Promise<BlockError | null>;
  saved?(run: Extent): void;
  /** Where the target lies over the source, who reads the target may still be reading the place itself: resolves when those reads have ended. */
  readersPassed?(): Promise<unknown> | undefined;
  onError: OnCbwError;
  /** The old content is lost: called once. Only where `onError` is `break-snapshot`. */
  broken?(error: BlockError): void;
  /** Seconds after which saving counts as failed; 0: never. */
  timeoutSeconds?: number;
}

export class Keeper {
  readonly #options: KeeperOptions;
  /** Why the moment is lost; null: it is not. */
  #failure: BlockError | null = null;
  /** Nobody wants the old content any more. */
  #over = false;
  #abandoned = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  get failure(): BlockError | null {
    return this.#failure;
  }

  /** The range of whole clusters around `extent`. */
  cover({ offset, length }: Extent): [number, number] {
    const { granularity, size } = this.#options.copy;
    return [offset - (offset % granularity), Math.min(Math.ceil((offset + length) / granularity) * granularity, size)];
  }

  /** A write to [offset, offset + length) must wait: old content is still to be saved there, or is just being read. */
  needed(offset: number, length: number): boolean {
    if (this.#over || this.#failure !== null || length <= 0) return false;
    const [start, end] = this.cover({ offset, length });
    if (end <= start) return false;
    const { copy, lock } = this.#options;
    return copy.nextDirty(start, end) >= 0 || !lock.free(start, end);
  }

  /** Saves what `extents` are about to lose. Undefined: nothing is to be waited for. Rejects where the write is to fail. */
  beforeWrite(extents: readonly Extent[]): Promise<void> | undefined {
    const needed = extents.filter(({ offset, length }) => this.needed(offset, length));
    return needed.length === 0 ? undefined : this.#saveInTime(needed.map((extent) => this.cover(extent)));
  }

  async #saveInTime(ranges: readonly [number, number][]): Promise<void> {
    const { clock, timeoutSeconds = 0 } = this.#options;
    const saving = this.#save(ranges);
    if (timeoutSeconds === 0) return this.#judge(await saving);
    let stop: () => void = () => {};
    const late = new Promise<BlockError>((resolve) => {
      const info = { operation: 'copy before write', errno: 'ETIMEDOUT' } as const;
      stop = clock.timer(timeoutSeconds * MS_PER_SECOND, () =>
        resolve(new BlockError('io', `Old content could not be saved within ${timeoutSeconds} s`, info)),
      );
    });
    // It goes on after that: what it holds, it gives back itself.
    const error = await Promise.race([saving, late]);
    stop();
    this.#judge(error);
  }

  /** Never rejects. */
  async #save(ranges: readonly [number, number][]): Promise<BlockError | null> {
    const { copy, lock, save, saved, readersPassed } = this.#options;
    for (const [start, end] of ranges) {
      const held = await lock.acquire(start, end);
      try {
        let run = copy.nextDirtyRun(start, MAX_RUN_BYTES, end);
        while (run !== undefined && !this.#over && this.#failure === null) {
          copy.reset(run.offset, run.length);
          const error = await save(run);
          if (error !== null) {
            copy.recordAgain(run.offset, run.length);
            return error;
          }
          saved?.(run);
          run = copy.nextDirtyRun(run.offset + run.length, MAX_RUN_BYTES, end);
        }
        await readersPassed?.();
      } finally {
        lock.release(held);
      }
    }
    return null;
  }

  #judge(error: BlockError | null): void {
    if (error === null || this.#abandoned || this.#failure !== null) return;
    if (this.#options.onError === 'break-guest-write') throw error;
    this.#failure = error;
    this.#options.broken?.(error);
  }

  /** Nobody wants the old content any more: no write begins to wait, and what is being saved may fail, which fails no write. */
  abandon(): void {
    this.#over = true;
    this.#abandoned = true;
  }

  /** From now on no write waits. Resolves when what was being saved has ended: its failure would be a guest's. */
  async end(): Promise<void> {
    this.#over = true;
    await this.#options.lock.with(0, this.#options.copy.size, async () => {});
  }
}
