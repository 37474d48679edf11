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
import type { Table } from './table-cache.js';
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
    let at = this.#searchFrom(want);
    for (;;) {
      const index = refcounts.indexOf(at);
      const block = refcounts.blockSync(index);
      if (!block) {
        await this.#makeBlock(index, () => createBlock(image, index, at));
        continue;
      }
      const found = this.#findFree(block, at, want);
      if (found === null) {
        at = ((index + 1) * this.#perBlock) as ClusterIndex;
        continue;
      }
      if (!block.reserved) {
        await refcounts.reserveBlock(block);
        continue;
      }
      if (this.#isHeader(found)) {
        at = 1 as ClusterIndex;
        continue;
      }
      const what = refcounts.metadataIn(found.cluster, found.count);
      if (what !== null) throw await wronglyFree(image, found.cluster, what);
      return this.#take(block, found, want);
    }
  }

  /**
   * Allocates exactly `want` contiguous clusters, as `allocateRun` does. They may be more than one refcount block counts. Such a block usually lies among
   * the clusters that it counts, where it would end the run: here it gets the first cluster of the run instead.
   *
   *   |used| run, counted by block 7 ............ | counted by block 8, which is to be made
   *        | block 8 | run, it continues behind the boundary ......
   */
  async allocateContiguous(want: number): Promise<ClusterIndex> {
    const image = this.#image;
    const { refcounts } = image;
    const stop = image.file.raise('cluster_alloc');
    if (stop !== undefined) await stop;
    /** Runs that were too short, held until the end so that the search does not find them again. */
    const skipped: Run[] = [];
    let run: Run = { cluster: this.#searchFrom(want), count: 0 };
    const startAt = (cluster: number): void => {
      if (run.count > 0) skipped.push(run);
      run = { cluster: cluster as ClusterIndex, count: 0 };
    };
    try {
      while (run.count < want) {
        const at = plus(run.cluster, run.count);
        const index = refcounts.indexOf(at);
        const block = refcounts.blockSync(index);
        if (!block) {
          // There is no `await` between this and the allocation of what lies before the block, so that no other request makes the block within its range.
          const { cluster, count } = run;
          const made = await this.#makeBlock(index, () => createBlock(image, index, count > 0 ? cluster : at));
          if (made && count > 0) run = { cluster: plus(cluster, 1), count: count - 1 };
          continue;
        }
        const found = this.#findFree(block, at, want - run.count);
        if (found === null) startAt((index + 1) * this.#perBlock);
        else if (!block.reserved) await refcounts.reserveBlock(block);
        else if (this.#isHeader(found)) startAt(1);
        else {
          const what = refcounts.metadataIn(found.cluster, found.count);
          if (what !== null) throw await wronglyFree(image, found.cluster, what);
          if (found.cluster !== at) startAt(found.cluster);
          run.count += this.#take(block, found, want).count;
        }
      }
      return run.cluster;
    } catch (error) {
      skipped.push(run);
      throw error;
    } finally {
      for (const { cluster, count } of skipped) this.release(cluster, count);
    }
  }

  /** Comes one step nearer to block `index` being there; `create` makes it, and says whether it did. The caller checks again then. */
  async #makeBlock(index: number, create: () => Promise<boolean>): Promise<boolean> {
    const image = this.#image;
    const { refcounts } = image;
    const block = refcounts.blockSync(index);
    let made = false;
    if (index >= refcounts.table.entries) await image.committer.exclusive(() => growTable(image, index));
    else if (block === undefined) await refcounts.loadBlock(index, true);
    else if (refcounts.blocks.mustCommit) await image.commit();
    else
      await refcounts.makeOne(async () => {
        made = await create();
      });
    return made;
  }

  /** As `Refcounts.findFree`, from cluster `at` on, which `block` counts. */
  #findFree(block: Table, at: ClusterIndex, want: number): Run | null {
    const slot = at % this.#perBlock;
    const found = this.#image.refcounts.findFree(block, slot, want);
    return found && { cluster: plus(at, found.start - slot), count: found.count };
  }

  /** The refcount of the header is 0, but this check was switched off, so the image is not marked corrupt. The header must not be allocated anyway. */
  #isHeader({ cluster }: Run): boolean {
    return cluster === 0 && !this.#image.metadata.checks('main-header');
  }

  /** Allocates a run that was found in `block`. */
  #take(block: Table, run: Run, want: number): Run {
    const { refcounts } = this.#image;
    assert(run.cluster > 0, 'the header is never allocated');
    refcounts.take(block, run.cluster % this.#perBlock, run.count);
    this.count++;
    this.#advance(run, want);
    return run;
  }

  /** Where the search for `want` clusters begins; `#advance` takes note of what was found. */
  #searchFrom(want: number): ClusterIndex {
    return want > 1 ? this.#runFrom : this.#freeFrom;
  }

  #advance(run: Run, want: number): void {
    const end = plus(run.cluster, run.count);
    if (want === 1 || run.cluster === this.#freeFrom) this.#freeFrom = end;
    if (want > 1 || run.cluster === this.#runFrom) this.#runFrom = end;
    if (this.#runFrom < this.#freeFrom) this.#runFrom = this.#freeFrom;
  }

  /** The refcounts were changed by somebody else: what was known of free clusters is not so any more. */
  refresh(): void {
    this.#freeFrom = 0 as ClusterIndex;
    this.#runFrom = 0 as ClusterIndex;
    this.count++;
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
