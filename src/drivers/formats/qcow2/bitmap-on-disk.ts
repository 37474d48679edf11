// The bitmap directory of an open image, as it is on disk: where it lies, the flags of its entries, and the switch to another one.
//
// Flags are written in place. Where bitmaps come or go, or their tables get another length, there is a new directory elsewhere, and one write of the header
// (bitmap-extension.ts) switches to it. The clusters of what the old one alone named are freed after that.

import { viewOf } from '../../../util/bytes.js';
import type { Run } from './allocation.js';
import {
  type DirectoryPlace,
  encodeDirectory,
  encodeExtension,
  flagsOf,
  type StoredBitmap,
} from './bitmap-directory.js';
import { setBitmapsExtension } from './bitmap-extension.js';
import type { KeptBitmap } from './bitmap-kept.js';
import { offsetsIn } from './bitmap-table.js';
import { checkPlace, clustersAt } from './bitmap-write.js';
import type { LoadedBitmaps } from './bitmaps.js';
import type { Qcow2Image } from './image.js';
import { POINTER_BYTES } from './pointer-codec.js';
import { type ClusterIndex, clusterAt, type HostOffset, hostOf, NO_HOST, plus, SECTOR } from './types.js';

/** A directory's bytes, and where in these the flags of each bitmap are. */
type Encoded = ReturnType<typeof encodeDirectory>;

export class DirectoryOnDisk {
  #image: Qcow2Image;
  #kept: readonly KeptBitmap[];
  #place: DirectoryPlace | null;
  #encoded: Encoded;
  #switchPending = false;
  /** Freed when the header names this directory for certain. */
  #toFree: Run[] = [];
  /** The directory's clusters are its own: it can be changed in place, and freed. */
  #trusted = true;

  constructor(image: Qcow2Image, { directory, kept }: LoadedBitmaps) {
    this.#image = image;
    this.#place = directory;
    this.#kept = kept;
    this.#encoded = encodeDirectory(kept.map(({ stored }) => stored));
    this.#notePlace();
  }

  get image(): Qcow2Image {
    return this.#image;
  }

  /** By the order of the entries. */
  get kept(): readonly KeptBitmap[] {
    return this.#kept;
  }

  /** The header may still name the directory before this one: it must be written again before anything else is. */
  get switchPending(): boolean {
    return this.#switchPending;
  }

  /** The entries. */
  get list(): StoredBitmap[] {
    return this.#kept.map(({ stored }) => stored);
  }

  /** Space that bitmaps take in the file, for the consistency check: offsets and lengths in bytes. */
  get regions(): { offset: HostOffset; length: number }[] {
    const { geometry } = this.#image;
    const { clusterSize } = geometry;
    const regions: { offset: HostOffset; length: number }[] = [];
    if (this.#place !== null) regions.push(this.#place);
    for (const { stored, places, dropped, spare } of this.#kept) {
      const { tableOffset: offset, tableEntries } = stored;
      if (tableEntries > 0) regions.push({ offset, length: tableEntries * POINTER_BYTES });
      for (const offset of [...offsetsIn(places), ...dropped]) regions.push({ offset, length: clusterSize });
      for (const cluster of spare.values()) regions.push({ offset: hostOf(cluster, geometry), length: clusterSize });
    }
    return regions;
  }

  /** The same file has been opened as another image, since its header has changed. */
  moveTo(image: Qcow2Image): void {
    this.#image = image;
    this.#notePlace();
  }

  #notePlace(): void {
    this.#image.noteBitmapDirectory(this.#place?.offset ?? NO_HOST, this.#place?.length ?? 0);
  }

