// Clusters that the tables in memory do not refer to any more. On disk they are still referred to until the next commit, so they are not free
// at once: they wait here, and their refcounts are lowered when the commit that took the references away is durable (commit-order.ts).
//
//   an entry changes --add--> waits --take--> commit writes the tables, flush --apply--> refcount lowered --> may be allocated again
//                               ^                     | fails
//                               +-------putBack-------+

import { assert } from '../../../util/assert.js';
import { BlockError } from '../../../util/errors.js';
import type { Run } from './allocation.js';
import type { Qcow2Image } from './image.js';
import type { Table } from './table-cache.js';
import { type ClusterIndex, hostOf, plus } from './types.js';

/** One reference to each of the clusters is gone. */
export interface PendingFree extends Run {
  /** Give the space back to the file below as well. */
  punch: boolean;
}

export class Frees {
  readonly #image: Qcow2Image;
  readonly #clusterSize: number;
  readonly #perBlock: number;
  #pending: PendingFree[] = [];

  constructor(image: Qcow2Image) {
    this.#image = image;
    this.#clusterSize = image.geometry.clusterSize;
    this.#perBlock = image.geometry.blockEntries;
  }

  /** The reference to each of these clusters is gone from the tables in memory. */
  add(cluster: ClusterIndex, count: number, punch: boolean): void {
    assert(Number.isSafeInteger(cluster + count) && count > 0, 'whole clusters are freed');
    const last = this.#pending[this.#pending.length - 1];
    if (last !== undefined && last.cluster + last.count === cluster && last.punch === punch) last.count += count;
    else this.#pending.push({ cluster, count, punch });
  }

  /** All that waits, which belongs to the caller's commit from now on. */
  take(): PendingFree[] {
    const pending = this.#pending;
    this.#pending = [];
    return pending;
  }

  /** What `take` returned waits for another commit. */
  putBack(pending: PendingFree[]): void {
    this.#pending = [...pending, ...this.#pending];
  }

  /**
   * Lowers the refcounts of what a durable commit does not refer to any more. Part of a commit. Items that are done leave `pending`; where a
   * block has no space of its own and gets none, the rest stays. Rejects with `corrupt-image`, `io`.
   */
  async apply(pending: PendingFree[]): Promise<void> {
    const { refcounts } = this.#image;
    while (pending.length > 0) {
      const item = pending[0];
      while (item.count > 0) {
        const index = refcounts.indexOf(item.cluster);
        const count = Math.min(item.count, (index + 1) * this.#perBlock - item.cluster);
        const what = refcounts.metadataIn(item.cluster, count);
        if (what !== null) throw await this.#wronglyReferredTo(item.cluster, what);
        if (item.punch) await this.#punch(item.cluster, count);
        const block = await this.#blockToLower(index);
        if (block === 'no room') return;
        const first = item.cluster;
        item.cluster = plus(item.cluster, count);
        item.count -= count;
        for (let at = first; at < first + count; at = plus(at, 1)) {
          if (block === null || !refcounts.lower(block, at)) {
            throw await this.#image.corrupt(`Freeing free cluster ${at}`, at * this.#clusterSize);
          }
        }
      }
      pending.shift();
    }
  }

  /** An entry that is gone pointed to metadata. */
  #wronglyReferredTo(cluster: ClusterIndex, what: string): Promise<BlockError> {
    const start = hostOf(cluster, this.#image.geometry);
    return this.#image.corrupt(`Preventing the free of metadata (${what}) at offset ${start}`, start);
  }

  /** Block `index`, loaded and with space of its own; null where there is none. Inside a commit. */
  async #blockToLower(index: number): Promise<Table | null | 'no room'> {
    const { refcounts } = this.#image;
    for (;;) {
      const block = refcounts.blockSync(index);
      if (block === null || block?.solid) return block;
      if (block === undefined) {
        await refcounts.loadBlock(index, false);
        continue;
      }
      try {
        await refcounts.solidifyBlock(block);
      } catch (error) {
        if (error instanceof BlockError && error.code === 'no-space') return 'no room';
        throw error;
      }
    }
  }

  /** Deallocates the space of those clusters that have no reference but the one that is dropped; a hint, so that a refusal does not matter. */
  async #punch(cluster: ClusterIndex, count: number): Promise<void> {
    const { file, refcounts } = this.#image;
    let from = cluster;
    for (let at = cluster; at <= cluster + count; at = plus(at, 1)) {
      if (at < cluster + count && (await refcounts.get(at, false)) === 1) continue;
      const offset = from * this.#clusterSize;
      const length = Math.min((at - from) * this.#clusterSize, file.length - offset);
      if (length > 0) await file.discard(offset, length);
      from = plus(at, 1);
    }
  }
}
