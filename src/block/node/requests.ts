// Requests to a node: each is checked (bounds, read-only, closed) and counted, and then the driver's method of the same name is called.
//
//   read, write, ...  ->  bounds, read-only  ->  [change pipeline]  ->  doRead, doWrite, ...
//   read, write (hot) ->  locate             ->  the host file itself

import type { HostFile, ZeroScan } from '../../host/host.js';
import { BlockError } from '../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../util/numbers.js';
import { Serial } from '../../util/serial.js';
import { later, settleAll } from '../../util/settle.js';
import { checkImageSize } from '../image-size.js';
import type { BlockStatus, Extent, Located, MappingGuard, TruncateOptions, WriteFlags, ZeroFlags } from '../types.js';
import { NodePadding } from './padding.js';

/** For the requests of this file: each is begun at once, so that one object does for all. */
const place: Located = { file: null, offset: 0, guard: null };

export abstract class NodeRequests extends NodePadding {
  /** Changes of the size: one goes on at a time. */
  readonly #resizing = new Serial();

  /** Fills `buffer` from `offset`. Rejects with `out-of-bounds`, `closed`, `io`, `corrupt-image`. */
  read(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    if (this.held !== null) return this.held.then(() => this.read(offset, buffer, scan));
    const length = buffer.length;
    if (this.shut || !Number.isSafeInteger(offset) || offset < 0 || offset + length > this.length) {
      return Promise.reject(this.#rangeError('read', offset, length));
    }
    return this.#readLocated(offset, buffer, scan) ?? this.tracked(this.#readBlocks(offset, buffer, scan));
  }

  /** Reads disjoint, ascending extents back to back into `buffer`, in as few requests as the driver can. */
  readExtents(extents: readonly Extent[], buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    if (this.held !== null) return this.held.then(() => this.readExtents(extents, buffer, scan));
    const total = this.checkExtents('read', extents, buffer.length);
    if (total !== null) return Promise.reject(total);
    if (extents.length === 1) return this.read(extents[0].offset, buffer, scan);
    return this.tracked(this.doReadExtents(extents, buffer, scan));
  }

  /**
   * Says without waiting where a request may go straight to a host file: all of [offset, offset + length) lies there in one piece as it is,
   * and a write has nothing else to do than to write it. A read may also learn that the whole range is zeroes: `into.file` is null then. Fills
   * `into`, with a guard that is taken; false where only `read` or `write` can tell (also what is wrong), and then nothing is to be released.
   * Never fails. Whoever gets true does, in this order:
   *
   *  1. at once, before anything else runs: `sent()`, and begin the request on `into.file`; where that says false, `givenUp(guard)`. Where the
   *     range is zeroes, the request is answered as it begins;
   *  2. with the answer, failed or not: `answered(write, offset, length, guard)`, with what `into.guard` was then;
   *  3. only after that: answer the caller.
   *
   * A write that was located is durable after the next `flush()` that begins after 2; where FUA is wanted, ask `write`.
   */
  locate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (
      length <= 0 ||
      this.shut ||
      this.held !== null ||
      this.countsAll > 0 ||
      !Number.isSafeInteger(offset) ||
      offset < 0
    )
      return false;
    if (!(offset + length <= this.length) || (write && !this.takesLocatedWrites)) return false;
    if (!this.#isLocated(offset, length, write, into)) return false;
    if (!write) return true;
    if (this.isWatched && !this.watch(offset, length, into)) {
      into.guard?.release();
      return false;
    }
    if (offset + length > this.noteBeyond) this.noteWrite(offset + length);
    return true;
  }

  /** What is wrong with the image, the request itself says. */
  #isLocated(offset: number, length: number, write: boolean, into: Located): boolean {
    try {
      return this.doLocate(offset, length, write, into);
    } catch (error) {
      if (error instanceof BlockError && error.code === 'corrupt-image') return false;
      throw error;
    }
  }

  /**
   * The longest run at `offset` (at most `length`) with one status, in this layer only. It coalesces: a run ends where the
   * status changes or the host offset is not contiguous.
   */
  async blockStatus(offset: number, length: number): Promise<BlockStatus> {
    while (this.held !== null) await this.held;
    const error = this.checkExtents('block status', [{ offset, length }], length);
    if (error !== null || length === 0) throw error ?? this.#rangeError('block status', offset, length);
    return this.tracked(this.doBlockStatus(offset, length));
  }

