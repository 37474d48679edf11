// The file under an image. This class adds four things to the link:
//
//   reads     beyond the end of the file return zeroes
//   growth    the file grows in strides of 1 to 64 MiB; `trim` cuts the unused part of the last one
//   space     metadata must be writable later, even on a full disk, so its space is allocated on the file system first (`reserve`)
//   flushes   `unflushed` says whether anything was written since the last one
//
//   |  in use, perhaps with holes  |= reserved: allocated =|..... unused part of the stride: a hole .....|
//                                                          ^ usedEnd                                     ^ length
//
// One reserved range is remembered, the highest, since tables are made at the end of the file; a place outside of it is reserved again, which the
// file system answers quickly where the space is there already. A discard or a cut deallocates: the range is shortened then. One that happens while
// a reservation is under way may have deallocated what was just reserved: that reservation is not remembered (`#deallocations`).

import type { Child } from '../block/child.js';
import type { BlkdebugEvent, PreallocMode } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { roundUp } from '../util/numbers.js';

const MIN_STRIDE_BYTES = 1 << 20;
const MAX_STRIDE_BYTES = 64 << 20;
/** Bytes that are reserved together with a small table at the end of the file, for the tables that will follow it. */
const RESERVE_AHEAD_BYTES = 256 << 10;
const SMALL_TABLE_BYTES = 64 << 10;

export class ImageFile {
  readonly #link: () => Child;
  #growing: Promise<void> | null = null;
  #cutting: Promise<void> | null = null;
  /** End of the space that was ever used; the rest is the unused part of the last stride, which `trim` cuts. */
  #usedEnd: number;
  /** From this host offset on, the file has only zeroes: it grew, or was cut, there, and nothing was allocated there since. */
  #freshFrom: number;
  /** [from, to) is allocated on the file system: a write there cannot fail for lack of space. */
  readonly #reserved = { from: 0, to: 0 };
  /** Counts deallocations, see above. */
  #deallocations = 0;
  /** The latest reservation ahead that is under way. */
  #ahead: { from: number; to: number; done: Promise<void> } | null = null;
  /** Something was written, or the size changed, since the last successful flush. */
  unflushed = false;

  /** Bytes that a copy has announced and not written yet (`expect`). The file grows with its space allocated for so long. */
  #expected = 0;

  /** `link` is called for each request, since the graph may replace the link. */
  constructor(link: () => Child, length = link().length) {
    this.#link = link;
    this.#usedEnd = length;
    this.#freshFrom = length;
  }

  get link(): Child {
    return this.#link();
  }

  get path(): string {
    return this.#link().filename;
  }

  get length(): number {
    return this.#link().length;
  }

  /** End of the space that was ever used, and that was not given back. */
  get usedEnd(): number {
    return this.#usedEnd;
  }

  /** The image's algorithm has come to `event`: see `Child.raise`. */
  raise(event: BlkdebugEvent): Promise<void> | undefined {
    return this.#link().raise(event);
  }

  /** Fills `buffer`; bytes beyond the end of the file are zeroes. `event` is raised first. */
  async read(offset: number, buffer: Uint8Array, event?: BlkdebugEvent): Promise<void> {
    const stop = event === undefined ? undefined : this.raise(event);
    if (stop !== undefined) await stop;
    const link = this.#link();
    const inside = Math.max(0, Math.min(buffer.length, link.length - offset));
    if (inside === buffer.length) return link.read(offset, buffer);
    buffer.fill(0, inside);
    if (inside > 0) await link.read(offset, buffer.subarray(0, inside));
  }

  /** Writes inside the file. A caller that allocates must call `ensureLength` first. `event` is raised before. */
  async write(offset: number, buffer: Uint8Array, event?: BlkdebugEvent): Promise<void> {
    const stop = event === undefined ? undefined : this.raise(event);
    if (stop !== undefined) await stop;
    try {
      await this.#link().write(offset, buffer);
    } finally {
      this.unflushed = true;
    }
  }

  async writeZeroes(offset: number, length: number, mayUnmap = false): Promise<void> {
    try {
      await this.#link().writeZeroes(offset, length, { mayUnmap });
    } finally {
      this.unflushed = true;
    }
  }

