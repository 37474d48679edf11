// A dirty bitmap: which granules of a node were written since some moment. All arguments and results are bytes; a range that
// touches a granule marks the whole of it.
//
//   record() ---> successor? --yes--> successor.bits      (busy: a job reads the frozen bits meanwhile)
//                     | no
//                     +--> bits, where recording is enabled
//
// A bitmap that is stored in an image has a `storage`, which is told of all changes: it stores the bits, with those of the successor, at the image's next flush.
//
// A job that works from a bitmap freezes it with `createSuccessor()`; at its end it calls `abdicate()` (the job succeeded: the
// successor's bits replace the frozen ones) or `reclaim()` (it failed: they are added). The object stays the same.

import { bool, instance, integer, type Shape, takeSettings, text } from '../schema/shape.js';
import { assert } from '../util/assert.js';
import { BitTree } from '../util/bit-tree.js';
import { BlockError } from '../util/errors.js';
import { nameLength } from '../util/name-bytes.js';
import { isPowerOfTwo } from '../util/numbers.js';

export const MIN_GRANULARITY = 512;
export const MAX_GRANULARITY = 2 ** 31;
/** QEMU's default for a node without clusters. */
export const DEFAULT_GRANULARITY = 65536;
/** UTF-8 bytes of a bitmap's name (qcow2.rst, bitmap directory). */
export const MAX_NAME_BYTES = 1023;
/** Memory of one bitmap's nodes; 2^30 scattered granules (64 TiB of 64 KiB). Runs of equal granules cost nothing. */
const MEMORY_LIMIT = 136 * 1024 * 1024;

export interface DirtyBitmapOptions {
  /** Absent: a job's own bitmap, which no user sees. */
  name?: string;
  /** Size in bytes of what it covers. */
  size: number;
  /** Power of two, 512 B .. 2 GiB. Default: 64 KiB. */
  granularity?: number;
  /** Default: true. */
  enabled?: boolean;
  persistent?: boolean;
  inconsistent?: boolean;
  /** Bytes of memory; `limit` is thrown beyond it. Default: 136 MiB. */
  memoryLimit?: number;
}

/** What keeps a bitmap in an image. */
export interface BitmapStorage {
  /** The image is read-only: its bitmaps cannot be changed. */
  readonly readOnly: boolean;
  /**
   * Granules [from, to) are not as they were, or the bitmap began or ceased to record. `removed`: some may be clean now that were dirty; a request under way
   * may mark them again when it ends.
   */
  changed(from: number, to: number, removed: boolean): void;
}

export interface DirtyRun {
  offset: number;
  length: number;
}

const OPTIONS: Shape<DirtyBitmapOptions> = {
  name: text,
  size: (value) => value as number,
  granularity: (value) => value as number,
  enabled: bool,
  persistent: bool,
  inconsistent: bool,
  memoryLimit: integer(0),
};

function checkSize(size: number, what: string): void {
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new BlockError('invalid-argument', `${what} ${size} is not a size in bytes from 0 to 2^53 - 1`);
  }
}

/** Throws `invalid-argument` where `granularity` is no power of two from 512 B to 2 GiB. */
export function checkGranularity(granularity: number): void {
  const least = Number.isSafeInteger(granularity) && granularity >= MIN_GRANULARITY && isPowerOfTwo(granularity);
  if (!least) throw new BlockError('invalid-argument', 'Granularity must be power of 2 and at least 512');
  if (granularity > MAX_GRANULARITY) {
    throw new BlockError('invalid-argument', `Granularity ${granularity} is beyond 2 GiB`);
  }
}

export class DirtyBitmap {
  readonly name: string | undefined;
  readonly granularity: number;
  /** To be stored in the image. */
  persistent: boolean;
  /** It was in use when the image was last left: its bits mean nothing, it can only be removed. */
  inconsistent: boolean;
  #size: number;
  #enabled: boolean;
  #busy = false;
  #bits: BitTree;
  #successor: DirtyBitmap | undefined;
  #storage: BitmapStorage | null = null;
  readonly #memoryLimit: number;

