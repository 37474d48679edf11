// Throw-away filters: one inverts all bits of a guest's data; the other has a second child, which gets a copy of each write.

import { FilterNode } from '../../../src/block/node/filter.js';
import type { DriverDefinition } from '../../../src/block/registry.js';
import { ROLES } from '../../../src/block/roles.js';
import type { BlockStatus, Extent, Located, WriteFlags } from '../../../src/block/types.js';
import type { ZeroScan } from '../../../src/host/host.js';
import type { BlockdevDriver } from '../../../src/schema/generated/types.js';

class InvertNode extends FilterNode {
  override readonly driver = 'invert';

  protected override doLocate(): boolean {
    return false;
  }

  protected override doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    return this.doReadExtents([{ offset, length: buffer.length }], buffer, scan);
  }

  protected override async doReadExtents(
    extents: readonly Extent[],
    buffer: Uint8Array,
    scan?: ZeroScan,
  ): Promise<void> {
    await this.below.readExtents(extents, buffer);
    invert(buffer);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected override doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    return this.doWriteExtents([{ offset, length: buffer.length }], buffer, flags);
  }

  protected override doWriteExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    return super.doWriteExtents(extents, invert(Uint8Array.from(buffer)), flags);
  }

  protected override doWriteZeroes(offset: number, length: number): Promise<void> {
    return this.doWrite(offset, new Uint8Array(length), {});
  }

  override blockStatusSync(_offset: number, length: number): BlockStatus {
    return { length, allocated: true, data: true, zero: false, compressed: false, offset: -1, node: null };
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.blockStatusSync(offset, length);
  }
}

function invert(bytes: Uint8Array): Uint8Array {
  for (let i = 0; i < bytes.length; i++) bytes[i] ^= 0xff;
  return bytes;
}

export const invertDriver: DriverDefinition = {
  name: 'invert' as BlockdevDriver,
  kind: 'filter',
  async open({ graph, node, openChild }) {
    return new InvertNode(graph, node, 'invert', {}, await openChild('file', null, 'filtered'));
  },
};

class TeeNode extends FilterNode {
  override readonly driver = 'tee';

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return !write && super.doLocate(offset, length, write, into);
  }

  protected override async doWriteExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags) {
    await super.doWriteExtents(extents, buffer, flags);
    await this.children.get('copy')!.writeExtents(extents, buffer);
  }

  protected override doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    return this.doWriteExtents([{ offset, length: buffer.length }], buffer, flags);
  }
}

export const teeDriver: DriverDefinition = {
  name: 'tee' as BlockdevDriver,
  kind: 'filter',
  async open({ graph, node, use, openChild }) {
    const tee = new TeeNode(graph, node, 'tee', {}, await openChild('file', null, 'filtered'));
    tee.setChild('copy', await openChild('copy', null, 'data'), 'data', ROLES.data.permissions(use));
    return tee;
  },
};
