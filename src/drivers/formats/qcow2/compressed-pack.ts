// Finds places for compressed data: it is packed contiguously, at byte granularity, so that several guest clusters share a host cluster, whose refcount is
// the number of guest clusters with data in it.
//
//   host clusters   |  c0  c1 |c1 c2 c3|c3 (next)      |
//   refcounts            2        3          1

import { roundUp } from '../../../util/numbers.js';
import { Serial } from '../../../util/serial.js';
import type { Qcow2Image } from './image.js';
import { type ClusterIndex, clusterAt, type HostOffset, hostOf, NO_HOST, plus } from './types.js';

export class CompressedPacker {
  readonly #image: Qcow2Image;
  /** Host offset where the next data may begin, inside a cluster that has data already; 0 where there is none. */
  #next: HostOffset = NO_HOST;
  readonly #placing = new Serial();

  constructor(image: Qcow2Image) {
    this.#image = image;
  }

  /** Called when `cluster` became free: no more data may be packed into it. */
  forget(): void {
    this.#next = NO_HOST;
  }

  freed(cluster: ClusterIndex): void {
    if (clusterAt(this.#next, this.#image.geometry) === cluster) this.#next = NO_HOST;
  }

  /** Allocates a place for data of each of `sizes` (bytes, each below a cluster), with one reference to every cluster that it touches. */
  place(sizes: readonly number[]): Promise<HostOffset[]> {
    return this.#placing.run(() => this.#place(sizes));
  }

  /** Releases the references that `place` added for the data at `places`; there may be fewer places than sizes. */
  releaseAll(places: readonly HostOffset[], sizes: readonly number[]): void {
    const { geometry } = this.#image;
    for (let i = 0; i < places.length; i++) {
      const first = clusterAt(places[i], geometry);
      const last = clusterAt(plus(places[i], sizes[i] - 1), geometry);
      this.#image.allocation.release(first, last - first + 1);
    }
  }

  async #place(sizes: readonly number[]): Promise<HostOffset[]> {
    const { allocation, data, file, geometry } = this.#image;
    const stop = file.raise('cluster_alloc_bytes');
    if (stop !== undefined) await stop;
    const { clusterSize } = geometry;
    const places: HostOffset[] = [];
    /** Allocated clusters without data yet: their refcount is one already, for the first data. */
    const unused = new Set<ClusterIndex>();
    let end = roundUp(this.#next, clusterSize);
    let left = sizes.reduce((sum, size) => sum + size, 0);
    try {
      for (const size of sizes) {
        for (;;) {
          const next = this.#next;
          const cluster = clusterAt(next, geometry);
          if (next === 0 || next + size > end) {
            const spare = next === 0 ? 0 : end - next;
            const run = await allocation.allocateRun(Math.max(1, Math.ceil((left - spare) / clusterSize)));
            const start = hostOf(run.cluster, geometry);
            for (let i = 0; i < run.count; i++) unused.add(plus(run.cluster, i));
            // The new run continues the old region where it follows it, unless that was freed meanwhile.
            if (this.#next === 0 || start !== end) this.#next = start;
            end = plus(start, run.count * clusterSize);
            continue;
          }
          if (!unused.has(cluster)) {
            const shared = allocation.tryReference(cluster);
            if (shared === undefined) {
              await allocation.loadFor(cluster);
              continue;
            }
            if (!shared) {
              const following = plus(cluster, 1);
              this.#next =
                unused.has(following) && hostOf(following, geometry) < end ? hostOf(following, geometry) : NO_HOST;
              continue;
            }
          }
          const last = clusterAt(plus(next, size - 1), geometry);
          for (let at = cluster; at <= last; at = plus(at, 1)) unused.delete(at);
          places.push(next);
          this.#next = plus(next, size);
          left -= size;
          break;
        }
      }
      if (this.#next % clusterSize === 0) this.#next = NO_HOST;
      await data.makeRoom(end, 0);
      return places;
    } catch (error) {
      this.releaseAll(places, sizes);
      this.#next = NO_HOST;
      throw error;
    } finally {
      for (const cluster of unused) allocation.release(cluster, 1);
    }
  }
}
