// Places for what a repair makes anew. They lie at the end of the file, so that nothing that may be in use is written over, not even what only looks
// unused because a pointer to it is damaged. Where the file cannot grow (a block device), they lie behind the last cluster in use.
//
// An entry that points behind the end of the file reads as zeroes. No place may be where such an entry points to: it would show what is written there
// until it is mended.
//
//   take --> what belongs there is written --> settle --> pointers to it are written

import { BlockError } from '../../../util/errors.js';
import type { Run } from './allocation.js';
import type { CheckState } from './check-state.js';
import { type Room, reserveClusters } from './repair-reserve.js';
import type { ClusterIndex } from './types.js';

export class RepairSpace implements Room {
  readonly #state: CheckState;
  readonly #usedEnd: number;
  #next: number;
  #fixed = false;
  /** Taken since the last `settle`. */
  #taken: Run[] = [];

  /** Everything was counted in `state`; `usedEnd` is the cluster after the last one in use. */
  constructor(state: CheckState, usedEnd: number) {
    this.#state = state;
    this.#usedEnd = usedEnd;
    this.#next = Math.max(usedEnd, Math.ceil(state.fileLength / state.clusterBytes));
  }

  /** A place for `count` clusters in one piece, with the file long enough for them. It is not taken yet. Rejects with `no-space`, `io`. */
  async place(count: number): Promise<ClusterIndex> {
    const start = this.#find(count);
    const end = start + count;
    if (await this.grow(end * this.#state.clusterBytes)) return start;
    if (this.#fixed) throw this.#noSpace(end);
    this.#fixed = true;
    this.#next = this.#usedEnd;
    return this.place(count);
  }

  /** Takes `count` clusters in one piece; nothing may point there before `settle`. Rejects as `place`. */
  async take(count = 1): Promise<ClusterIndex> {
    const cluster = await this.place(count);
    this.hold({ cluster, count });
    const last = this.#taken.at(-1);
    if (last !== undefined && last.cluster + last.count === cluster) last.count += count;
    else this.#taken.push({ cluster, count });
    return cluster;
  }

  /** Nothing else gets these clusters, which `place` has found. */
  hold({ cluster, count }: Run): void {
    this.#next = cluster + count;
  }

  /**
   * Makes durable what was written to the places that were taken, so that pointers to them may be written. In an image of version 2 that includes their refcounts; others
   * have the dirty bit meanwhile. Rejects with `limit`, `no-space`, `io`.
   */
  async settle(): Promise<void> {
    const runs = this.#taken;
    this.#taken = [];
    const { file, layout } = this.#state;
    await (runs.length > 0 && layout.version === 2 ? reserveClusters(this.#state, this, runs) : file.flush());
  }

  #find(count: number): ClusterIndex {
    const { beyond, clusterBytes, fileLength } = this.#state;
    const fileEnd = Math.ceil(fileLength / clusterBytes);
    let start = this.#next;
    for (let at = start; at < start + count; at++) if (beyond.has(at - fileEnd)) start = at + 1;
    return start as ClusterIndex;
  }

  /** Makes the file at least so long; false where its size is fixed. Rejects with `no-space`, `io`. */
  async grow(bytes: number): Promise<boolean> {
    const { file } = this.#state;
    if (file.length >= bytes) return true;
    try {
      await file.truncate(bytes);
      return true;
    } catch (error) {
      if (error instanceof BlockError && (error.code === 'unsupported' || error.code === 'invalid-argument'))
        return false;
      throw error;
    }
  }

  #noSpace(end: number): BlockError {
    const { file, clusterBytes } = this.#state;
    return BlockError.at(file.filename, 'no-space', `no space left: the repair needs ${end * clusterBytes} bytes`, {
      operation: 'repair',
    });
  }
}