  /** Throws `invalid-argument` for a bad name, size or granularity. */
  constructor(options: DirtyBitmapOptions) {
    const { name, size, granularity = DEFAULT_GRANULARITY } = takeSettings(OPTIONS, options, '', ['size']);
    if (name === '') throw new BlockError('invalid-argument', 'Bitmap name cannot be empty');
    if (name !== undefined && nameLength(name) > MAX_NAME_BYTES) {
      throw new BlockError('invalid-argument', `Bitmap name too long: ${name}`);
    }
    checkSize(size, 'Bitmap size');
    checkGranularity(granularity);
    this.name = name;
    this.granularity = granularity;
    this.persistent = options.persistent ?? false;
    this.inconsistent = options.inconsistent ?? false;
    this.#enabled = options.enabled ?? true;
    this.#size = size;
    this.#memoryLimit = options.memoryLimit ?? MEMORY_LIMIT;
    this.#bits = new BitTree(Math.ceil(size / granularity), this.#memoryLimit);
  }

  get size(): number {
    return this.#size;
  }
  /** Where it is stored; null: nowhere (yet). */
  get storage(): BitmapStorage | null {
    return this.#storage;
  }
  set storage(storage: BitmapStorage | null) {
    this.#storage = storage;
    if (this.#successor !== undefined) this.#successor.storage = storage;
  }
  /** Records, or does so when it is not frozen any more. */
  get enabled(): boolean {
    return this.#enabled;
  }
  /** Takes part in `record()` (of a busy bitmap: its successor does). */
  get recording(): boolean {
    return this.#successor === undefined ? this.#enabled : this.#successor.recording;
  }
  /** A job or another operation uses it; a user cannot change it. */
  get busy(): boolean {
    return this.#busy || this.#successor !== undefined;
  }
  get hasSuccessor(): boolean {
    return this.#successor !== undefined;
  }
  /** Dirty bytes, counted in whole granules as QEMU does. */
  get dirtyBytes(): number {
    return this.#bits.count * this.granularity;
  }
  /** Bytes of memory that the bits take. */
  get memory(): number {
    return this.#bits.memory + (this.#successor?.memory ?? 0);
  }

  /** As `checkUsable`, and throws `read-only` where it is stored in an image that is. */
  checkChangeable(): void {
    this.checkRemovable();
    this.checkUsable();
  }

  /** Throws `busy` where an operation holds it, `read-only` where it is stored in an image that is. */
  checkRemovable(): void {
    this.checkFree();
    if (this.#storage?.readOnly !== true) return;
    throw new BlockError('read-only', `Bitmap '${this.name ?? ''}' is readonly and cannot be modified`);
  }

  /** Throws `busy` where an operation holds it, `bad-state` where its bits mean nothing. */
  checkUsable(): void {
    this.checkFree();
    if (this.inconsistent) {
      throw new BlockError('bad-state', `Bitmap '${this.name ?? ''}' is inconsistent and cannot be used`);
    }
  }

  /** Throws `busy` where an operation holds it. */
  checkFree(): void {
    if (!this.busy) return;
    throw new BlockError(
      'busy',
      `Bitmap '${this.name ?? ''}' is currently in use by another operation and cannot be used`,
    );
  }

  /** Throws `busy`, and `bad-state` when inconsistent. */
  enable(): void {
    this.checkUsable();
    this.#enabled = true;
    this.#storage?.changed(0, 0, false);
  }
  disable(): void {
    this.checkUsable();
    this.#enabled = false;
    this.#storage?.changed(0, 0, false);
  }
  /**
   * Held by an operation that needs no successor (a merge's source, an export). `toRemove`: its bits do not matter, but it must be one that can be removed.
   * Throws `busy` when it is held already, `bad-state` when inconsistent, `read-only`.
   */
  hold(toRemove = false): void {
    if (toRemove) this.checkRemovable();
    else this.checkUsable();
    this.#busy = true;
  }
  unhold(): void {
    this.#busy = false;
  }

  /** A guest (or a job) wrote here: marks it where recording is enabled. Throws `limit` and `out-of-bounds`, before the write. */
  record(offset: number, length: number): void {
    if (this.#successor !== undefined) this.#successor.record(offset, length);
    else if (this.#enabled) this.#fill(offset, length, true, 'set');
  }

  /**
   * What was recorded before, or has happened already, is marked: a job may have made it clean meanwhile. Never fails: the memory limit
   * does not hold for requests that are under way, and what the node lost of the range in the meantime is left out.
   */
  recordAgain(offset: number, length: number): void {
    if (this.#successor !== undefined) this.#successor.recordAgain(offset, length);
    else if (this.#enabled && offset < this.#size) {
      this.#fill(offset, Math.min(length, this.#size - offset), true, 'set', true);
    }
  }

  /** `record` of the range would mark something that is clean. */
  wouldRecord(offset: number, length: number): boolean {
    if (this.#successor !== undefined) return this.#successor.wouldRecord(offset, length);
    if (!this.#enabled || length === 0) return false;
    const clean = this.#bits.find(Math.floor(offset / this.granularity), false);
    return clean >= 0 && clean * this.granularity < offset + length;
  }

  /**
   * Sets in `bytes` the bits of the granules from `from` (a multiple of 32) on that are dirty, or were written while the bitmap was frozen: lowest bit first,
   * as they are stored.
   */
  bitsInto(from: number, bytes: Uint8Array): void {
    this.#bits.orInto(from, bytes);
    this.#successor?.bitsInto(from, bytes);
  }

  /** Marks whether recording is enabled or not. Throws `busy` while frozen. */
  set(offset: number, length: number): void {
    this.#checkNotFrozen();
    this.#fill(offset, length, true, 'set');
  }

  /**
   * Makes the granules clean that lie wholly in the range (the last granule of the bitmap may be cut by its end): a granule that is
   * only touched keeps its mark, since the rest of it may be dirty. Throws `busy` while frozen.
   */
  reset(offset: number, length: number): void {
    this.#checkNotFrozen();
    this.#fill(offset, length, false, 'reset');
  }

  get(offset: number): boolean {
    this.#checkRange(offset, 1, 'get');
    return this.#bits.get(Math.floor(offset / this.granularity));
  }

  /** All clean. Throws `busy`, `read-only`, and `bad-state` when inconsistent. */
  clear(): void {
    this.checkChangeable();
    this.#bits.clear();
    this.#allChanged();
  }

  /** The node has a new size: what is cut off is forgotten, new space is clean. */
  truncate(size: number): void {
    checkSize(size, 'Bitmap size');
    this.#bits.resize(Math.ceil(size / this.granularity));
    this.#size = size;
    this.#successor?.truncate(size);
    this.#allChanged();
  }

  /** Offset of the first dirty byte in [offset, end), -1 where there is none. */
  nextDirty(offset: number, end: number = this.#size): number {
    return this.#next(offset, end, true);
  }

  /** Offset of the first clean byte in [offset, end), -1 where there is none. */
  nextZero(offset: number, end: number = this.#size): number {
    return this.#next(offset, end, false);
  }

  /** The first dirty run in [offset, end), at most `maxLength` of it. */
  nextDirtyRun(
    offset: number,
    maxLength: number = Number.MAX_SAFE_INTEGER,
    end: number = this.#size,
  ): DirtyRun | undefined {
    const start = this.nextDirty(offset, end);
    if (start < 0) return undefined;
    const stop = Math.min(end, this.#size, start + maxLength);
    const zero = this.nextZero(start, stop);
    return { offset: start, length: (zero < 0 ? stop : zero) - start };
  }

  /**
   * Adds what is dirty in `source`, whatever its granularity. Throws `busy` or `bad-state` where either cannot be used,
   * `read-only` where this one is, `invalid-argument` where the sizes differ, `limit`.
   */
  merge(source: DirtyBitmap): void {
    instance(DirtyBitmap, 'DirtyBitmap')(source, 'source');
    this.checkChangeable();
    source.checkUsable();
    this.mergeBits(source);
  }

  /**
   * As `merge`, without looking at busy: for the job that holds one of the two. The frozen bits are what is read. `force`: the memory limit does not
   * hold, for bits that must not be lost.
   */
  mergeBits(source: DirtyBitmap, force = false): void {
    this.#checkNotFrozen();
    if (source.#size !== this.#size) {
      throw new BlockError(
        'invalid-argument',
        `Bitmaps are of different sizes (destination size is ${this.#size}, source size is ${source.#size}) and can't be merged`,
      );
    }
    if (source === this) return;
    if (source.granularity === this.granularity) {
      this.#bits.or(source.#bits, force);
      this.#allChanged();
      return;
    }
    for (let run = source.nextDirtyRun(0); run !== undefined; run = source.nextDirtyRun(run.offset + run.length)) {
      this.#fill(run.offset, run.length, true, 'merge', force);
    }
  }

  /** Freezes this bitmap: it is busy, and what is recorded goes to the successor. Throws `busy`, `bad-state`. */
  createSuccessor(): void {
    this.checkUsable();
    this.#successor = new DirtyBitmap({
      size: this.#size,
      granularity: this.granularity,
      enabled: this.#enabled,
      memoryLimit: this.#memoryLimit,
    });
    this.#successor.storage = this.#storage;
  }

  /** The successor's bits replace the frozen ones. Throws `bad-state` without a successor. */
  abdicate(): void {
    this.#bits = this.#takeSuccessor().#bits;
    this.#allChanged();
  }

  /** The successor's bits are added to the frozen ones; nothing can be lost, so the memory limit does not hold here. */
  reclaim(): void {
    this.#bits.or(this.#takeSuccessor().#bits, true);
    this.#allChanged();
  }

  /** Remembers the bits, and whether it records; the result puts both back as they were. Nobody writes to the node until then. */
  remember(): () => void {
    const [bits, enabled] = [this.#bits.clone(), this.#enabled];
    return () => {
      assert(bits.length === this.#bits.length, 'a bitmap that is put back has kept its size');
      this.#bits = bits;
      this.#enabled = enabled;
      this.#allChanged();
    };
  }

  /** A copy of the (frozen) bits that belongs to no node and does not record: a job works from it. */
  clone(): DirtyBitmap {
    const copy = new DirtyBitmap({
      size: this.#size,
      granularity: this.granularity,
      enabled: false,
      memoryLimit: this.#memoryLimit,
    });
    copy.#bits = this.#bits.clone();
    return copy;
  }

  #takeSuccessor(): DirtyBitmap {
    const successor = this.#successor;
    if (successor === undefined) {
      throw new BlockError('bad-state', `Bitmap '${this.name ?? ''}' has no successor`);
    }
    assert(
      successor.#size === this.#size &&
        successor.granularity === this.granularity &&
        successor.#successor === undefined,
      'a successor covers what its bitmap covers',
    );
    this.#successor = undefined;
    return successor;
  }

  #checkNotFrozen(): void {
    if (this.#successor !== undefined) this.checkUsable();
  }

  #checkRange(offset: number, length: number, operation: string): void {
    const valid = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
    if (!valid || offset > this.#size || length > this.#size - offset) {
      throw new BlockError('out-of-bounds', `Range ${offset}+${length} is beyond the bitmap's size ${this.#size}`, {
        offset,
        length,
        operation,
      });
    }
  }

  #fill(offset: number, length: number, value: boolean, operation: string, force = false): void {
    this.#checkRange(offset, length, operation);
    if (length === 0) return;
    const end = offset + length;
    const unit = this.granularity;
    const from = value ? Math.floor(offset / unit) : Math.ceil(offset / unit);
    const to = value ? Math.ceil(end / unit) : end === this.#size ? this.#bits.length : Math.floor(end / unit);
    const before = this.#bits.count;
    this.#bits.fill(from, to, value, value && force);
    if (this.#storage !== null && this.#bits.count !== before) this.#storage.changed(from, to, !value);
  }

  #allChanged(): void {
    this.#storage?.changed(0, this.#bits.length, true);
  }

  #next(offset: number, end: number, value: boolean): number {
    const stop = Math.min(end, this.#size);
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new BlockError('out-of-bounds', `Offset ${offset} cannot be searched from`, { offset, operation: 'next' });
    }
    if (offset >= stop) return -1;
    const index = this.#bits.find(Math.floor(offset / this.granularity), value);
    if (index < 0) return -1;
    const found = Math.max(index * this.granularity, offset);
    return found < stop ? found : -1;
  }
}
