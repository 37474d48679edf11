// blkverify: tests a driver against another node with the same content. Writes go to both; what is read of both is compared, and a read fails where
// they differ. (QEMU's ends the process there.)
//
//   blkverify --test--> qcow2 ...      what is read
//        |-----raw----> raw ...        what it is compared with

import type { Abilities } from '../../block/abilities.js';
import type { Child } from '../../block/child.js';
import { nameAsOptions } from '../../block/filename.js';
import { FilterNode } from '../../block/node/filter.js';
import type { BlockNode } from '../../block/node/node.js';
import type { OpenRequest } from '../../block/registry.js';
import type { Permissions } from '../../block/roles.js';
import {
  type BlockStatus,
  type Compression,
  type Extent,
  PERM_ALL,
  Perm,
  type WriteFlags,
  type ZeroFlags,
} from '../../block/types.js';
import type { HostFile, ZeroScan } from '../../host/host.js';
import { formatJsonFilename, isJsonFilename } from '../../schema/options.js';
import { BlockError } from '../../util/errors.js';
import { type LockMode, RangeLock } from '../../util/range-lock.js';
import { settleAll } from '../../util/settle.js';
import { firstDifference } from './quorum/votes.js';

class BlkverifyNode extends FilterNode {
  override readonly driver = 'blkverify';
  override readonly reopens = false;
  override readonly filename: string;
  /** Reads are apart from writes that overlap them, and writes from one another: otherwise the two would differ by chance. */
  readonly #lock = new RangeLock();

  constructor({ graph, node }: OpenRequest<'blkverify'>, test: BlockNode, raw: BlockNode) {
    super(graph, node, 'blkverify', null, test, 'test');
    this.filename =
      isJsonFilename(test.filename) || isJsonFilename(raw.filename)
        ? formatJsonFilename({ driver: 'blkverify', test: nameAsOptions(test), raw: nameAsOptions(raw) })
        : `blkverify:${raw.filename}:${test.filename}`;
    this.setChild('raw', raw, 'data', { perm: 0, shared: PERM_ALL & ~Perm.RESIZE });
  }

  get #raw(): Child {
    return this.children.get('raw')!;
  }

  override get abilities(): Abilities {
    return this.below.node.abilities.details === undefined ? {} : { details: () => ({}) };
  }

  override needsOf(_link: Child, perm: number, shared: number): Permissions {
    return { perm, shared: shared & ~Perm.RESIZE };
  }

  override hostFile(): HostFile | null {
    return null;
  }

  override async allocatedBytes(): Promise<null> {
    return null;
  }

  protected override doLocate(): boolean {
    return false;
  }

  override blockStatusSync(): null {
    return null;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    await this.doReadExtents([{ offset, length: buffer.length }], buffer, scan);
  }

  protected override async doReadExtents(extents: readonly Extent[], buffer: Uint8Array, scan?: ZeroScan) {
    const { memory } = this.host;
    const other = memory.allocate(buffer.length);
    try {
      await this.#locked(extents, 'shared', () =>
        settleAll([this.below.readExtents(extents, buffer), this.#raw.readExtents(extents, other)]),
      );
      const at = firstDifference(buffer, other);
      if (at >= 0) throw this.#different(extents, at);
    } finally {
      memory.free(other);
    }
    if (scan !== undefined) memory.zeroMap(buffer, scan.granule, scan.map);
  }

  #different(extents: readonly Extent[], at: number): BlockError {
    let before = 0;
    const extent = extents.find(({ length }) => {
      if (at < before + length) return true;
      before += length;
      return false;
    })!;
    const { offset, length } = extent;
    const reason = `blkverify: read offset=${offset} bytes=${length} contents mismatch at offset ${offset + at - before}`;
    return BlockError.at(this.filename, 'io', reason, { operation: 'read', offset, length, errno: 'EIO' });
  }

  async #locked(extents: readonly Extent[], mode: LockMode, action: () => Promise<void>): Promise<void> {
    const last = extents[extents.length - 1];
    const held = await this.#lock.acquire(extents[0].offset, last.offset + last.length, mode);
    try {
      await action();
    } finally {
      this.#lock.release(held);
    }
  }

  override get compression(): Compression {
    return 'refused';
  }

  /** It is compared by reading: what it says of holes is not. */
  protected override async doBlockStatus(_offset: number, length: number): Promise<BlockStatus> {
    return { length, allocated: true, data: true, zero: false, compressed: false, offset: -1, node: null };
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    await this.doWriteExtents([{ offset, length: buffer.length }], buffer, flags);
  }

  protected override async doWriteExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags) {
    const { fua } = flags;
    const both = () => [super.doWriteExtents(extents, buffer, flags), this.#raw.writeExtents(extents, buffer, { fua })];
    await this.#locked(extents, 'exclusive', () => settleAll(both()));
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    const { fua, mayUnmap } = flags;
    const both = () => [
      super.doWriteZeroes(offset, length, flags),
      this.#raw.writeZeroes(offset, length, { fua, mayUnmap }),
    ];
    await this.#locked([{ offset, length }], 'exclusive', () => settleAll(both()));
  }

  /** Afterwards the two could read differently. */
  protected override async doDiscard(): Promise<void> {}

  protected override async doTruncate(): Promise<void> {
    throw this.noResize();
  }

  protected override async doMakeEmpty(): Promise<void> {
    throw this.unsupported('emptying', 0, 0);
  }
}

export async function openBlkverify(request: OpenRequest<'blkverify'>): Promise<BlockNode> {
  const test = await request.openChild('test', null, 'filtered');
  return new BlkverifyNode(request, test, await request.openChild('raw', null, 'data'));
}