  /** See `BitmapStore.verify`. */
  async verify(): Promise<void> {
    const { geometry } = this.#image;
    const seen = new Set<ClusterIndex>();
    if (this.#place !== null) {
      const { offset, length } = this.#place;
      this.#trusted = await this.#isOwn([clustersAt(this.#image, offset, length)], seen);
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

  // ---- flags --------------------------------------------------------------------------------------------------

  /** Sets the flag `in_use` of these bitmaps, and flushes. */
  async mark(list: readonly KeptBitmap[]): Promise<void> {
    if (list.length === 0) return;
    for (const kept of list) kept.stored = { ...kept.stored, inUse: true };
    await this.writeFlags(list);
    for (const kept of list) kept.marked = true;
  }

  /** Writes the flags of these bitmaps as their entries say, in place, and flushes. */
  async writeFlags(list: readonly KeptBitmap[]): Promise<void> {
    const image = this.#image;
    if (this.#place === null) return;
    const { offset, length } = this.#place;
    if (!this.#trusted) throw await image.corrupt(`Bitmap directory at offset ${offset} is not its own`, offset);
    await checkPlace(image, offset, length, 'bitmap-directory');
    const { bytes, flagsAt } = this.#encoded;
    const sectors = new Set<number>();
    const view = viewOf(bytes);
    for (const kept of list) {
      const at = flagsAt[this.#kept.indexOf(kept)];
      view.setUint32(at, flagsOf(kept.stored));
      sectors.add(Math.floor(at / SECTOR));
      kept.unsure = true;
    }
    await image.file.ensureLength(offset + length);
    for (const sector of sectors) {
      await image.file.write(offset + sector * SECTOR, bytes.slice(sector * SECTOR, (sector + 1) * SECTOR));
    }
    await image.file.flush();
    for (const kept of list) kept.unsure = false;
  }

  // ---- another directory --------------------------------------------------------------------------------------

  /** From now on, the directory has these entries; it is not on disk yet, see `switchTo`. */
  setKept(kept: readonly KeptBitmap[]): void {
    this.#kept = kept;
  }

  /** Lets the header name the directory at `offset`, whose bytes are on disk there. Where that fails, see `settle`. */
  async switchTo(offset: HostOffset, encoded: Encoded): Promise<void> {
    const old = this.#place;
    if (old !== null && this.#trusted) this.#toFree.push(clustersAt(this.#image, old.offset, old.length));
    const { length } = encoded.bytes;
    this.#place = length === 0 ? null : { offset, length };
    this.#encoded = encoded;
    this.#trusted = true;
    this.#notePlace();
    await this.#switch();
  }

  /** Where the last switch failed, does it again: until then it is not known which directory the header names, so that no bitmap is known to be marked. */
  async settle(): Promise<void> {
    if (this.#switchPending) await this.#switch();
  }

  async #switch(): Promise<void> {
    const image = this.#image;
    const data = this.#place === null ? null : encodeExtension(this.#kept.length, this.#place);
    this.#switchPending = true;
    for (const kept of this.#kept) kept.unsure = true;
    await image.committer.exclusive(() => setBitmapsExtension(image, data));
    this.#switchPending = false;
    for (const kept of this.#kept) kept.unsure = false;
    this.free();
  }

  // ---- what is freed ------------------------------------------------------------------------------------------

  /** Frees what no table or directory on disk refers to any more, as soon as the header names this directory for certain. */
  free(): void {
    if (this.#switchPending) return;
    for (const { cluster, count } of this.#toFree.splice(0)) this.#image.frees.add(cluster, count, false);
  }

  /** To be freed by `free`: what the entries of the table of `kept` pointed to before. */
  drop(kept: KeptBitmap): void {
    this.#toFree.push(...this.#droppedBy(kept));
  }

  /** The same of a table. */
  dropTable(stored: StoredBitmap): void {
    if (stored.tableEntries > 0) this.#toFree.push(this.#tableOf(stored));
  }

  /** The same of everything of a bitmap that is gone; of nothing where its clusters may be somebody else's as well. */
  dropAll(kept: KeptBitmap): void {
    if (!kept.trusted) return;
    const bits = offsetsIn(kept.places).map((offset) => clustersAt(this.#image, offset, 1));
    const spare = [...kept.spare.values()].map((cluster) => ({ cluster, count: 1 }));
    this.dropTable(kept.stored);
    this.#toFree.push(...bits, ...spare, ...this.#droppedBy(kept));
  }

  #droppedBy(kept: KeptBitmap): Run[] {
    return kept.dropped.splice(0).map((offset) => ({ cluster: clusterAt(offset, this.#image.geometry), count: 1 }));
  }

  #tableOf({ tableOffset, tableEntries }: StoredBitmap): Run {
    return clustersAt(this.#image, tableOffset, tableEntries * POINTER_BYTES);
  }
}
