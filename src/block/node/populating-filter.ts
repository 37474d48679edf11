// A filter that stores what is read through it in the layer below, where that comes from a backing file, so that it need not be fetched from there
// again. How a cluster is stored beside writers of the same place is up to the filter (copy-on-read, and the node that a stream job puts in).
//
//   read --> filter --> top has it --------------------------> the bytes of top
//                  \--> top does not --> cluster of the chain --> written to top --> the bytes
//
// Clusters are copied as wholes. What `top` holds already is located through the filter as if that were not there.

import type { ZeroScan } from '../../host/host.js';
import { backingOf, chainStatus, inChain } from '../chain.js';
import type { Extent, Located } from '../types.js';
import { FilterNode } from './filter.js';
import type { BlockNode } from './node.js';

/** A copy is done in parts of at most so many bytes, or one cluster. */
const PART_BYTES = 1 << 20;
/** Where the node below has no clusters. */
const DEFAULT_CLUSTER_BYTES = 65536;

export abstract class PopulatingFilter extends FilterNode {
  /** The lowest layer that is copied from; null: all are. Where it is the node below the filter itself, nothing is copied. */
  protected abstract readonly bottom: BlockNode | null;

  /** Stores what the node below does not hold itself of [offset, offset + length), whole clusters. */
  protected abstract copy(offset: number, length: number): Promise<void>;

  override get writesWhenRead(): boolean {
    return true;
  }

  override get abilities() {
    return this.passedDetails;
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (!super.doLocate(offset, length, write, into)) return false;
    // A write that is located is one to what the top holds. Zeroes may be those of another layer.
    if (write || backingOf(this.below.node) === null) return true;
    if (into.file === null ? this.#holds(offset, length) : into.file === this.below.node.hostFile()) return true;
    into.guard?.release();
    into.guard = null;
    return false;
  }

  /** It is known at once that the top has the whole range. */
  #holds(offset: number, length: number): boolean {
    const status = this.below.blockStatusSync(offset, length);
    return status?.allocated === true && status.length >= length;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    await this.#fill(offset, offset + buffer.length);
    await super.doRead(offset, buffer, scan);
  }

  protected override async doReadExtents(
    extents: readonly Extent[],
    buffer: Uint8Array,
    scan?: ZeroScan,
  ): Promise<void> {
    for (const { offset, length } of extents) await this.#fill(offset, offset + length);
    await super.doReadExtents(extents, buffer, scan);
  }

  /** Copies the clusters of [start, end) that the top does not hold. */
  async #fill(start: number, end: number): Promise<void> {
    if (backingOf(this.below.node) === null) return;
    const unit = this.below.node.clusterBytes || DEFAULT_CLUSTER_BYTES;
    const last = Math.min(Math.ceil(end / unit) * unit, this.length);
    for (let at = Math.floor(start / unit) * unit; at < last; ) {
      const { status, missing } = await this.#missing(at, last - at);
      const part = Math.min(Math.max(unit, Math.ceil(status / unit) * unit), Math.max(unit, PART_BYTES), last - at);
      if (missing) await this.copy(at, part);
      at += missing ? part : Math.max(unit, Math.floor(status / unit) * unit);
    }
  }

  /** How long the run at `offset` is, and whether it is to be copied. */
  async #missing(offset: number, length: number): Promise<{ status: number; missing: boolean }> {
    const top = await this.below.blockStatus(offset, length);
    const base = backingOf(this.below.node);
    if (top.allocated || base === null) return { status: top.length, missing: false };
    if (this.bottom === null) return { status: top.length, missing: true };
    // Only what the layers down to the bottom hold: nothing, where the top is the bottom.
    const holds = inChain(base, this.bottom);
    if (!holds) return { status: top.length, missing: false };
    const below = await chainStatus(base, backingOf(this.bottom), offset, top.length);
    return { status: below.length, missing: below.layer !== null };
  }
}
