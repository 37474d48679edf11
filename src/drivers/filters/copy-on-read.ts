// copy-on-read: what is read through the filter and lies in a backing file only is stored in the layer below the filter, too, so that it need not be
// fetched from there again (see `PopulatingFilter`). While a cluster is copied nobody writes to it: writes through the filter wait, and the filter's link lets nobody write
// to the node past the filter.

import type { Child } from '../../block/child.js';
import type { BlockNode } from '../../block/node/node.js';
import { PopulatingFilter } from '../../block/node/populating-filter.js';
import type { OpenRequest } from '../../block/registry.js';
import type { Permissions } from '../../block/roles.js';
import { type Extent, Perm, type WriteFlags, type ZeroFlags } from '../../block/types.js';
import { BlockError } from '../../util/errors.js';
import { RangeLock } from '../../util/range-lock.js';

class CopyOnReadNode extends PopulatingFilter {
  override readonly driver = 'copy-on-read';
  override readonly reopens = false;
  /** Shared by writes, held alone for a copy. */
  readonly #lock = new RangeLock();
  protected override readonly bottom: BlockNode | null;

  constructor({ graph, node }: OpenRequest<'copy-on-read'>, file: BlockNode, bottom: BlockNode | null) {
    super(graph, node, 'copy-on-read', {}, file);
    this.bottom = bottom;
  }

  /** A copy writes what is read there anyway. */
  override needsOf(link: Child, perm: number, shared: number): Permissions | null {
    const needs = super.needsOf(link, perm, shared);
    if (needs === null) return needs;
    const fills = needs.perm | Perm.WRITE_UNCHANGED;
    return perm === 0
      ? { perm: fills, shared: needs.shared }
      : { perm: fills | Perm.CONSISTENT_READ, shared: needs.shared & ~Perm.WRITE };
  }

  protected override async copy(offset: number, length: number): Promise<void> {
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

export async function openCopyOnRead(request: OpenRequest<'copy-on-read'>): Promise<BlockNode> {
  const file = await request.openChild('file', null, 'filtered');
  if (file.readOnly) throw new BlockError('read-only', 'Block node is read-only', { path: file.filename });
  return new CopyOnReadNode(request, file, findBottom(request, file));
}