  /** Writes `buffer` at `offset`. Rejects with `read-only`, `out-of-bounds`, `no-space`, `io`, ... */
  write(offset: number, buffer: Uint8Array, flags?: WriteFlags): Promise<void> {
    if (flags === undefined && this.locate(offset, buffer.length, true, place)) {
      return this.#writeLocated(place.file!, place.offset, place.guard, offset, buffer);
    }
    return this.writeExtents([{ offset, length: buffer.length }], buffer, flags);
  }

  /** Writes disjoint, ascending extents whose data lies back to back in `buffer`, in as few requests as the driver can. */
  async writeExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags = {}): Promise<void> {
    while (this.held !== null) await this.held;
    this.checkWritable('write');
    const error = this.checkExtents('write', extents, buffer.length);
    if (error !== null) throw error;
    if (flags.compressed ? this.compression === 'refused' : this.compression === 'needed') {
      const what = flags.compressed ? 'compressed writes' : 'writes that are not compressed';
      throw this.unsupported(what, extents[0]?.offset ?? 0, buffer.length);
    }
    if (this.detectZeroes !== 'off' && !flags.compressed && this.host.memory.isZero(buffer)) {
      const { fua, serialised, unchanged } = flags;
      const zeroFlags = { fua, serialised, unchanged, mayUnmap: this.detectZeroes === 'unmap' };
      return this.tracked(this.#zeroEach(extents, zeroFlags));
    }
    await this.change(extents, 'write', buffer, flags, () => this.#writeBlocks(extents, buffer, flags));
  }

  /** Makes the range read as zeroes. */
  async writeZeroes(offset: number, length: number, flags: ZeroFlags = {}): Promise<void> {
    while (this.held !== null) await this.held;
    this.checkWritable('write zeroes');
    const extent = { offset, length };
    const error = this.checkExtents('write zeroes', [extent], length);
    if (error !== null) throw error;
    await this.#zero(extent, flags);
  }

  /** Tells the node that the content is not needed; it may read as anything that the format allows afterwards. */
  async discard(offset: number, length: number): Promise<void> {
    while (this.held !== null) await this.held;
    this.checkWritable('discard');
    const extents = [{ offset, length }];
    const error = this.checkExtents('discard', extents, length);
    if (error !== null) throw error;
    if (this.discardMode === 'ignore') return;
    await this.change(extents, 'discard', null, {}, () =>
      this.requestAlignment === 1 ? this.doDiscard(offset, length) : this.discardWhole(offset, length),
    );
  }

  /** Everything answered before this call is durable when it resolves. */
  async flush(): Promise<void> {
    while (this.held !== null) await this.held;
    if (this.shut) throw this.closedError('flush');
    await this.tracked(this.flushNow());
  }

  /** Changes the size. Rejects with `unsupported`, `read-only`, `no-space`, `limit`. */
  async truncate(size: number, options: TruncateOptions = {}): Promise<void> {
    this.checkWritable('resize');
    checkImageSize(size, this.filename, 'resize');
    await this.trackedResize(this.#resizing.run(() => this.#resize(size, options)));
  }

  /**
   * Runs `action`, which changes as a whole what the node holds, while no other request is under way; those that come meanwhile wait. Rejects with
   * `read-only`.
   */
  protected async alone<T>(operation: string, action: () => Promise<T>): Promise<T> {
    this.checkWritable(operation);
    const results: T[] = [];
    const work = async (): Promise<void> => {
      results.push(await action());
    };
    await this.trackedResize(this.#resizing.run(() => this.withoutOthers(work)));
    return results[0];
  }

  #resize(size: number, options: TruncateOptions): Promise<void> {
    const resize = (): Promise<void> => this.#setSize(size, options);
    // A write under way would make a file longer again. What comes meanwhile is begun, or refused, with the new size.
    return size < this.length ? this.withoutOthers(resize) : resize();
  }

  async #setSize(size: number, options: TruncateOptions): Promise<void> {
    await this.doTruncate(size, options);
    // As when it was opened: whole sectors.
    this.length = roundUp(size, SECTOR_BYTES);
    for (const bitmap of this.bitmaps.values()) bitmap.truncate(this.length);
  }

  /**
   * Makes sure that later writes to the range find their space: what is a hole there is allocated, the content stays. Nobody may write to
   * the range meanwhile. Up to `ahead` bytes behind it are reserved with it where there is room and that is one step; resolves with the
   * end of what is reserved. Rejects with `no-space`, `read-only`, `out-of-bounds`, `io`.
   */
  async reserve(offset: number, length: number, ahead = 0): Promise<number> {
    while (this.held !== null) await this.held;
    this.checkWritable('reserve');
    const error = this.checkExtents('reserve', [{ offset, length }], length);
    if (error !== null) throw error;
    const more = Math.min(ahead, this.length - offset - length);
    return this.tracked(
      this.requestAlignment === 1 ? this.doReserve(offset, length, more) : this.reservePadded(offset, length, more),
    );
  }

  /** Drops all content of this layer, so that everything comes from the backing node, while no other request is under way. Rejects with `unsupported`, `read-only`. */
  async makeEmpty(): Promise<void> {
    await this.alone('make empty', () => this.#makeEmpty());
  }

  async #makeEmpty(): Promise<void> {
    const all = [{ offset: 0, length: this.length }];
    for (let wait = this.marksWait(all); wait !== null; wait = this.marksWait(all)) await wait;
    for (const bitmap of this.bitmaps.values()) bitmap.record(0, this.length);
    try {
      await this.doMakeEmpty();
    } finally {
      this.recordAgain(0, this.length);
    }
  }

  protected async doReadExtents(extents: readonly Extent[], buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    let at = 0;
    const parts: Promise<void>[] = [];
    for (const { offset, length } of extents) {
      const part = buffer.subarray(at, at + length);
      parts.push(later(this.#readLocated(offset, part) ?? this.#readBlocks(offset, part)));
      at += length;
    }
    await settleAll(parts);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  #readBlocks(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    return this.isWhole(offset, buffer.length)
      ? this.doRead(offset, buffer, scan)
      : this.readPadded(offset, buffer, scan);
  }

  #writeBlocks(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    if (this.requestAlignment !== 1) return this.writePadded(extents, buffer, flags);
    return extents.length === 1
      ? this.doWrite(extents[0].offset, buffer, flags)
      : this.doWriteExtents(extents, buffer, flags);
  }

  /** Reads what can be located, without being counted: the close of the host file waits for it. Null where it cannot. */
  #readLocated(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> | null {
    if (!this.locate(offset, buffer.length, false, place)) return null;
    const { file, guard } = place;
    const reading = file === null ? this.#fillZeroes(buffer, scan) : file.read(place.offset, buffer, scan);
    return guard === null ? reading : releasing(reading, guard);
  }

  async #fillZeroes(buffer: Uint8Array, scan: ZeroScan | undefined): Promise<void> {
    buffer.fill(0);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  async #writeLocated(
    file: HostFile,
    at: number,
    guard: MappingGuard | null,
    offset: number,
    buffer: Uint8Array,
  ): Promise<void> {
    this.sent();
    try {
      await file.write(at, buffer);
    } finally {
      this.answered(true, offset, buffer.length, guard);
    }
  }

  async #zeroEach(extents: readonly Extent[], flags: ZeroFlags): Promise<void> {
    for (const extent of extents) await this.#zero(extent, flags);
  }

  #zero(extent: Extent, flags: ZeroFlags): Promise<void> {
    const { offset, length } = extent;
    return this.change([extent], 'zero', null, flags, () =>
      this.requestAlignment === 1 ? this.doWriteZeroes(offset, length, flags) : this.zeroPadded(offset, length, flags),
    );
  }

  protected checkWritable(operation: string): void {
    if (this.shut) throw this.closedError(operation);
    if (this.readOnly) {
      throw BlockError.at(this.filename, 'read-only', `node '${this.nodeName}' is read-only`, { operation });
    }
  }

  protected checkExtents(operation: string, extents: readonly Extent[], bytes: number): BlockError | null {
    let total = 0;
    let end = 0;
    if (this.shut) return this.closedError(operation);
    for (const { offset, length } of extents) {
      const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
      if (!whole || offset < end || length < 0 || offset + length > this.length) {
        return this.#rangeError(operation, offset, length);
      }
      end = offset + length;
      total += length;
    }
    if (total === bytes) return null;
    return BlockError.at(this.filename, 'invalid-argument', `buffer of ${bytes} bytes for ${total} bytes of extents`, {
      operation,
    });
  }

  #rangeError(operation: string, offset: number, length: number): BlockError {
    if (this.shut) return this.closedError(operation);
    return BlockError.at(
      this.filename,
      'out-of-bounds',
      `${operation} of ${length} bytes at ${offset} is outside of the image's ${this.length} bytes`,
      { operation, offset, length },
    );
  }
}

async function releasing(request: Promise<void>, guard: MappingGuard): Promise<void> {
  try {
    await request;
  } finally {
    guard.release();
  }
}
