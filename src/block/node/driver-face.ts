// What a driver supplies: the methods that the requests call once they have checked and accounted, and what a driver says of itself.
// Where a driver has no method of its own, the fallback here does the same with the others.

import { type HostFile, moveSlice, type ZeroScan } from '../../host/host.js';
import { BlockError } from '../../util/errors.js';
import { settleAll } from '../../util/settle.js';
import type { Abilities } from '../abilities.js';
import type { DebugEvents } from '../debug-events.js';
import type {
  BlockStatus,
  Compression,
  Extent,
  Located,
  MappingGuard,
  MovePart,
  MovePlace,
  TruncateOptions,
  WriteFlags,
  ZeroFlags,
} from '../types.js';
import { NodeLinks } from './links.js';
import type { NodeChange, PreparedReopen } from './reopening.js';

const ZERO_CHUNK_BYTES = 1 << 20;
const RESERVE_CHUNK_BYTES = 1 << 16;

export abstract class NodeDriver extends NodeLinks {
  /**
   * Bytes, a power of two. Reads, writes, zeroes and discards reach the driver in whole blocks of so many; the base makes them of
   * what is asked for (see `padding.ts`). 1: the driver takes any range.
   */
  requestAlignment = 1;

  /** It can become read-only or writable, and take other options, while it is open. */
  readonly reopens: boolean = true;

  /** Hears of the events of the drivers above; null, but for blkdebug. */
  readonly debugEvents: DebugEvents | null = null;

  /** What the driver can do beyond I/O. */
  get abilities(): Abilities {
    return {};
  }

  /** Bytes that the files of this node (its backing chain excepted) take on the host's disk; null where nothing says. */
  async allocatedBytes(): Promise<number | null> {
    const file = this.hostFile();
    if (file !== null) return (await file.info()).allocated;
    return this.primary === null ? null : this.primary.node.allocatedBytes();
  }

  /** The host file that holds this node's bytes, through all its children; null where there is none. */
  hostFile(): HostFile | null {
    return null;
  }

  /** `blockStatus` where the answer is at hand, possibly of a shorter run; null where only the slow path can tell. For ranges within the node. */
  blockStatusSync(_offset: number, _length: number): BlockStatus | null {
    return null;
  }

  /** Where a look-up of block status that begins at `offset` ends at the latest: one table of the format describes the bytes up to there. */
  lookUpEnd(_offset: number): number {
    return Number.POSITIVE_INFINITY;
  }

  /** It stores what is read through it: it stays writable where it becomes a backing node. */
  get writesWhenRead(): boolean {
    return false;
  }

  /** It keeps the size that it has: a device, or an export of another machine. */
  get fixedSize(): boolean {
    return this.primary?.node.fixedSize ?? false;
  }

  /** What was just made in this node, without a backing node, reads as zeroes: whatever the storage held before is gone. */
  get zeroWhenNew(): boolean {
    return this.primary?.node.zeroWhenNew ?? false;
  }

  /** Unit of allocation, bytes: writes of whole clusters need no copy on write. 0 where the driver has no such unit. */
  get clusterBytes(): number {
    return 0;
  }

  /**
   * What a copy writes as a whole, or leaves out, bytes: a cluster, or less where a new cluster reads as zeroes but for what is written to it, so that it may keep holes.
   * 0 where the driver has no such unit.
   */
  get copyUnitBytes(): number {
    return this.clusterBytes;
  }

  /**
   * What becomes of compressed writes, which are of whole clusters: those that are `refused` do not come to the driver, others are `taken`. `needed`: no other writes
   * come to it, as where an image is one stream of compressed clusters. A copy into such a node compresses (`compresses`), or is refused before it begins
   * (`refuseCompressedOnly`).
   */
  get compression(): Compression {
    return 'refused';
  }

  /** A hint before a big copy into this node: about so many bytes of new data will be written, mostly in order. Never fails. */
  expectWrites(bytes: number): void {
    this.primary?.node.expectWrites(bytes);
  }

  /** True when `doWrite` honours `fua` itself. */
  protected get handlesFua(): boolean {
    return false;
  }

  /** What `locate` asks once it has checked the range and this node's own state. A node over one child hands on what the child says. */
  protected doLocate(_offset: number, _length: number, _write: boolean, _into: Located): boolean {
    return false;
  }