  async flush(): Promise<void> {
    const stop = this.raise('flush_to_disk');
    if (stop !== undefined) await stop;
    this.unflushed = false;
    try {
      await this.#link().flush();
    } catch (error) {
      this.unflushed = true;
      throw error;
    }
  }

  /**
   * Grows the file, in strides, to at least `end` bytes. Rejects with `no-space` where the file cannot grow (a block device), and as `truncate`.
   */
  async ensureLength(end: number): Promise<void> {
    if (end > this.#usedEnd) this.#usedEnd = end;
    while (this.#cutting !== null) await othersEnd(this.#cutting);
    if (end > this.#usedEnd) this.#usedEnd = end;
    while (end > this.#link().length) {
      if (this.#growing !== null) {
        await othersEnd(this.#growing);
        continue;
      }
      this.#growing = this.#grow(end).finally(() => {
        this.#growing = null;
      });
      await this.#growing;
    }
  }

  /**
   * Allocates [offset, offset + length), inside the file, on the file system, so that a later write there cannot fail for lack of space. The content
   * stays. Nobody may write there meanwhile. Rejects with `no-space`, `io`.
   */
  async reserve(offset: number, length: number): Promise<void> {
    const end = offset + length;
    const reserved = this.#reserved;
    if (offset >= reserved.from && end <= reserved.to) return;
    if (length >= SMALL_TABLE_BYTES || offset < this.#freshFrom) return this.#reserveNow(offset, length, 0);
    // Often many small tables are made at the same time: one reservation includes the space of those after it. Where it fails, each one reserves its own.
    const ahead = this.#ahead;
    if (ahead !== null && offset >= ahead.from && end <= ahead.to) {
      await Promise.allSettled([ahead.done]);
      return this.reserve(offset, length);
    }
    const to = Math.min(end + RESERVE_AHEAD_BYTES, this.length);
    const mine = { from: offset, to, done: this.#reserveNow(offset, length, RESERVE_AHEAD_BYTES) };
    this.#ahead = mine;
    try {
      await mine.done;
    } finally {
      if (this.#ahead === mine) this.#ahead = null;
    }
  }

  async #reserveNow(offset: number, length: number, ahead: number): Promise<void> {
    const deallocations = this.#deallocations;
    const to = await this.#link().reserve(offset, length, ahead);
    this.#noteReserved(offset, to, deallocations);
    this.unflushed = true;
  }

  /** [from, to) was allocated by a request that began when `#deallocations` was `deallocations`. */
  #noteReserved(from: number, to: number, deallocations: number): void {
    if (deallocations !== this.#deallocations) return;
    const reserved = this.#reserved;
    // Of two separate ranges, the higher one is remembered.
    if (to < reserved.from) return;
    if (from > reserved.to) {
      reserved.from = from;
      reserved.to = to;
    } else {
      reserved.from = Math.min(reserved.from, from);
      reserved.to = Math.max(reserved.to, to);
    }
  }

  /** [from, to) may become a hole from now on. */
  #noteDeallocated(from: number, to: number): void {
    this.#deallocations++;
    const reserved = this.#reserved;
    if (from >= reserved.to || to <= reserved.from) return;
    // Of the parts that are left, the higher one is remembered.
    if (to < reserved.to) reserved.from = to;
    else reserved.to = Math.max(reserved.from, from);
  }

  /** Announces that about so many bytes will be written at the end. Their space is allocated ahead, in large pieces, which saves the file system work. */
  expect(bytes: number): void {
    this.#expected = bytes;
  }

  async #grow(end: number): Promise<void> {
    const link = this.#link();
    if (this.#expected > 0 && (await this.#reserve(link, end))) return;
    const stride = Math.min(MAX_STRIDE_BYTES, Math.max(MIN_STRIDE_BYTES, end / 8));
    try {
      await link.truncate(roundUp(end, roundUp(stride, MIN_STRIDE_BYTES)));
    } catch (error) {
      if (!isFixedSize(error)) throw error;
      throw BlockError.at(link.filename, 'no-space', `no space left: the image needs ${end} bytes`, {
        offset: end,
        operation: 'allocate',
        cause: error,
      });
    }
    this.unflushed = true;
  }

  /** Grows by a stride with its space allocated; false where the file system cannot do that: then the file grows without it. */
  async #reserve(link: Child, end: number): Promise<boolean> {
    const from = link.length;
    const target = roundUp(Math.max(end, from + Math.min(this.#expected, MAX_STRIDE_BYTES)), MIN_STRIDE_BYTES);
    const deallocations = this.#deallocations;
    try {
      await link.truncate(target, { preallocation: 'falloc' });
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      this.#expected = 0;
      return false;
    }
    this.#expected = Math.max(0, this.#expected - (target - from));
    this.#noteReserved(from, target, deallocations);
    this.unflushed = true;
    return true;
  }

  /**
   * Returns whether [start, end), which was just allocated, is known to read as zeroes, and notes that it is in use. Only space that this object
   * added to the file is known: a block device, or space that an earlier writer used, may hold anything.
   */
  takeFresh(start: number, end: number): boolean {
    const fresh = start >= this.#freshFrom;
    if (end > this.#freshFrom) this.#freshFrom = end;
    return fresh;
  }

  /** [start, end), which was allocated, is free again; `fresh`: `takeFresh` said so of it, and nothing was written to it since. */
  giveBack(start: number, end: number, fresh: boolean): void {
    if (this.#usedEnd === end) this.#usedEnd = start;
    if (fresh && this.#freshFrom === end) this.#freshFrom = start;
  }

  /** Deallocates space. This is a hint: a failure is ignored. */
  async discard(offset: number, length: number): Promise<void> {
    this.#noteDeallocated(offset, offset + length);
    try {
      await this.#link().discard(offset, length);
      this.unflushed = true;
    } catch (error) {
      if (!(error instanceof BlockError) || error.code === 'internal') throw error;
    }
  }

  /** The file was changed by somebody else, while nothing was under way here. */
  refresh(): void {
    this.#usedEnd = this.length;
    this.#freshFrom = this.length;
    this.#noteDeallocated(0, Number.POSITIVE_INFINITY);
  }

  /** Cuts the unused part of the last stride. */
  async trim(): Promise<void> {
    if (this.#link().length > this.#usedEnd) await this.#resize(this.#usedEnd);
  }

  /** Cuts the file to `end` bytes. Nothing beyond may be in use. */
  async cut(end: number): Promise<void> {
    this.#usedEnd = end;
    if (this.#link().length <= end) return;
    this.#cutting = this.#resize(end).finally(() => {
      this.#cutting = null;
    });
    await this.#cutting;
  }

  /** Gives the file `size` bytes; what is new reads as zeroes. Rejects as `truncate`. */
  async resizeTo(size: number, preallocation: PreallocMode): Promise<void> {
    while (this.#growing !== null || this.#cutting !== null) await othersEnd((this.#growing ?? this.#cutting)!);
    if (size < this.length) this.#noteDeallocated(size, Number.POSITIVE_INFINITY);
    await this.#link().truncate(size, { preallocation });
    this.#usedEnd = size;
    this.#freshFrom = Math.min(this.#freshFrom, size);
    this.unflushed = true;
  }

  async #resize(size: number): Promise<void> {
    this.#noteDeallocated(size, Number.POSITIVE_INFINITY);
    try {
      await this.#link().truncate(size);
    } catch (error) {
      if (!isFixedSize(error)) throw error;
      // A file of fixed size keeps its content beyond `size`.
      return;
    }
    this.unflushed = true;
    if (this.#freshFrom > size) this.#freshFrom = size;
  }
}

/** Waits for an action of another caller. That caller gets its failure; the one that waits checks the state again. */
async function othersEnd(action: Promise<void>): Promise<void> {
  await Promise.allSettled([action]);
}

/** True for the error of a file that cannot change its size: a block device, a window of a file. */
function isFixedSize(error: unknown): boolean {
  return error instanceof BlockError && (error.code === 'unsupported' || error.code === 'invalid-argument');
}
