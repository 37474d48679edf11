// Finding free clusters of the image file, and taking them. A cluster is allocated before anything is written to it, and published (by an
// entry that points to it) when its content is written:
//
//   allocateRun -----> content is written -----> an entry points to it -----> commit: refcounts first, then the entry
//        |                   | fails
//        |                   v
//        +--------------> release: nothing ever pointed to it, so it is free at once
//
// Searches for one cluster fill holes, from the lowest cluster that may be free. Searches for several go on where the last one ended, so that
// what is written in a row lies in a row, and leave the holes below to the others:
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
  /** Counts allocations: unchanged means that nothing was allocated meanwhile. */
  count = 0;

  constructor(image: Qcow2Image) {
    this.#image = image;
    this.#perBlock = image.geometry.blockEntries;
  }

  /**
   * Reserves up to `want` contiguous clusters (at least one; fewer only where a refcount block ends) and sets their refcounts to one, in the
   * cache. The file may still have to be made longer. Rejects with `corrupt-image`, `limit`, `no-space`, `io`.
   */
  async allocateRun(want: number): Promise<Run> {
    const image = this.#image;
    const { refcounts } = image;
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
      if (!block.solid) {
        await refcounts.solidifyBlock(block);
        continue;
      }
      const found = refcounts.findFree(block, at - index * this.#perBlock, want);
      if (found === null) {
        at = ((index + 1) * this.#perBlock) as ClusterIndex;
        continue;
      }
      const run = { cluster: (index * this.#perBlock + found.start) as ClusterIndex, count: found.count };
      if (run.cluster === 0 && !image.metadata.checks('main-header')) {
        // Nobody asked for that check, so the image is not called corrupt; its header is kept all the same.
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

  /** `cluster` has become free: searches find it again. */
  freed(cluster: ClusterIndex): void {
    if (cluster < this.#freeFrom) this.#freeFrom = cluster;
    if (cluster < this.#runFrom) this.#runFrom = cluster;
  }

  /**
   * Takes back what `allocateRun` or `tryReference` reserved and nothing ever pointed to: at once, or with the next commit where its block has
   * left the cache meanwhile.
   */
  release(cluster: ClusterIndex, count: number): void {
    const { refcounts, frees } = this.#image;
    for (let at = cluster; at < cluster + count; at = plus(at, 1)) {
      const block = refcounts.blocks.get(refcounts.indexOf(at));
      if (block?.solid) refcounts.lower(block, at);
      else frees.add(at, 1, false);
    }
  }

  /**
   * One more reference to a cluster that has some: compressed data shares it. False where it has none or its refcount is at the limit;
   * undefined where its block must be loaded first (`loadFor`, then ask again).
   */
  tryReference(cluster: ClusterIndex): boolean | undefined {
    const { refcounts } = this.#image;
    const block = refcounts.blockSync(refcounts.indexOf(cluster));
    if (block === null) return false;
    if (block === undefined || !block.solid) return undefined;
    return refcounts.valueIn(block, cluster) > 0 && refcounts.raise(block, cluster);
  }

  /** Brings the block with the refcount of `cluster` into the cache, ready to be changed. */
  async loadFor(cluster: ClusterIndex): Promise<void> {
    const { refcounts } = this.#image;
    const index = refcounts.indexOf(cluster);
    for (let block = refcounts.blockSync(index); !block?.solid; block = refcounts.blockSync(index)) {
      if (!block) return refcounts.loadBlock(index, true);
      await refcounts.solidifyBlock(block);
    }
  }
}
