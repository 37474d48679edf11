// Keeps an image's bitmaps on disk. What is on disk is, at any instant, right, or marked as out of date (flag `in_use`):
//
//   guest's write --> would a bit become dirty that is clean on disk? --yes--> flag on disk, flush --> write
//                                    | no: the write goes on at once
//
//   store   bits, in place or in new clusters  |  commit: refcounts, and the flush also of the guest's data
//           table entries                      |  flush, where there were any
//           the flag is taken away             |  flush
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
import { viewOf } from '../../../util/bytes.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { Serial } from '../../../util/serial.js';
import type { Run } from './allocation.js';
import {
  type DirectoryPlace,
  encodeDirectory,
  encodeExtension,
  flagsOf,
  type StoredBitmap,
} from './bitmap-directory.js';
import { setBitmapsExtension } from './bitmap-extension.js';
import { type BitmapHome, KeptBitmap } from './bitmap-kept.js';
import { offsetsIn } from './bitmap-table.js';
import {
  allocateBits,
  allocatePlace,
  checkPlace,
  clustersAt,
  tableBytes,
  writeBits,
  writePlace,
  writeTableEntries,
} from './bitmap-write.js';
import type { LoadedBitmaps } from './bitmaps.js';
import type { Qcow2Image } from './image.js';
import { POINTER_BYTES } from './pointer-codec.js';
import { type ClusterIndex, clusterAt, type HostOffset, hostOf, NO_HOST, plus, SECTOR } from './types.js';

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
  #image: Qcow2Image;
  readonly #owner: BitmapOwner;
  /** Marks and stores: one after the other. */
  readonly #work = new Serial();
  /** A store that has not begun. */
  #next: Promise<void> | null = null;
  #kept: KeptBitmap[];
  /** The directory on disk: where it is, its bytes, and where in these the flags of each bitmap are. */
  #directory: DirectoryPlace | null;
  #bytes: Uint8Array;
  #flagsAt: number[];
  /** The header may still name the directory before this one: it must be written again before anything else is. */
  #switchPending = false;
  /** Freed when the header names this directory for certain. */
  #toFree: Run[] = [];
  /** The directory's clusters are its own: it can be changed in place, and freed. */
  #directoryTrusted = true;
  /** Changes of the disk's size that are under way: no bitmap is right meanwhile. */
  #resizes = 0;
  #endedAt = Number.NEGATIVE_INFINITY;
  #tookMs = 0;

  constructor(image: Qcow2Image, owner: BitmapOwner, { directory, kept }: LoadedBitmaps) {
    this.#image = image;
    this.#owner = owner;
    this.#directory = directory;
    image.noteBitmapDirectory(directory?.offset ?? NO_HOST, directory?.length ?? 0);
    this.#kept = kept;
    const { bytes, flagsAt } = encodeDirectory(kept.map(({ stored }) => stored));
    this.#bytes = bytes;
    this.#flagsAt = flagsAt;
    this.#setGuard();
  }

  /** The entries of the directory on disk. */
  get list(): StoredBitmap[] {
    return this.#kept.map(({ stored }) => stored);
  }

  /** Space that bitmaps take in the file, for the consistency check: offsets and lengths in bytes. */
  get regions(): { offset: HostOffset; length: number }[] {
    const { geometry } = this.#image;
    const { clusterSize } = geometry;
    const regions: { offset: HostOffset; length: number }[] = [];
    if (this.#directory !== null) regions.push(this.#directory);
    for (const { stored, places, dropped, spare } of this.#kept) {
      const { tableOffset: offset, tableEntries } = stored;
      if (tableEntries > 0) regions.push({ offset, length: tableEntries * POINTER_BYTES });
      for (const offset of [...offsetsIn(places), ...dropped]) regions.push({ offset, length: clusterSize });
      for (const cluster of spare.values()) regions.push({ offset: hostOf(cluster, geometry), length: clusterSize });
    }
    return regions;
  }

  /** Some are to be stored that the directory does not have. */
  get hasNew(): boolean {
    return this.#fresh().length > 0;
  }

  /** The same file has been opened as another image, since its header has changed. */
  moveTo(image: Qcow2Image): void {
    this.#image = image;
    image.noteBitmapDirectory(this.#directory?.offset ?? NO_HOST, this.#directory?.length ?? 0);
  }

  /**
   * Before the first change of the image: bitmaps whose clusters are counted as free, or are used for something else as well, are inconsistent from now on, and
   * nothing of them is written or freed. Rejects with `io`, `corrupt-image`.
   */
  async verify(): Promise<void> {
    const { geometry } = this.#image;
    const seen = new Set<ClusterIndex>();
    if (this.#directory !== null) {
      const { offset, length } = this.#directory;
      this.#directoryTrusted = await this.#isOwn([clustersAt(this.#image, offset, length)], seen);
    }
    for (const kept of this.#kept) {
      const bits = offsetsIn(kept.places).map((offset) => ({ cluster: clusterAt(offset, geometry), count: 1 }));
      const table = kept.stored.tableEntries > 0 ? [this.#tableOf(kept.stored)] : [];
      kept.trusted = await this.#isOwn([...table, ...bits], seen);
      if (!kept.trusted) kept.bitmap.inconsistent = true;
    }
  }

  /** The clusters have a reference, are no other metadata, and were not `seen` before. */
  async #isOwn(runs: readonly Run[], seen: Set<ClusterIndex>): Promise<boolean> {
    const { refcounts, file, geometry, metadata } = this.#image;
    let own = true;
    for (const { cluster, count } of runs) {
      const [start, end] = [hostOf(cluster, geometry), hostOf(plus(cluster, count), geometry)];
      if (start === 0 || start >= file.length || metadata.overlap(start, end, 'bitmap-directory') !== null)
        return false;
      for (let at = cluster; own && at < cluster + count; at = plus(at, 1)) {
        own = !seen.has(at) && (await refcounts.get(at)) > 0;
        seen.add(at);
      }
    }
    return own;
  }

  #setGuard(): void {
    this.#owner.guardedBy(this.#kept.length > 0 ? this : null);
  }

  // ---- marks --------------------------------------------------------------------------------------------------

  mustPrepare(offset: number, length: number): boolean {
    if (this.#switchPending) return true;
    for (const kept of this.#kept) {
      if (kept.needsMark(offset, length) || (this.#isGone(kept) && !kept.marked)) return true;
      if (kept.entryWithoutRoom(offset, length) >= 0) return true;
    }
    return false;
  }

  prepare(extents: readonly Extent[]): Promise<void> {
    return this.#work.run(async () => {
      if (this.#switchPending) await this.#switch();
      const isConcerned = (kept: KeptBitmap): boolean =>
        (this.#isGone(kept) && !kept.marked) || extents.some(({ offset, length }) => kept.needsMark(offset, length));
      for (const { offset, length } of extents) await this.#reserve(offset, length);
      await this.#mark(this.#kept.filter(isConcerned));
    });
  }

  /** Throws `busy`, and `bad-state` for one that is inconsistent, where a bitmap cannot follow a change of the disk's size. */
  checkResizable(): void {
    for (const { bitmap } of this.#kept) bitmap.checkUsable();
  }

  /**
   * Runs `resize`, which changes the size of the disk, or all of its content: tables and bits are of the old disk until the next store. Rejects as `resize`, and with `io`,
   * `no-space`, `corrupt-image`.
   */
  async resizing(resize: () => Promise<void>): Promise<void> {
    this.#resizes++;
    try {
      await this.#work.run(async () => {
        if (this.#switchPending) await this.#switch();
        await this.#mark(this.#kept.filter((kept) => (kept.usable || kept.stored.auto) && !kept.marked));
      });
      await resize();
    } finally {
      this.#resizes--;
    }
  }

  #isGone({ bitmap }: KeptBitmap): boolean {
    return this.#owner.bitmaps.get(bitmap.name ?? '') !== bitmap;
  }

  /** Allocates clusters for the bits of a range that will be written, as far as there is space: a store should not fail for lack of it. */
  async #reserve(offset: number, length: number): Promise<void> {
    const image = this.#image;
    for (const kept of this.#kept) {
      for (let entry = kept.entryWithoutRoom(offset, length); entry >= 0; ) {
        try {
          const host = await allocateBits(image, kept, entry);
          await image.file.reserve(host, image.geometry.clusterSize);
        } catch (error) {
          reportUnforeseen('space for bitmaps', error);
          kept.noRoom = true;
        }
        entry = kept.entryWithoutRoom(offset, length);
      }
    }
  }

  /** Sets the flag of these bitmaps on disk, and flushes. */
  async #mark(list: readonly KeptBitmap[]): Promise<void> {
    if (list.length === 0) return;
    for (const kept of list) kept.stored = { ...kept.stored, inUse: true };
    await this.#writeFlags(list);
    for (const kept of list) kept.marked = true;
  }

  /** Writes the flags of these bitmaps as their entries say, in place, and flushes. */
  async #writeFlags(list: readonly KeptBitmap[]): Promise<void> {
    const image = this.#image;
    if (this.#directory === null) return;
    const { offset, length } = this.#directory;
    if (!this.#directoryTrusted)
      throw await image.corrupt(`Bitmap directory at offset ${offset} is not its own`, offset);
    await checkPlace(image, offset, length, 'bitmap-directory');
    const sectors = new Set<number>();
    const view = viewOf(this.#bytes);
    for (const kept of list) {
      const at = this.#flagsAt[this.#kept.indexOf(kept)];
      view.setUint32(at, flagsOf(kept.stored));
      sectors.add(Math.floor(at / SECTOR));
      kept.unsure = true;
    }
    await image.file.ensureLength(offset + length);
    for (const sector of sectors) {
      await image.file.write(offset + sector * SECTOR, this.#bytes.slice(sector * SECTOR, (sector + 1) * SECTOR));
    }
    await image.file.flush();
    for (const kept of list) kept.unsure = false;
  }

  // ---- storing ------------------------------------------------------------------------------------------------

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
    if (this.#kept.some((kept) => kept.differs || this.#isGone(kept))) return true;
    return this.#fresh().length > 0;
  }

  /** All that differs is marked on disk. */
  #mayWait(): boolean {
    return (
      this.#fresh().length === 0 && this.#kept.every((kept) => kept.marked || !(kept.differs || this.#isGone(kept)))
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
      const { code, errno, reason, offset } = toBlockError(cause);
      const names = this.#kept.filter(({ differs }) => differs).map(({ bitmap }) => `'${bitmap.name}'`);
      const which = names.length > 0 ? `persistent bitmaps ${names.join(', ')}` : 'persistent bitmaps';
      const message = `Lost ${which}: they could not be stored, and stay marked as in use: ${reason}`;
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
    if (this.#switchPending) await this.#switch();
    const gone = this.#kept.filter((kept) => this.#isGone(kept));
    const changed = this.#kept.filter((kept) => kept.differs && !gone.includes(kept));
    const fresh = this.#fresh().map((bitmap) => KeptBitmap.fresh(this.#owner, bitmap));
    if (gone.length + changed.length + fresh.length === 0) return image.commit();
    if (fresh.length > 0 && image.geometry.version === 2) {
      throw image.error('unsupported', 'Cannot store dirty bitmaps in qcow2 v2 files', 'store bitmaps');
    }
    await this.#mark(changed.filter(({ marked }) => !marked));
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
    for (const kept of own) this.#toFree.push(...this.#droppedBy(kept));
    this.#free();
    // From here to the end, what would change one of these must wait.
    const closing = own.filter((kept) => this.#isReady(kept));
    if (closing.length === 0) return;
    for (const kept of closing) {
      kept.closing = true;
      kept.stored = { ...kept.stored, inUse: false, auto: kept.bitmap.enabled };
    }
    try {
      await this.#writeFlags(closing);
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
    const { bytes, flagsAt } = encodeDirectory(this.list);
    try {
      await writePlace(image, offset, bytes);
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
      this.#toFree.push(...this.#droppedBy(kept));
      const old = olds.get(kept)!;
      if (tables.has(kept) && old.tableEntries > 0) this.#toFree.push(this.#tableOf(old));
    }
    for (const kept of gone) this.#toFree.push(...this.#allOf(kept));
    if (this.#directory !== null && this.#directoryTrusted) {
      this.#toFree.push(clustersAt(image, this.#directory.offset, this.#directory.length));
    }
    this.#directory = all.length === 0 ? null : { offset, length };
    image.noteBitmapDirectory(offset, length);
    this.#directoryTrusted = true;
    this.#bytes = bytes;
    this.#flagsAt = flagsAt;
    try {
      await this.#switch();
    } finally {
      for (const kept of own) {
        kept.closing = false;
        kept.marked = kept.stored.inUse && !this.#switchPending;
      }
    }
  }

  #setKept(kept: KeptBitmap[]): void {
    this.#kept = kept;
    this.#setGuard();
  }

  /** Lets the header name the directory. Where that fails, it is not known which one it names: then no bitmap is known to be marked. */
  async #switch(): Promise<void> {
    const image = this.#image;
    const data = this.#directory === null ? null : encodeExtension(this.#kept.length, this.#directory);
    this.#switchPending = true;
    for (const kept of this.#kept) kept.unsure = true;
    await image.committer.exclusive(() => setBitmapsExtension(image, data));
    this.#switchPending = false;
    for (const kept of this.#kept) kept.unsure = false;
    this.#free();
  }

  /** Frees what no table or directory on disk refers to any more. */
  #free(): void {
    if (this.#switchPending) return;
    for (const { cluster, count } of this.#toFree.splice(0)) this.#image.frees.add(cluster, count, false);
  }

  #droppedBy(kept: KeptBitmap): Run[] {
    return kept.dropped.splice(0).map((offset) => ({ cluster: clusterAt(offset, this.#image.geometry), count: 1 }));
  }

  #tableOf({ tableOffset, tableEntries }: StoredBitmap): Run {
    return clustersAt(this.#image, tableOffset, tableEntries * POINTER_BYTES);
  }

  /** All clusters of a bitmap that is gone; none where they may be somebody else's as well. */
  #allOf(kept: KeptBitmap): Run[] {
    if (!kept.trusted) return [];
    const bits = offsetsIn(kept.places).map((offset) => clustersAt(this.#image, offset, 1));
    const spare = [...kept.spare.values()].map((cluster) => ({ cluster, count: 1 }));
    const table = kept.stored.tableEntries > 0 ? [this.#tableOf(kept.stored)] : [];
    return [...table, ...bits, ...spare, ...this.#droppedBy(kept)];
  }
}
