// The file under an image: reads that end at its end as zeroes do, growth in strides, space that is allocated before it is needed, and the
// knowledge whether anything was written since the last flush.
//
//   |  in use, perhaps with holes  |= solid: allocated =|..... surplus of the stride: a hole .....|
//                                                       ^ usedEnd                                 ^ length

import type { Child } from '../../../block/child.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp } from './types.js';

const MIN_STRIDE_BYTES = 1 << 20;
const MAX_STRIDE_BYTES = 64 << 20;
/** Small tables at the end of the file are reserved together with what will follow them: so many bytes at a time. */
const RESERVE_AHEAD_BYTES = 256 << 10;
const SMALL_TABLE_BYTES = 64 << 10;

export class ImageFile {
  readonly #link: () => Child;
  #growing: Promise<void> | null = null;
  #cutting: Promise<void> | null = null;
  /** End of what was ever handed out for use; the rest is the stride's surplus, which `trim` cuts. */
  #usedEnd: number;
  /** Host offset from which on the file has only zeroes, because it was made longer, or cut, there, and nothing was handed out since. */
  #freshFrom: number;
  /** [from, to) is allocated on the file system: no write there can lack space. One such range is remembered, the highest. */
  readonly #solid = { from: 0, to: 0 };
  /** How many times a range became soft: what was reserved while that happened is not remembered, since it may have been that range. */
  #softenings = 0;
  /** Space that is being reserved ahead now, the latest. */
  #ahead: { from: number; to: number; done: Promise<void> } | null = null;
  /** Something was written, or the size changed, since the last flush that succeeded. */
  unflushed = false;

  /** Bytes that a copy said it will still write: so much is reserved ahead, in strides. */
  #expected = 0;

  /** `link` is asked each time: the graph may put another one in place. */
  constructor(link: () => Child) {
    this.#link = link;
    this.#usedEnd = link().length;
    this.#freshFrom = link().length;
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

  /** Fills `buffer`; what lies behind the end of the file is zeroes. */
  async read(offset: number, buffer: Uint8Array): Promise<void> {
    const link = this.#link();
    const inside = Math.max(0, Math.min(buffer.length, link.length - offset));
    if (inside === buffer.length) return link.read(offset, buffer);
    buffer.fill(0, inside);
    if (inside > 0) await link.read(offset, buffer.subarray(0, inside));
  }

  /** Writes inside the file; whoever allocates makes room first (`ensureLength`). */
  async write(offset: number, buffer: Uint8Array): Promise<void> {
    try {
      await this.#link().write(offset, buffer);
    } finally {
      this.unflushed = true;
    }
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    try {
      await this.#link().writeZeroes(offset, length);
    } finally {
      this.unflushed = true;
    }
  }

  async flush(): Promise<void> {
    this.unflushed = false;
    try {
      await this.#link().flush();
    } catch (error) {
      this.unflushed = true;
      throw error;
    }
  }

  /**
   * Makes the file reach to `end` at least, in strides. Rejects with `no-space` where the file cannot grow (a block device),
   * and as `truncate` does.
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
   * [offset, offset + length), inside the file, is allocated on the file system when this resolves, so that what is written there later
   * finds its space; the content stays. Nobody may write there meanwhile. Rejects with `no-space`, `io`.
   */
  async reserve(offset: number, length: number): Promise<void> {
    const end = offset + length;
    const solid = this.#solid;
    if (offset >= solid.from && end <= solid.to) return;
    if (length >= SMALL_TABLE_BYTES || offset < this.#freshFrom) return this.#reserveNow(offset, length, 0);
    // Many small tables are made at once: one request does for those that lie behind it. Where it fails, each tries for itself.
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
    const softenings = this.#softenings;
    const to = await this.#link().reserve(offset, length, ahead);
    this.#becomeSolid(offset, to, softenings);
    this.unflushed = true;
  }

  /** [from, to) was allocated; `softenings` as it was before. */
  #becomeSolid(from: number, to: number, softenings: number): void {
    if (softenings !== this.#softenings) return;
    const solid = this.#solid;
    // Tables are made at the end of the file: of two ranges, the higher one is remembered.
    if (to < solid.from) return;
    if (from > solid.to) {
      solid.from = from;
      solid.to = to;
    } else {
      solid.from = Math.min(solid.from, from);
      solid.to = Math.max(solid.to, to);
    }
  }

  /** [from, to) may be a hole from now on. */
  #softened(from: number, to: number): void {
    this.#softenings++;
    const solid = this.#solid;
    if (from >= solid.to || to <= solid.from) return;
    // Tables are made at the end of the file: of what is left, the higher part is remembered.
    if (to < solid.to) solid.from = to;
    else solid.to = Math.max(solid.from, from);
  }

  /** About so many bytes will be written at the end: their space is reserved before, which saves the file system work. */
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

  /** Grows by a stride with its space allocated; false where that cannot be, so that the file grows without. */
  async #reserve(link: Child, end: number): Promise<boolean> {
    const from = link.length;
    const target = roundUp(Math.max(end, from + Math.min(this.#expected, MAX_STRIDE_BYTES)), MIN_STRIDE_BYTES);
    const softenings = this.#softenings;
    try {
      await link.truncate(target, { preallocation: 'falloc' });
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      this.#expected = 0;
      return false;
    }
    this.#expected = Math.max(0, this.#expected - (target - from));
    this.#becomeSolid(from, target, softenings);
    this.unflushed = true;
    return true;
  }

  /**
   * Says whether [start, end), just allocated, is known to read as zeroes, and takes it as handed out. Only space that this
   * object added to the file qualifies: a block device's, or what an earlier writer left, may hold anything.
   */
  takeFresh(start: number, end: number): boolean {
    const fresh = start >= this.#freshFrom;
    if (end > this.#freshFrom) this.#freshFrom = end;
    return fresh;
  }

  /** Deallocates space; a hint, and the only request here whose failure does not matter. */
  async discard(offset: number, length: number): Promise<void> {
    this.#softened(offset, offset + length);
    try {
      await this.#link().discard(offset, length);
      this.unflushed = true;
    } catch (error) {
      if (!(error instanceof BlockError) || error.code === 'internal') throw error;
    }
  }

  /** Cuts the surplus of the last stride. */
  async trim(): Promise<void> {
    if (this.#link().length > this.#usedEnd) await this.#resize(this.#usedEnd);
  }

  /** Cuts the file to `end`: nothing behind it is in use. */
  async cut(end: number): Promise<void> {
    this.#usedEnd = end;
    if (this.#link().length <= end) return;
    this.#cutting = this.#resize(end).finally(() => {
      this.#cutting = null;
    });
    await this.#cutting;
  }

  async #resize(size: number): Promise<void> {
    this.#softened(size, Number.POSITIVE_INFINITY);
    try {
      await this.#link().truncate(size);
    } catch (error) {
      if (!isFixedSize(error)) throw error;
      // A file of fixed size keeps what is behind `size`.
      return;
    }
    this.unflushed = true;
    if (this.#freshFrom > size) this.#freshFrom = size;
  }
}

/** Waits for an action of another caller. Its failure is that caller's: the one that waited looks at the state again. */
async function othersEnd(action: Promise<void>): Promise<void> {
  await Promise.allSettled([action]);
}

/** The file cannot change its size: a block device, a window of a file. */
function isFixedSize(error: unknown): boolean {
  return error instanceof BlockError && (error.code === 'unsupported' || error.code === 'invalid-argument');
}
