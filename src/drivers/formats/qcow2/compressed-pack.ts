// Where compressed data goes: packed back to back at byte granularity, so that several guest clusters share a host cluster, whose refcount
// counts them.
//
//   host clusters   |  c0  c1 |c1 c2 c3|c3 (next)      |
//   refcounts            2        3          1

import { Serial } from '../../../util/serial.js';
import type { Qcow2Image } from './image.js';

export class CompressedPacker {
  readonly #image: Qcow2Image;
  /** Host offset where the next data may begin, inside of a cluster that has some already; 0 where there is none. */
  #next = 0;
  readonly #placing = new Serial();

  constructor(image: Qcow2Image) {
    this.#image = image;
  }

  /** `cluster` has become free: nothing is packed into it any more. */
  freed(cluster: number): void {
    if (Math.floor(this.#next / this.#image.geometry.clusterSize) === cluster) this.#next = 0;
  }

  /** Reserves a place for each of `sizes` (bytes, each below a cluster), with one reference to every cluster it touches. */
  place(sizes: readonly number[]): Promise<number[]> {
    return this.#placing.run(() => this.#place(sizes));
  }

  /** Takes back the references that `place` gave to the data at `places`; there may be fewer places than sizes. */
  releaseAll(places: readonly number[], sizes: readonly number[]): void {
    const { clusterSize } = this.#image.geometry;
    for (let i = 0; i < places.length; i++) {
      const first = Math.floor(places[i] / clusterSize);
      const last = Math.floor((places[i] + sizes[i] - 1) / clusterSize);
      this.#image.allocation.release(first, last - first + 1);
    }
  }

  async #place(sizes: readonly number[]): Promise<number[]> {
    const { allocation, data } = this.#image;
    const { clusterSize } = this.#image.geometry;
    const places: number[] = [];
    /** Reserved clusters that nothing is in yet: their first reference is there already. */
    const unused = new Set<number>();
    let end = Math.ceil(this.#next / clusterSize) * clusterSize;
    let left = sizes.reduce((sum, size) => sum + size, 0);
    try {
      for (const size of sizes) {
        for (;;) {
          const next = this.#next;
          const cluster = Math.floor(next / clusterSize);
          if (next === 0 || next + size > end) {
            const spare = next === 0 ? 0 : end - next;
            const run = await allocation.allocateRun(Math.max(1, Math.ceil((left - spare) / clusterSize)));
            const start = run.cluster * clusterSize;
            for (let i = 0; i < run.count; i++) unused.add(run.cluster + i);
            // The new run continues the old region where it follows it, unless that was freed meanwhile.
            if (this.#next === 0 || start !== end) this.#next = start;
            end = start + run.count * clusterSize;
            continue;
          }
          if (!unused.has(cluster)) {
            const shared = allocation.tryReference(cluster);
            if (shared === undefined) {
              await allocation.loadFor(cluster);
              continue;
            }
            if (!shared) {
              this.#next = cluster + 1 < end / clusterSize && unused.has(cluster + 1) ? (cluster + 1) * clusterSize : 0;
              continue;
            }
          }
          for (let at = cluster; at <= Math.floor((next + size - 1) / clusterSize); at++) unused.delete(at);
          places.push(next);
          this.#next = next + size;
          left -= size;
          break;
        }
      }
      if (this.#next % clusterSize === 0) this.#next = 0;
      await data.makeRoom(end, 0);
      return places;
    } catch (error) {
      this.releaseAll(places, sizes);
      this.#next = 0;
      throw error;
    } finally {
      for (const cluster of unused) allocation.release(cluster, 1);
    }
  }
}
