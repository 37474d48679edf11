// snapshot-access: reads as the node below it did at the moment that this keeps (a copy-before-write filter). It is there for whoever copies that
// moment away, while guests write through the filter below: nothing is written through it, and a discard says that a part is not needed any more.

import type { Moment } from '../../block/abilities.js';
import { FilterNode } from '../../block/node/filter.js';
import type { BlockNode } from '../../block/node/node.js';
import type { OpenRequest } from '../../block/registry.js';
import type { Permissions } from '../../block/roles.js';
import { type BlockStatus, type Extent, PERM_ALL } from '../../block/types.js';
import type { HostFile, ZeroScan } from '../../host/host.js';
import { settleAll } from '../../util/settle.js';

class SnapshotAccessNode extends FilterNode {
  override readonly driver = 'snapshot-access';
  override readonly reopens = false;

  get #moment(): Moment {
    const { moment } = this.below.node.abilities;
    if (moment === undefined) throw this.unsupported('reading a moment that no node below it keeps', 0, 0);
    return moment;
  }

  /** Its bytes are those of no file. */
  override hostFile(): HostFile | null {
    return null;
  }

  override allocatedBytes(): Promise<number | null> {
    return this.below.node.allocatedBytes();
  }

  override lookUpEnd(): number {
    return Number.POSITIVE_INFINITY;
  }

  /** The filter below takes care of itself. */
  override needsOf(): Permissions {
    return { perm: 0, shared: PERM_ALL };
  }

  protected override doLocate(): boolean {
    return false;
  }

  override blockStatusSync(): null {
    return null;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    await this.#moment.read(offset, buffer);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected override async doReadExtents(
    extents: readonly Extent[],
    buffer: Uint8Array,
    scan?: ZeroScan,
  ): Promise<void> {
    const moment = this.#moment;
    let at = 0;
    const parts: Promise<void>[] = [];
    for (const { offset, length } of extents) {
      parts.push(moment.read(offset, buffer.subarray(at, at + length)));
      at += length;
    }
    await settleAll(parts);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.#moment.blockStatus(offset, length);
  }

  protected override async doWrite(offset: number, buffer: Uint8Array): Promise<void> {
    throw this.unsupported('write', offset, buffer.length);
  }

  protected override async doWriteExtents([{ offset }]: readonly Extent[], buffer: Uint8Array): Promise<void> {
    throw this.unsupported('write', offset, buffer.length);
  }

  protected override async doWriteZeroes(offset: number, length: number): Promise<void> {
    throw this.unsupported('write zeroes', offset, length);
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    await this.#moment.discard(offset, length);
  }

  protected override async doReserve(offset: number, length: number): Promise<number> {
    throw this.unsupported('reserve', offset, length);
  }

  protected override async doTruncate(): Promise<void> {
    throw this.noResize();
  }

  protected override async doMakeEmpty(): Promise<void> {
    throw this.unsupported('emptying', 0, 0);
  }
}

export async function openSnapshotAccess({
  graph,
  node,
  openChild,
}: OpenRequest<'snapshot-access'>): Promise<BlockNode> {
  return new SnapshotAccessNode(graph, node, 'snapshot-access', null, await openChild('file', null, 'filtered'));
}
