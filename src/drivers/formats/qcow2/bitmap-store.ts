// Keeps an image's bitmaps on disk. What is on disk is, at any instant, right, or marked as out of date (flag `in_use`):
//
//   guest's write --> would a bit become dirty that is clean on disk? --yes--> flag on disk, flush --> write
//                                    | no: the write goes on at once
//
//   store   bits, in place or in new clusters  |  commit: refcounts, and the flush also of the guest's data
//           table entries                      |  flush, where there were any
//           the flag is taken away             |  flush
//
// bitmap-marks.ts sets the flags, bitmap-on-disk.ts knows the directory and the switch to another one; here is the store.
//
// A store happens at a guest's flush, at close, before the image becomes read-only, and when bitmaps are added or removed. Bits and table entries are written in
// place: as long as the flag is there, nobody reads them. Only where bitmaps come or go, or their tables get another length, is there a new directory: it, and the
// tables that are new, are written to new clusters, and one write of the header (bitmap-extension.ts) switches to it. The clusters of the old ones are freed
// after that.
//
// What changes while a store is under way leaves its bitmap marked, for the next store. Only for the last step do such changes wait.
//
// Flushes are not to become much slower: after a store that took some time, flushes do without one for seven times as long. The bitmaps are marked meanwhile.

import type { DirtyBitmap } from '../../../block/bitmap.js';
import type { BitmapGuard } from '../../../block/node/changes.js';
import type { Extent } from '../../../block/types.js';
import { reportUnforeseen } from '../../../util/best-effort.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { Serial } from '../../../util/serial.js';
import { reasonInWords } from '../../../util/system-words.js';
import type { Run } from './allocation.js';
import { encodeDirectory, type StoredBitmap } from './bitmap-directory.js';
import { type BitmapHome, KeptBitmap } from './bitmap-kept.js';
import { isStorable } from './bitmap-limits.js';
import { BitmapMarks } from './bitmap-marks.js';
import { DirectoryOnDisk } from './bitmap-on-disk.js';
import { offsetsIn } from './bitmap-table.js';
import { allocatePlace, tableBytes, writeBits, writePlace, writeTableEntries } from './bitmap-write.js';
import type { LoadedBitmaps } from './bitmaps.js';
import type { Qcow2Image } from './image.js';
import { POINTER_BYTES } from './pointer-codec.js';
import { clusterAt, type HostOffset } from './types.js';

/** A flush stores bitmaps where the last store is this many times its duration ago. */
const REST_FACTOR = 7;

/** What a store that makes a new directory has to do. */
interface Sorted {
  /** Nobody has these any more. */
  gone: readonly KeptBitmap[];
  /** These differ from what is on disk. */
  own: readonly KeptBitmap[];
  /** Those of `own` that are not on disk. */
  fresh: readonly KeptBitmap[];
  /** Those of `own` that need a new table. */
  moved: readonly KeptBitmap[];
}

/** The node whose bitmaps are kept. */
export interface BitmapOwner extends BitmapHome {
  readonly bitmaps: ReadonlyMap<string, DirtyBitmap>;
  /** Who is asked before writes mark bitmaps; null: nobody. */
  guardedBy(guard: BitmapGuard | null): void;
}

export class BitmapStore implements BitmapGuard {
  readonly #owner: BitmapOwner;
  readonly #disk: DirectoryOnDisk;
  readonly #marks: BitmapMarks;
  /** Marks and stores: one after the other. */
  readonly #work = new Serial();
  /** A store that has not begun. */
  #next: Promise<void> | null = null;
  /** Changes of the disk's size that are under way: no bitmap is right meanwhile. */
  #resizes = 0;
  #endedAt = Number.NEGATIVE_INFINITY;
  #tookMs = 0;

  constructor(image: Qcow2Image, owner: BitmapOwner, loaded: LoadedBitmaps) {
    this.#owner = owner;
    this.#disk = new DirectoryOnDisk(image, loaded);
    this.#marks = new BitmapMarks(this.#disk, owner.bitmaps);
    this.#setGuard();
  }

