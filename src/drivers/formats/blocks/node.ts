// A node of a format whose disk is one run of blocks (requests.ts): what it says of them.

import { FormatNode } from '../../../block/node/format.js';
import type { BlockStatus, Extent, Located, MovePlace, WriteFlags, ZeroFlags } from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import type { ImageFile } from '../../image-file.js';
import type { BlockSource, BlockTables } from './places.js';
import { type BlockDisk, BlockRequests } from './requests.js';

export abstract class BlocksNode extends FormatNode {
  protected abstract readonly blockBytes: number;
  protected abstract readonly file: ImageFile;
  protected abstract readonly tables: BlockTables;
  protected abstract readonly space: BlockSource;
  /** See `BlockDisk`. */
  protected readonly hasZeroBlocks: boolean = false;
  protected readonly holesAreAllocated: boolean = false;
  protected get looksIntoFile(): boolean {
    return false;
  }
  readonly #requests = new BlockRequests(this.#disk());

  /** Makes durable what was answered. */
  protected abstract commit(): Promise<void>;

  /** The node as its requests see it: its fields are set when its constructor has run. */
  #disk(): BlockDisk {
    const node = this;
    return {
      get blockBytes() {
        return node.blockBytes;
      },
      get length() {
        return node.length;
      },
      get file() {
        return node.file;
      },
      get tables() {
        return node.tables;
      },
      get space() {
        return node.space;
      },
      get memory() {
        return node.host.memory;
      },
      get below() {
        return node.cow;
      },
      get hasZeroBlocks() {
        return node.hasZeroBlocks;
      },
      get holesAreAllocated() {
        return node.holesAreAllocated;
      },
      get looksIntoFile() {
        return node.looksIntoFile;
      },
      commit: () => node.commit(),
      writeData: (offset, length, flags) => super.doWriteZeroes(offset, length, flags),
    };
  }

  override get clusterBytes(): number {
    return this.blockBytes;
  }

  override expectWrites(bytes: number): void {
    super.expectWrites(bytes);
    if (Number.isSafeInteger(bytes) && bytes >= 0) this.file.expect(bytes);
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return this.#requests.locate(offset, length, write, into);
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    await this.#requests.read(offset, buffer);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    return this.#requests.statusSync(offset, length);
  }

  protected override doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.#requests.status(offset, length);
  }

  protected override doWrite(offset: number, buffer: Uint8Array, _flags: WriteFlags): Promise<void> {
    return this.#requests.write(offset, buffer);
  }

  protected override doPrepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    return this.#requests.prepareMove(extents, granule);
  }

  protected override doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    return this.#requests.writeZeroes(offset, length, flags);
  }

  protected override doDiscard(offset: number, length: number): Promise<void> {
    return this.#requests.discard(offset, length);
  }

  protected override async doFlush(): Promise<void> {
    if (this.readOnly) return super.doFlush();
    await this.commit();
  }
}