  /**
   * Finds a place for whole extents, which are written, or left out in steps of `granule`, by `Host.move`. Here: where they lie already. Null where there
   * is no such place; rejects as a write does.
   */
  protected async doPrepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    const slice = moveSlice(granule, 1);
    if (slice === 0) return null;
    const parts: MovePart[] = [];
    const guards: MappingGuard[] = [];
    const release = (): void => {
      for (const guard of guards) guard.release();
    };
    const into: Located = { file: null, offset: 0, guard: null };
    let file: HostFile | null = null;
    try {
      for (const { offset, length } of extents) {
        const found = this.doLocate(offset, length, true, into);
        if (found && into.guard !== null) guards.push(into.guard);
        if (!found || into.file === null || !into.file.movable || (file !== null && file !== into.file)) {
          release();
          return null;
        }
        file = into.file;
        parts.push({ length, to: into.offset });
      }
    } catch (error) {
      release();
      throw error;
    }
    return file === null ? null : { target: file, parts, run: null, slice, done: release };
  }

  protected abstract doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void>;
  protected abstract doBlockStatus(offset: number, length: number): Promise<BlockStatus>;

  protected async doWrite(offset: number, buffer: Uint8Array, _flags: WriteFlags): Promise<void> {
    throw this.unsupported('write', offset, buffer.length);
  }

  protected async doWriteExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    let at = 0;
    const parts: Promise<void>[] = [];
    for (const { offset, length } of extents) {
      parts.push(this.doWrite(offset, buffer.subarray(at, at + length), flags));
      at += length;
    }
    await settleAll(parts);
  }

  /** Fallback: writes zeroes as data. */
  protected async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    if (flags.noFallback || this.compression === 'needed') throw this.unsupported('write zeroes', offset, length);
    const writeFlags = { fua: flags.fua === true && this.handlesFua };
    const zeroes = this.host.memory.allocate(Math.min(length, ZERO_CHUNK_BYTES));
    zeroes.fill(0);
    try {
      for (let done = 0; done < length; done += zeroes.length) {
        const part = length - done < zeroes.length ? zeroes.subarray(0, length - done) : zeroes;
        await this.doWrite(offset + done, part, writeFlags);
      }
    } finally {
      this.host.memory.free(zeroes);
    }
  }

  /** Fallback: the present content is written once more. */
  protected async doReserve(offset: number, length: number, _ahead: number): Promise<number> {
    const buffer = this.host.memory.allocate(Math.min(length, RESERVE_CHUNK_BYTES));
    try {
      for (let done = 0; done < length; done += buffer.length) {
        const part = length - done < buffer.length ? buffer.subarray(0, length - done) : buffer;
        await this.doRead(offset + done, part);
        await this.doWrite(offset + done, part, {});
      }
      return offset + length;
    } finally {
      this.host.memory.free(buffer);
    }
  }

  /** Fallback: a hint may be ignored. */
  protected async doDiscard(_offset: number, _length: number): Promise<void> {}

  protected async doFlush(): Promise<void> {
    const stop = this.primary?.raise('flush_to_disk');
    if (stop !== undefined) await stop;
    for (const { role, node } of this.children.values()) if (role.follows) await node.flush();
  }

  protected async flushNow(): Promise<void> {
    const stop = this.primary?.raise('flush_to_os');
    if (stop !== undefined) await stop;
    await this.doFlush();
  }

  protected async doTruncate(_size: number, _options: TruncateOptions): Promise<void> {
    throw this.noResize();
  }

  protected async doMakeEmpty(): Promise<void> {
    throw this.unsupported('emptying', 0, 0);
  }

  /**
   * Gets ready to be what `change` says, next to what it is, which stays in use: see `reopening.ts`. Null: nothing is to be done but what the base does.
   * Rejects where it cannot; then nothing has changed.
   */
  async prepareReopen(_change: NodeChange): Promise<PreparedReopen | null> {
    return null;
  }

  protected async doClose(): Promise<void> {}

  /** Background work of the driver that a drained section must wait for. */
  protected async doDrain(): Promise<void> {}

  /** For a driver whose images keep their size. */
  protected noResize(): BlockError {
    return BlockError.at(this.filename, 'unsupported', 'Image format driver does not support resize', {
      operation: 'resize',
    });
  }

  protected unsupported(operation: string, offset: number, length: number): BlockError {
    return BlockError.at(this.filename, 'unsupported', `driver '${this.driver}' does not support ${operation}`, {
      operation,
      offset,
      length,
    });
  }
}