  /** The entries of the directory on disk. */
  get list(): StoredBitmap[] {
    return this.#disk.list;
  }

  /** Space that bitmaps take in the file, for the consistency check: offsets and lengths in bytes. */
  get regions(): { offset: HostOffset; length: number }[] {
    return this.#disk.regions;
  }

  /** Some are to be stored that the directory does not have. */
  get hasNew(): boolean {
    return this.#fresh().length > 0;
  }

  /** The same file has been opened as another image, since its header has changed. */
  moveTo(image: Qcow2Image): void {
    this.#disk.moveTo(image);
  }

  /**
   * Before the first change of the image: bitmaps whose clusters are counted as free, or are used for something else as well, are inconsistent from now on, and
   * nothing of them is written or freed. Rejects with `io`, `corrupt-image`.
   */
  verify(): Promise<void> {
    return this.#disk.verify();
  }

  /** What is on disk. */
  get onDisk(): DirectoryOnDisk {
    return this.#disk;
  }

  /** Runs `action` while nothing of the bitmaps is being written. `action` must not store any. */
  quiet<T>(action: () => Promise<T>): Promise<T> {
    return this.#work.run(action);
  }

  get #image(): Qcow2Image {
    return this.#disk.image;
  }

  get #kept(): readonly KeptBitmap[] {
    return this.#disk.kept;
  }

  #setKept(kept: readonly KeptBitmap[]): void {
    this.#disk.setKept(kept);
    this.#setGuard();
  }

  #setGuard(): void {
    this.#owner.guardedBy(this.#kept.length > 0 ? this : null);
  }

  mustPrepare(offset: number, length: number): boolean {
    return this.#marks.mustPrepare(offset, length);
  }

  prepare(extents: readonly Extent[]): Promise<void> {
    return this.#work.run(() => this.#marks.prepare(extents));
  }

  /**
   * Throws `busy`, `bad-state` for one that is inconsistent, and `limit` for one whose bits would be too many, where a bitmap cannot follow a change of the disk's
   * size to `size`.
   */
  checkResizable(size: number): void {
    for (const { bitmap } of this.#kept) {
      bitmap.checkUsable();
      if (size <= bitmap.size || isStorable(size, bitmap.granularity)) continue;
      const message = `Bitmap '${bitmap.name}' would be too large to be stored for a disk of ${size} bytes`;
      throw this.#image.error('limit', message, 'resize');
    }
  }

  /**
   * Runs `resize`, which changes the size of the disk, or all of its content: tables and bits are of the old disk until the next store. Rejects as `resize`, and with `io`,
   * `no-space`, `corrupt-image`.
   */
  async resizing(resize: () => Promise<void>): Promise<void> {
    this.#resizes++;
    try {
      await this.#work.run(() => this.#marks.prepareAll());
      await resize();
    } finally {
      this.#resizes--;
    }
  }

  /**
   * A guest's flush: makes everything durable, and stores what has changed, unless that was done a moment ago. That bitmaps cannot be stored does not fail the
   * flush, as they are marked: whoever closes the image gets that error.
   */
  async flush(): Promise<void> {
    if (!this.#wantsStore() || (this.#mayWait() && !this.#isDue())) return this.#image.commit();
    try {
      await this.store();
    } catch (error) {
      reportUnforeseen('storing bitmaps', error);
      await this.#image.commit();
    }
  }

  #wantsStore(): boolean {
    if (this.#kept.some((kept) => kept.differs || this.#marks.isGone(kept))) return true;
    return this.#fresh().length > 0;
  }

  /** All that differs is marked on disk. */
  #mayWait(): boolean {
    return (
      this.#fresh().length === 0 &&
      this.#kept.every((kept) => kept.marked || !(kept.differs || this.#marks.isGone(kept)))
    );
  }

  #isDue(): boolean {
    return this.#image.host.clock.now() - this.#endedAt >= REST_FACTOR * this.#tookMs;
  }

  /** Commits, and stores everything that differs. Callers that come before it has begun share it. Rejects with `no-space`, `io`, `limit`, `corrupt-image`. */
  store(): Promise<void> {
    this.#next ??= this.#work.run(async () => {
      this.#next = null;
      const { clock } = this.#image.host;
      const started = clock.now();
      try {
        await this.#store();
      } finally {
        this.#endedAt = clock.now();
        this.#tookMs = this.#endedAt - started;
      }
    });
    return this.#next;
  }

  /** The image is about to be closed, or to become read-only; a commit has to follow. Rejects as `store`, and says that the bitmaps are lost. */
  async finish(): Promise<void> {
    if (this.#wantsStore()) await this.#storeLast();
    for (const kept of this.#kept) this.#releaseSpare(kept);
    // What was freed is counted down by this commit, and on disk by the caller's.
    await this.#image.commit();
  }

  async #storeLast(): Promise<void> {
    try {
      await this.store();
    } catch (cause) {
      const error = toBlockError(cause);
      const { code, errno, offset } = error;
      const named = (list: readonly DirtyBitmap[]): string => list.map(({ name }) => `'${name}'`).join(', ');
      const stale = this.#kept.filter(({ differs }) => differs).map(({ bitmap }) => bitmap);
      const fresh = this.#fresh();
      const parts: string[] = [];
      if (fresh.length > 0) parts.push(`Could not store the new persistent bitmaps ${named(fresh)}`);
      if (stale.length > 0) {
        parts.push(`Lost persistent bitmaps ${named(stale)}: they could not be stored, and stay marked as in use`);
      }
      if (parts.length === 0) parts.push('Could not remove persistent bitmaps');
      const message = `${parts.join('; ')}: ${reasonInWords(error)}`;
      throw BlockError.at(this.#image.file.path, code, message, { operation: 'close', errno, offset, cause });
    }
  }

  /** Bitmaps that are to be stored, and never were. */
  #fresh(): DirtyBitmap[] {
    const known = new Set(this.#kept.map(({ bitmap }) => bitmap));
    return [...this.#owner.bitmaps.values()].filter((one) => one.persistent && !one.inconsistent && !known.has(one));
  }

  async #store(): Promise<void> {
    const image = this.#image;
    image.checkUsable();
    await this.#disk.settle();
    const gone = this.#kept.filter((kept) => this.#marks.isGone(kept));
    const changed = this.#kept.filter((kept) => kept.differs && !gone.includes(kept));
    const fresh = this.#fresh().map((bitmap) => KeptBitmap.fresh(this.#owner, bitmap));
    if (gone.length + changed.length + fresh.length === 0) return image.commit();
    if (fresh.length > 0 && image.geometry.version === 2) {
      throw image.error('unsupported', 'Cannot store dirty bitmaps in qcow2 v2 files', 'store bitmaps');
    }
    await this.#disk.mark(changed.filter(({ marked }) => !marked));
    const own = [...changed, ...fresh];
    const moved = own.filter((kept) => kept.fitTable() || fresh.includes(kept));
    for (const kept of fresh) kept.bitmap.storage = kept;
    /** Given back after a failure, as long as nothing can have come to point to them. */
    const runs: Run[] = [];
    try {
      for (const kept of own) await writeBits(image, kept);
      if (moved.length + gone.length === 0) await this.#storeInPlace(own);
      else await this.#storeAnew({ gone, own, fresh, moved }, runs);
    } catch (error) {
      for (const { cluster, count } of runs) image.allocation.release(cluster, count);
      for (const kept of fresh) if (!this.#kept.includes(kept)) this.#forget(kept);
      throw error;
    }
  }

  /** `kept` is as if it had never been stored. */
  #forget(kept: KeptBitmap): void {
    const { geometry, allocation } = this.#image;
    kept.bitmap.storage = null;
    this.#releaseSpare(kept);
    for (const offset of [...offsetsIn(kept.places), ...kept.dropped]) {
      allocation.release(clusterAt(offset, geometry), 1);
    }
  }

  #releaseSpare({ spare }: KeptBitmap): void {
    for (const cluster of spare.values()) this.#image.allocation.release(cluster, 1);
    spare.clear();
  }

  /** Whether the flag may be taken from `kept`. */
  #isReady(kept: KeptBitmap): boolean {
    return this.#resizes === 0 && kept.isWritten(this.#image.header.size);
  }

  async #storeInPlace(own: readonly KeptBitmap[]): Promise<void> {
    const image = this.#image;
    await image.commit();
    const tables = own.filter(({ tableDirty }) => tableDirty.size > 0);
    for (const kept of tables) await writeTableEntries(image, kept);
    if (tables.length > 0) await image.file.flush();
    for (const kept of tables) kept.tableDirty.clear();
    for (const kept of own) this.#disk.drop(kept);
    this.#disk.free();
    // From here to the end, what would change one of these must wait.
    const closing = own.filter((kept) => this.#isReady(kept));
    if (closing.length === 0) return;
    for (const kept of closing) {
      kept.closing = true;
      kept.stored = { ...kept.stored, inUse: false, auto: kept.bitmap.enabled };
    }
    try {
      await this.#disk.writeFlags(closing);
    } finally {
      for (const kept of closing) {
        kept.closing = false;
        // Also where the write failed: the flag may be gone.
        kept.marked = false;
      }
    }
  }

  /** Stores with a new directory, and new tables for `moved`. `runs` has what was allocated for these, as long as nothing can have come to point to it. */
  async #storeAnew({ gone, own, fresh, moved }: Sorted, runs: Run[]): Promise<void> {
    const image = this.#image;
    const before = this.#kept;
    const all = [...before.filter((kept) => !gone.includes(kept)), ...fresh];
    const tables = new Map<KeptBitmap, HostOffset>();
    for (const kept of moved) {
      tables.set(kept, await allocatePlace(image, kept.places.length * POINTER_BYTES, runs));
    }
    const { length } = encodeDirectory(all.map(({ stored }) => stored)).bytes;
    const offset = await allocatePlace(image, length, runs);
    await image.commit();
    for (const [kept, place] of tables) await writePlace(image, place, tableBytes(kept, 0, kept.places.length));
    for (const kept of own) if (!tables.has(kept)) await writeTableEntries(image, kept);
    // From here to the end, what would change one of these must wait.
    for (const kept of own) kept.closing = this.#isReady(kept);
    const olds = new Map(all.map((kept) => [kept, kept.stored]));
    for (const kept of own) {
      const { stored, closing, bitmap, places } = kept;
      const tableOffset = tables.get(kept) ?? stored.tableOffset;
      kept.stored = { ...stored, inUse: !closing, auto: bitmap.enabled, tableOffset, tableEntries: places.length };
    }
    this.#setKept(all);
    const encoded = encodeDirectory(this.list);
    try {
      await writePlace(image, offset, encoded.bytes);
      await image.file.flush();
    } catch (error) {
      // The header names the old directory.
      for (const [kept, stored] of olds) kept.stored = stored;
      for (const kept of own) kept.closing = false;
      this.#setKept(before);
      throw error;
    }
    runs.length = 0;
    for (const kept of own) {
      kept.tableDirty.clear();
      this.#disk.drop(kept);
      if (tables.has(kept)) this.#disk.dropTable(olds.get(kept)!);
    }
    for (const kept of gone) this.#disk.dropAll(kept);
    try {
      await this.#disk.switchTo(offset, encoded);
    } finally {
      for (const kept of own) {
        kept.closing = false;
        kept.marked = kept.stored.inUse && !this.#disk.switchPending;
      }
    }
  }
}
