// Clusters that the tables in memory do not refer to any more. The tables on disk still do, until the next commit, so the clusters must not be reused at
// once: they are listed here, and their refcounts are lowered when a commit has made the removal of the references durable (commit-order.ts).
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

/** Clusters that have one reference less each. */
export interface PendingFree extends Run {
  /** Discard the clusters in the file below as well. */
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

  /** Called when one reference to each of these clusters was removed from the tables in memory. */
  add(cluster: ClusterIndex, count: number, punch: boolean): void {
    assert(Number.isSafeInteger(cluster + count) && count > 0, 'whole clusters are freed');
    const last = this.#pending[this.#pending.length - 1];
    if (last !== undefined && last.cluster + last.count === cluster && last.punch === punch) last.count += count;
    else this.#pending.push({ cluster, count, punch });
  }

  /** There are clusters whose refcounts are to be lowered yet. */
  wait(): boolean {
    return this.#pending.length > 0;
  }

  /** Takes the list, ascending and with neighbours joined: its clusters belong to the caller's commit from now on. */
  take(): PendingFree[] {
    const pending = joined(this.#pending);
    this.#pending = [];
    return pending;
  }

  /** Puts back clusters that `take` returned, for the next commit. */
  putBack(pending: PendingFree[]): void {
    this.#pending = [...pending, ...this.#pending];
  }

  /**
   * Lowers the refcounts of `pending`, as the last step of a commit. Items that are done are removed from `pending`; where there is no space to write a
   * refcount block, the rest stays in it. Where the file is to be `cut` after the last cluster in use, what lies behind that is not discarded first.
   * Rejects with `corrupt-image`, `io`.
   */
  async apply(pending: PendingFree[], cut: boolean): Promise<void> {
    const { file, refcounts } = this.#image;
    const end = cut ? await this.#endWithout(pending) : Number.POSITIVE_INFINITY;
    while (pending.length > 0) {
      const stop = file.raise('cluster_free');
      if (stop !== undefined) await stop;
      const item = pending[0];
      while (item.count > 0) {
        const index = refcounts.indexOf(item.cluster);
        const count = Math.min(item.count, (index + 1) * this.#perBlock - item.cluster);
        // An L2 table of a snapshot may lose a reference, while the snapshot has its own.
        const what = refcounts.metadataIn(item.cluster, count, 'inactive-l2');
        if (what !== null) throw await this.#wronglyReferredTo(item.cluster, what);
        if (item.punch && item.cluster < end) await this.#punch(item.cluster, count);
        let block = refcounts.blockSync(index);
        // No `await` behind the last look: the block could leave the cache.
        for (; block !== null && !block?.reserved; block = refcounts.blockSync(index)) {
          if (!(await this.#makeReady(index))) return;
        }
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

  /**
   * Discards those of the clusters that are free: nobody may allocate them meanwhile, and on disk they stay free. A hint, as `#punch`. To be called inside
   * a commit.
   */
  async punchFree({ cluster, count }: Run): Promise<void> {
    const end = cluster + count;
    const { refcounts } = this.#image;
    for (let at = cluster; at < end; ) {
      const index = refcounts.indexOf(at);
      const stop = Math.min(end, (index + 1) * this.#perBlock) as ClusterIndex;
      const block = refcounts.blockSync(index);
      if (block?.reserved) await this.#punchFreeIn(block, at, stop);
      else if (block !== null && (await this.#makeReady(index))) continue;
      at = stop;
    }
  }

  /** As `punchFree`, for [from, to), which `block` counts. */
  async #punchFreeIn(block: Table, from: ClusterIndex, to: ClusterIndex): Promise<void> {
    const { refcounts } = this.#image;
    const held: ClusterIndex[] = [];
    block.pins++;
    try {
      for (let at = from; at < to; at = plus(at, 1)) if (refcounts.valueIn(block, at) === 0) held.push(at);
      for (const at of held) refcounts.take(block, at % this.#perBlock, 1);
      await this.discard(held);
    } finally {
      for (const at of held) refcounts.lower(block, at);
      block.pins--;
    }
  }

  /** Where use ends once `pending` is applied, or a later place. */
  async #endWithout(pending: readonly PendingFree[]): Promise<number> {
    const { refcounts } = this.#image;
    let end: number = await refcounts.endOfUse();
    for (let i = pending.length - 1; end > 0; end--) {
      const last = (end - 1) as ClusterIndex;
      const count = await refcounts.get(last, false);
      if (count === 0) continue;
      while (i >= 0 && pending[i].cluster > last) i--;
      if (count > 1 || i < 0 || pending[i].cluster + pending[i].count <= last) break;
    }
    return end;
  }

  /** The error for a removed entry that pointed to metadata. */
  #wronglyReferredTo(cluster: ClusterIndex, what: string): Promise<BlockError> {
    const start = hostOf(cluster, this.#image.geometry);
    return this.#image.corrupt(`Preventing the free of metadata (${what}) at offset ${start}`, start);
  }

  /**
   * Comes one step nearer to block `index` being there to be changed; the caller looks again then. False where the file system has no space for that. Rejects
   * with `corrupt-image`, `io`.
   */
  async #makeReady(index: number): Promise<boolean> {
    const { refcounts } = this.#image;
    const block = refcounts.blockSync(index);
    try {
      if (block === undefined) await refcounts.loadBlock(index, false);
      else if (block?.reserved === false) await refcounts.reserveBlock(block);
      return true;
    } catch (error) {
      if (error instanceof BlockError && error.code === 'no-space') return false;
      throw error;
    }
  }

  /** Discards ascending clusters, which nobody may allocate meanwhile, in the file, neighbours at once. A hint: a failure is ignored. */
  async discard(clusters: readonly ClusterIndex[]): Promise<void> {
    const { file } = this.#image;
    for (let i = 0; i < clusters.length; ) {
      const first = i;
      while (i < clusters.length && clusters[i] === clusters[first] + i - first) i++;
      const offset = clusters[first] * this.#clusterSize;
      const length = Math.min((i - first) * this.#clusterSize, file.length - offset);
      if (length > 0) await file.discard(offset, length);
    }
  }

  /** Discards those of the clusters whose last reference is being removed. A hint: a failure is ignored. */
  async #punch(cluster: ClusterIndex, count: number): Promise<void> {
    const { refcounts } = this.#image;
    const last: ClusterIndex[] = [];
    for (let at = cluster; at < cluster + count; at = plus(at, 1)) {
      if ((await refcounts.get(at, false)) === 1) last.push(at);
    }
    await this.discard(last);
  }
}

/** Ascending; neighbours of one kind are one run. A cluster that lost several references stays there several times. */
function joined(pending: readonly PendingFree[]): PendingFree[] {
  const runs: PendingFree[] = [];
  for (const run of [...pending].sort((a, b) => a.cluster - b.cluster)) {
    const last = runs[runs.length - 1];
    if (last !== undefined && last.cluster + last.count === run.cluster && last.punch === run.punch) {
      last.count += run.count;
    } else {
      runs.push(run);
    }
  }
  return runs;
}
