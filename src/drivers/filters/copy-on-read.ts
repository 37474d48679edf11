// copy-on-read: what is read through the filter and lies in a backing file only is stored in the layer below the filter, too, so that it need not be
// fetched from there again.
//
//   read --> filter --> top has it --------------------------> the bytes of top
//                  \--> top does not --> cluster of the chain --> written to top --> the bytes
//
// Clusters are copied as wholes. While one is copied nobody writes to it: writes through the filter wait, and the filter's link lets nobody write to the
// node past the filter. What `top` holds already is located through the filter as if that were not there.

import { backingOf, chainStatus, inChain } from '../../block/chain.js';
import type { Child } from '../../block/child.js';
import { FilterNode } from '../../block/node/filter.js';
import type { BlockNode } from '../../block/node/node.js';
import type { DriverDefinition, OpenRequest } from '../../block/registry.js';
import type { Permissions } from '../../block/roles.js';
import { type Extent, type Located, Perm, type WriteFlags, type ZeroFlags } from '../../block/types.js';
import type { ZeroScan } from '../../host/host.js';
import { BlockError } from '../../util/errors.js';
import { RangeLock } from '../../util/range-lock.js';

/** A copy is done in parts of at most so many bytes, or one cluster. */
const PART_BYTES = 1 << 20;
/** Where the node below has no clusters. */
const DEFAULT_CLUSTER_BYTES = 65536;

class CopyOnReadNode extends FilterNode {
  override readonly driver = 'copy-on-read';
  /** Shared by writes, held alone for a copy. */
  readonly #lock = new RangeLock();
  /** The lowest layer that is copied from; null: all are. */
  readonly #bottom: BlockNode | null;

  constructor({ graph, node }: OpenRequest<'copy-on-read'>, file: BlockNode, bottom: BlockNode | null) {
    super(graph, node, 'copy-on-read', {}, file);
    this.#bottom = bottom;
  }

  override get abilities() {
    return this.passedDetails;
  }

  /** A copy writes what is read there anyway. */
  override needsOf(link: Child, perm: number, shared: number): Permissions | null {
    const needs = super.needsOf(link, perm, shared);
    if (needs === null || perm === 0) return needs;
    return { perm: needs.perm | Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED, shared: needs.shared & ~Perm.WRITE };
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
      if (missing) await this.#copy(at, part);
      at += missing ? part : Math.max(unit, Math.floor(status / unit) * unit);
    }
  }

  /** How long the run at `offset` is, and whether it is to be copied. */
  async #missing(offset: number, length: number): Promise<{ status: number; missing: boolean }> {
    const top = await this.below.blockStatus(offset, length);
    const base = backingOf(this.below.node);
    if (top.allocated || base === null) return { status: top.length, missing: false };
    if (this.#bottom === null) return { status: top.length, missing: true };
    // Only what the layers down to the bottom hold: nothing, where the top is the bottom.
    const holds = inChain(base, this.#bottom);
    if (!holds) return { status: top.length, missing: false };
    const below = await chainStatus(base, backingOf(this.#bottom), offset, top.length);
    return { status: below.length, missing: below.layer !== null };
  }

  async #copy(offset: number, length: number): Promise<void> {
    const { memory } = this.host;
    const held = await this.#lock.acquire(offset, offset + length);
    const buffer = memory.allocate(length);
    try {
      await this.below.read(offset, buffer);
      for (let at = offset; at < offset + length; ) {
        // Somebody may have written there meanwhile.
        const { length: run, allocated } = await this.below.blockStatus(at, offset + length - at);
        if (!allocated) await this.#store(at, buffer.subarray(at - offset, at - offset + run));
        at += run;
      }
    } finally {
      memory.free(buffer);
      this.#lock.release(held);
    }
  }

  #store(offset: number, bytes: Uint8Array): Promise<void> {
    return this.host.memory.isZero(bytes)
      ? this.below.writeZeroes(offset, bytes.length, { mayUnmap: true, unchanged: true })
      : this.below.write(offset, bytes, { unchanged: true });
  }

  protected override doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    return this.#outsideOfCopies([{ offset, length: buffer.length }], () => super.doWrite(offset, buffer, flags));
  }

  protected override doWriteExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    return this.#outsideOfCopies(extents, () => super.doWriteExtents(extents, buffer, flags));
  }

  protected override doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    return this.#outsideOfCopies([{ offset, length }], () => super.doWriteZeroes(offset, length, flags));
  }

  protected override doDiscard(offset: number, length: number): Promise<void> {
    return this.#outsideOfCopies([{ offset, length }], () => super.doDiscard(offset, length));
  }

  async #outsideOfCopies(extents: readonly Extent[], action: () => Promise<void>): Promise<void> {
    const last = extents[extents.length - 1];
    const held = await this.#lock.acquire(extents[0].offset, last.offset + last.length, 'shared');
    try {
      await action();
    } finally {
      this.#lock.release(held);
    }
  }
}

/** Throws `not-found`, `invalid-argument`. */
function findBottom({ graph, options }: OpenRequest<'copy-on-read'>, file: BlockNode): BlockNode | null {
  if (options.bottom === undefined) return null;
  const bottom = graph.nodes.get(options.bottom);
  if (bottom === undefined) throw new BlockError('not-found', `Bottom node '${options.bottom}' not found`);
  if (bottom.kind === 'filter') throw new BlockError('invalid-argument', `Bottom node '${options.bottom}' is a filter`);
  if (file.reaches(bottom)) return bottom;
  throw new BlockError('invalid-argument', `Bottom node '${options.bottom}' is not below '${file.nodeName}'`);
}

export const copyOnReadDriver: DriverDefinition<'copy-on-read'> = {
  name: 'copy-on-read',
  kind: 'filter',
  reopens: false,
  async open(request) {
    const file = await request.openChild('file', null, 'filtered');
    if (file.readOnly) throw new BlockError('read-only', 'Block node is read-only', { path: file.filename });
    return new CopyOnReadNode(request, file, findBottom(request, file));
  },
};
