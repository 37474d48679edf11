// A node of a format whose disk is one run of blocks (requests.ts): what it says of them.

import { FormatNode } from '../../../block/node/format.js';
import type { BlockStatus, Extent, Located, MovePlace, WriteFlags, ZeroFlags } from '../../../block/types.js';
import type { Memory, ZeroScan } from '../../../host/host.js';
import type { ImageFile } from '../../image-file.js';
import type { Below, BlockDisk, BlockSource, BlockTables } from './places.js';
import { BlockRequests } from './requests.js';

/** Larger blocks keep holes where a copy has zeroes: a block of one piece is read faster, and costs little. */
const MAX_WHOLE_BYTES = 64 << 10;
/** The holes' unit: what file systems allocate. */
const HOLE_BYTES = 4096;

export abstract class BlocksNode extends FormatNode implements BlockDisk {
  abstract readonly blockBytes: number;
  abstract readonly file: ImageFile;
  abstract readonly tables: BlockTables;
  abstract readonly space: BlockSource;
  readonly hasZeroBlocks: boolean = false;
  readonly holesAreAllocated: boolean = false;
  protected readonly requests = new BlockRequests(this);

  get looksIntoFile(): boolean {
    return false;
  }

  get memory(): Memory {
    return this.host.memory;
  }

  get below(): Below | null {
    return this.cow;
  }

  abstract commit(): Promise<void>;

  writeData(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    return super.doWriteZeroes(offset, length, flags);
  }

  override get clusterBytes(): number {
    return this.blockBytes;
  }

  override get copyUnitBytes(): number {
    return this.blockBytes <= MAX_WHOLE_BYTES || this.below !== null ? this.blockBytes : HOLE_BYTES;
  }

  /** Space is allocated ahead only where blocks keep no holes, which it would fill. */
  override expectWrites(bytes: number): void {
    super.expectWrites(bytes);
    const isSize = Number.isSafeInteger(bytes) && bytes >= 0;
    if (isSize && this.copyUnitBytes === this.blockBytes) this.file.expect(bytes);
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return this.requests.locate(offset, length, write, into);
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    await this.requests.read(offset, buffer);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    return this.requests.statusSync(offset, length);
  }

  protected override doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.requests.status(offset, length);
  }

  protected override doWrite(offset: number, buffer: Uint8Array, _flags: WriteFlags): Promise<void> {
    return this.requests.write(offset, buffer);
  }

  protected override doPrepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    return this.requests.prepareMove(extents, granule);
  }

  protected override doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    return this.requests.writeZeroes(offset, length, flags);
  }

  protected override doDiscard(offset: number, length: number): Promise<void> {
    return this.requests.discard(offset, length);
  }

  protected override async doFlush(): Promise<void> {
    if (this.readOnly) return super.doFlush();
    await this.commit();
  }
}
