// Finds and allocates free clusters of the image file. A cluster is allocated before anything is written to it, and published (by an entry that points
// to it) after its content was written:
//
//   allocateRun -----> content is written -----> an entry points to it -----> commit: refcounts first, then the entry
//        |                   | fails
//        |                   v
//        +--------------> release: nothing ever pointed to it, so it is free at once
//
// A search for one cluster starts at the lowest cluster that may be free, and so fills holes. A search for several continues where the last one ended,
// so that data that is written sequentially is stored sequentially; it leaves the holes to searches for one cluster:
//
//   clusters   |used|free|used|free|free|used| .................. free ..................
//                    ^ #freeFrom              ^ #runFrom

import { assert } from '../../../util/assert.js';
import type { Qcow2Image } from './image.js';
import { createBlock, growTable, wronglyFree } from './refcount-growth.js';
import { type ClusterIndex, plus } from './types.js';

/** Clusters [cluster, cluster + count), reserved for the caller. */
export interface Run {
  cluster: ClusterIndex;
  count: number;
}

export class Allocation {
  readonly #image: Qcow2Image;
  readonly #perBlock: number;
  /** No cluster below is known to be free. */
  #freeFrom = 0 as ClusterIndex;
  /** Where the search for several clusters begins. */
  #runFrom = 0 as ClusterIndex;
  /** Counts allocations: if it is unchanged, nothing was allocated meanwhile. */
  count = 0;

  constructor(image: Qcow2Image) {
    this.#image = image;
    this.#perBlock = image.geometry.blockEntries;
  }

  /**
   * Allocates up to `want` contiguous clusters (at least one; fewer only at the end of a refcount block): sets their refcounts to one, in the cache.
   * The caller has to make the file long enough. Rejects with `corrupt-image`, `limit`, `no-space`, `io`.
   */
  async allocateRun(want: number): Promise<Run> {
    const image = this.#image;
    const { refcounts } = image;
    const stop = image.file.raise('cluster_alloc');
    if (stop !== undefined) await stop;
    let at = want > 1 ? this.#runFrom : this.#freeFrom;
    for (;;) {
      const index = refcounts.indexOf(at);
      if (index >= refcounts.table.entries) {
        await image.committer.exclusive(() => growTable(image, index));
        continue;
      }
      const block = refcounts.blockSync(index);
      if (block === undefined) {
        await refcounts.loadBlock(index, true);
        continue;
      }
      if (block === null) {
        if (refcounts.blocks.mustCommit) await image.commit();
        await refcounts.makeOne(() => createBlock(image, index, at));
        continue;
      }
      if (!block.reserved) {
        await refcounts.reserveBlock(block);
        continue;
      }
      const found = refcounts.findFree(block, at - index * this.#perBlock, want);
      if (found === null) {
        at = ((index + 1) * this.#perBlock) as ClusterIndex;
        continue;
      }
      const run = { cluster: (index * this.#perBlock + found.start) as ClusterIndex, count: found.count };
      if (run.cluster === 0 && !image.metadata.checks('main-header')) {
        // The refcount of the header is 0, but this check was switched off, so the image is not marked corrupt. The header must not be allocated anyway.
        at = 1 as ClusterIndex;
        continue;
      }
      const what = refcounts.metadataIn(run.cluster, run.count);
      if (what !== null) throw await wronglyFree(image, run.cluster, what);
      assert(run.cluster > 0, 'the header is never allocated');
      refcounts.take(block, found.start, found.count);
      this.count++;
      this.#advance(run, want);
      return run;
    }
  }

  #advance(run: Run, want: number): void {
    const end = plus(run.cluster, run.count);
    if (want === 1 || run.cluster === this.#freeFrom) this.#freeFrom = end;
    if (want > 1 || run.cluster === this.#runFrom) this.#runFrom = end;
    if (this.#runFrom < this.#freeFrom) this.#runFrom = this.#freeFrom;
  }

  /** Called when `cluster` became free, so that searches find it again. */
  freed(cluster: ClusterIndex): void {
    if (cluster < this.#freeFrom) this.#freeFrom = cluster;
    if (cluster < this.#runFrom) this.#runFrom = cluster;
  }

  /**
   * Undoes `allocateRun` or `tryReference` for clusters that no entry ever pointed to: at once, or by the next commit where the refcount block has left
   * the cache meanwhile.
   */
  release(cluster: ClusterIndex, count: number): void {
    const { refcounts, frees } = this.#image;
    for (let at = cluster; at < cluster + count; at = plus(at, 1)) {
      const block = refcounts.blocks.get(refcounts.indexOf(at));
      if (block?.reserved) refcounts.lower(block, at);
      else frees.add(at, 1, false);
    }
  }

  /**
   * Adds a reference to a cluster that has some already, for compressed data that shares it. False where it has none, or its refcount is at the limit;
   * undefined where the refcount block must be loaded first (`loadFor`, then ask again).
   */
  tryReference(cluster: ClusterIndex): boolean | undefined {
    const { refcounts } = this.#image;
    const block = refcounts.blockSync(refcounts.indexOf(cluster));
    if (block === null) return false;
    if (block === undefined || !block.reserved) return undefined;
    return refcounts.valueIn(block, cluster) > 0 && refcounts.raise(block, cluster);
  }

  /** Loads the block with the refcount of `cluster` into the cache, and reserves it, so that it may be changed. */
  async loadFor(cluster: ClusterIndex): Promise<void> {
    const { refcounts } = this.#image;
    const index = refcounts.indexOf(cluster);
    for (let block = refcounts.blockSync(index); !block?.reserved; block = refcounts.blockSync(index)) {
      if (!block) return refcounts.loadBlock(index, true);
      await refcounts.reserveBlock(block);
    }
  }
}
