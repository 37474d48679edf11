// The bitmap directory of an open image, as it is on disk: where it lies, the flags of its entries, and the switch to another one.
//
// Flags are written in place. Where bitmaps come or go, or their tables get another length, there is a new directory elsewhere, and one write of the header
// (bitmap-extension.ts) switches to it. The clusters of what the old one alone named are freed after that.

import { putViewBe64, viewOf } from '../../../util/bytes.js';
import type { Run } from './allocation.js';
import {
  type DirectoryPlace,
  encodeDirectory,
  encodeExtension,
  FLAGS_AT,
  flagsOf,
  type StoredBitmap,
} from './bitmap-directory.js';
import { setBitmapsExtension } from './bitmap-extension.js';
import type { KeptBitmap } from './bitmap-kept.js';
import { encodePlaces, offsetsIn } from './bitmap-table.js';
import { checkPlace, clustersAt } from './bitmap-write.js';
import type { LoadedBitmaps } from './bitmaps.js';
import type { Qcow2Image } from './image.js';
import { POINTER_BYTES } from './pointer-codec.js';
import { patchSector } from './sector-patch.js';
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
    for (const { cluster, count } of this.#toFree) {
      regions.push({ offset: hostOf(cluster, geometry), length: count * clusterSize });
    }
    for (const kept of this.#kept) {
      regions.push(...regionsOf(kept, clusterSize));
      for (const offset of kept.dropped) regions.push({ offset, length: clusterSize });
      for (const cluster of kept.spare.values()) {
        regions.push({ offset: hostOf(cluster, geometry), length: clusterSize });
      }
    }
    return regions;
  }

  /** The directory's clusters are its own: flags can be written there. */
  get trusted(): boolean {
    return this.#trusted;
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
    const indexes = new Map(this.#kept.map((kept, index) => [kept, index]));
    for (const kept of list) {
      const at = flagsAt[indexes.get(kept)!];
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

  // ---- moving -------------------------------------------------------------------------------------------------

  /** Where bits lie that can be moved (compact.ts). */
  get bits(): HostOffset[] {
    if (this.#switchPending) return [];
    return this.#kept.flatMap(({ trusted, places, tableDirty }) =>
      trusted ? offsetsIn(places.filter((_, entry) => !tableDirty.has(entry))) : [],
    );
  }

  /** The table entry of `kept` that points to these bits, on disk as in memory; -1: none. */
  #entryOf({ trusted, places, tableDirty }: KeptBitmap, host: HostOffset): number {
    const entry = trusted && !this.#switchPending ? places.indexOf(host) : -1;
    return tableDirty.has(entry) ? -1 : entry;
  }

  holdsBits(host: HostOffset): boolean {
    return this.#kept.some((kept) => this.#entryOf(kept, host) >= 0);
  }

  /** Points to bits that were copied from `from` to `to`. A commit of the caller makes that durable. */
  async moveBits(from: HostOffset, to: HostOffset): Promise<void> {
    for (const kept of this.#kept) {
      const entry = this.#entryOf(kept, from);
      if (entry < 0) continue;
      kept.places[entry] = to;
      // Written again by the next store, which must not find another place on disk where this write fails.
      kept.tableDirty.add(entry);
      await patchSector(this.#image, kept.stored.tableOffset + entry * POINTER_BYTES, (view) =>
        encodePlaces(kept.places, entry, entry + 1, view),
      );
    }
  }

  /** Tables, and the directory, that can be moved: `moveTo` points to what was copied to `place`. */
  get movable(): { offset: HostOffset; length: number; moveTo(place: HostOffset): Promise<void> }[] {
    if (this.#switchPending || this.#place === null || !this.#trusted) return [];
    const tables = this.#kept.filter(({ trusted, stored }) => trusted && stored.tableEntries > 0);
    return [
      ...tables.map((kept) => ({
        offset: kept.stored.tableOffset,
        length: kept.stored.tableEntries * POINTER_BYTES,
        moveTo: (place: HostOffset) => this.#moveTable(kept, place),
      })),
      { ...this.#place, moveTo: (place: HostOffset) => this.#moveDirectory(place) },
    ];
  }

  async #moveTable(kept: KeptBitmap, place: HostOffset): Promise<void> {
    const image = this.#image;
    const { bytes, flagsAt } = this.#encoded;
    kept.stored = { ...kept.stored, tableOffset: place };
    const at = flagsAt[this.#kept.indexOf(kept)] - FLAGS_AT;
    putViewBe64(viewOf(bytes), at, place);
    const sector = at - (at % SECTOR);
    await image.committer.settle(async () => {
      await image.file.write(this.#place!.offset + sector, bytes.slice(sector, sector + SECTOR));
      await image.file.flush();
    });
  }

  async #moveDirectory(place: HostOffset): Promise<void> {
    this.#place = { offset: place, length: this.#place!.length };
    this.#notePlace();
    await this.#switch();
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
/** The table and the bits of a bitmap, as they are on disk: offsets and lengths in bytes. */
export function regionsOf(
  { stored, places }: KeptBitmap,
  clusterSize: number,
): { offset: HostOffset; length: number }[] {
  const { tableOffset, tableEntries } = stored;
  const table = tableEntries > 0 ? [{ offset: tableOffset, length: tableEntries * POINTER_BYTES }] : [];
  return [...table, ...offsetsIn(places).map((offset) => ({ offset, length: clusterSize }))];
}
