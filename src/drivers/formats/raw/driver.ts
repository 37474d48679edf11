// raw: the bytes of the file as they are, or a window of them. All requests are passed to the file, at another offset for a window.
//
//   file   |........|================|.....|
//          0      offset        offset + size

import type { Abilities } from '../../../block/abilities.js';
import { passedStatus, passedStatusSync } from '../../../block/chain.js';
import type { Child } from '../../../block/child.js';
import { formatNodeName } from '../../../block/filename.js';
import type { Graph } from '../../../block/graph.js';
import { FormatNode } from '../../../block/node/format.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { Permissions } from '../../../block/roles.js';
import {
  type BlockStatus,
  type Extent,
  type Located,
  type MovePlace,
  Perm,
  type TruncateOptions,
  type ZeroFlags,
} from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import type { BlockdevOptionsRaw } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { FirstSectorGuard } from './first-sector.js';

export class RawNode extends FormatNode {
  override readonly driver = 'raw';
  override readonly filename: string;
  readonly #offset: number;
  /** The window has a size of its own, and does not end with the file. */
  readonly #fixed: boolean;
  /** Guards the first sector of an image whose format was probed; null where the format was named. */
  readonly #guard: FirstSectorGuard | null;

  constructor(graph: Graph, node: NodeOptions, own: BlockdevOptionsRaw, file: BlockNode, probed: boolean) {
    super(graph, node);
    const { offset, size } = own;
    this.#offset = offset ?? 0;
    this.#fixed = size !== undefined;
    this.length = size ?? file.length - this.#offset;
    this.filename = formatNodeName('raw', { offset, size }, file);
    this.#guard = probed ? new FirstSectorGuard(this, (head) => this.#below.read(this.#offset, head)) : null;
  }

  /** No details of its own; where the file has none either (an NBD export), there is no such ability. */
  override get abilities(): Abilities {
    return this.#below.node.abilities.details === undefined ? {} : { details: () => ({}) };
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (write && this.#guard?.covers(offset) === true) return false;
    return this.#below.locate(offset + this.#offset, length, write, into);
  }

  protected override async doPrepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    if (this.#guard !== null && extents.some(({ offset }) => this.#guard?.covers(offset))) return null;
    return this.#below.prepareMove(this.#moved(extents), granule);
  }

  override needsOf(_link: Child, perm: number, shared: number): Permissions {
    return { perm, shared: this.#fixed ? shared & ~Perm.RESIZE : shared };
  }

  override get fixedSize(): boolean {
    return this.#fixed || super.fixedSize;
  }

  /** A window of given size keeps the old bytes of its file. */
  override get zeroWhenNew(): boolean {
    return !this.#fixed && super.zeroWhenNew;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const stop = this.#below.raise('read_aio');
    if (stop !== undefined) await stop;
    await this.#below.read(offset + this.#offset, buffer, scan);
  }

  protected override async doReadExtents(extents: readonly Extent[], buffer: Uint8Array, scan?: ZeroScan) {
    const stop = this.#below.raise('read_aio');
    if (stop !== undefined) await stop;
    await this.#below.readExtents(this.#moved(extents), buffer, scan);
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    return passedStatusSync(this.#below.node, offset + this.#offset, length);
  }

  protected override doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return passedStatus(this.#below.node, offset + this.#offset, length);
  }

  override lookUpEnd(offset: number): number {
    return this.#below.node.lookUpEnd(offset + this.#offset) - this.#offset;
  }

  protected override async doWrite(offset: number, buffer: Uint8Array): Promise<void> {
    const stop = this.#below.raise('write_aio');
    if (stop !== undefined) await stop;
    const write = () => this.#below.write(offset + this.#offset, buffer);
    if (this.#guard === null || !this.#guard.covers(offset)) return write();
    return this.#guard.change((head) => head.set(buffer.subarray(0, head.length - offset), offset), write);
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    const write = () => this.#below.writeZeroes(offset + this.#offset, length, { ...flags, fua: false });
    if (this.#guard === null || !this.#guard.covers(offset)) return write();
    return this.#guard.change((head) => head.fill(0, offset, offset + length), write);
  }

  protected override doDiscard(offset: number, length: number): Promise<void> {
    return this.#below.discard(offset + this.#offset, length);
  }

  protected override async doReserve(offset: number, length: number, ahead: number): Promise<number> {
    return (await this.#below.reserve(offset + this.#offset, length, ahead)) - this.#offset;
  }

  protected override async doTruncate(size: number, options: TruncateOptions): Promise<void> {
    if (this.#fixed) {
      throw BlockError.at(this.filename, 'unsupported', 'Cannot resize fixed-size raw disks', { operation: 'resize' });
    }
    if (!Number.isSafeInteger(size + this.#offset)) {
      throw BlockError.at(this.filename, 'limit', 'Disk size too large for the chosen offset', { operation: 'resize' });
    }
    await this.#below.truncate(size + this.#offset, options);
  }

  get #below(): Child {
    return this.primary!;
  }

  #moved(extents: readonly Extent[]): readonly Extent[] {
    if (this.#offset === 0) return extents;
    return extents.map(({ offset, length }) => ({ offset: offset + this.#offset, length }));
  }
}
