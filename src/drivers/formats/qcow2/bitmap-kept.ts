// One stored bitmap while its image is open: what is on disk, and how the bitmap in memory differs from that.
//
//   DirtyBitmap --changed()--> changed table entries --bits written--> table entries to write --written, flushed--> nothing differs
//
//   marked    the flag `in_use` is on disk: what is stored means nothing to whoever reads it
//   closing   the flag is being taken away: who would make that wrong must wait
//   unsure    a write of the directory failed: the flag may be there or not

import type { BitmapStorage, DirtyBitmap } from '../../../block/bitmap.js';
import { detach } from '../../../util/best-effort.js';
import { BitTree } from '../../../util/bit-tree.js';
import { isUsable, type StoredBitmap, tableEntriesFor } from './bitmap-directory.js';
import { NONE_SET } from './bitmap-table.js';
import type { ClusterIndex, HostOffset } from './types.js';

/** What a kept bitmap has to know of its image. */
export interface BitmapHome {
  readonly clusterSize: number;
  readonly readOnly: boolean;
  /** Resolves when the requests that are under way have ended; null: there are none. */
  requestsPassed(): Promise<void> | null;
}

export class KeptBitmap implements BitmapStorage {
  readonly bitmap: DirtyBitmap;
  readonly #home: BitmapHome;
  /** The entry of the directory on disk. */
  stored: StoredBitmap;
  /** Where the bits lie, as the table is to say (`bitmap-table.ts`). */
  places: Float64Array;
  /** Table entries whose bits differ from those on disk. */
  #changed: BitTree;
  /** Table entries that differ from those on disk. */
  readonly tableDirty = new Set<number>();
  /** Clusters that entries of the table on disk may still point to, and that nothing else does. */
  dropped: HostOffset[] = [];
  /** Clusters that are allocated for bits to come, by table entry. */
  readonly spare = new Map<number, ClusterIndex>();
  /** There was no space for such a cluster: it is tried again when the bits are stored. */
  noRoom = false;
  marked: boolean;
  closing = false;
  unsure = false;
  /** Its clusters are its own: they can be written in place, and freed. */
  trusted = true;
  /** Times that bits were cleared while requests were under way that may set them again. */
  #unsettled = 0;

  constructor(home: BitmapHome, bitmap: DirtyBitmap, stored: StoredBitmap, places: Float64Array) {
    this.#home = home;
    this.bitmap = bitmap;
    this.stored = stored;
    this.places = places;
    this.#changed = new BitTree(places.length, Number.POSITIVE_INFINITY);
    this.marked = stored.inUse;
  }

  /** One that is not on disk yet. */
  static fresh(home: BitmapHome, bitmap: DirtyBitmap): KeptBitmap {
    const { name = '', granularity, enabled } = bitmap;
    const empty = new Uint8Array(0);
    const stored = { name, granularity, auto: enabled, extra: empty, extraCompatible: false };
    const places = new Float64Array(tableEntriesFor(bitmap.size, granularity, home.clusterSize));
    const nowhere = { inUse: false, tableOffset: 0 as HostOffset, tableEntries: 0 };
    const kept = new KeptBitmap(home, bitmap, { ...stored, ...nowhere }, places);
    kept.#changed.fill(0, places.length, true);
    return kept;
  }

  /** Its bits are valid, and are to be stored. */
  get usable(): boolean {
    return !this.bitmap.inconsistent;
  }

  get readOnly(): boolean {
    return this.#home.readOnly;
  }

  /** Granules whose bits one table entry stands for. */
  get #granulesPerEntry(): number {
    return this.#home.clusterSize * 8;
  }

  changed(from: number, to: number, removed: boolean): void {
    const per = this.#granulesPerEntry;
    const end = Math.min(this.#changed.length, Math.ceil(to / per));
    this.#changed.fill(Math.floor(from / per), end, true);
    if (!removed) return;
    const passed = this.#home.requestsPassed();
    if (passed === null) return;
    this.#unsettled++;
    const settled = passed.finally(() => this.#unsettled--);
    detach('stored bitmap', settled);
  }

  /** Something of it is not on disk as it is in memory, or may not be. */
  get differs(): boolean {
    if (!this.usable) return false;
    return this.marked || this.unsure || this.#isAhead;
  }

  get #isAhead(): boolean {
    const { bitmap, stored } = this;
    return this.#changed.count > 0 || stored.auto !== bitmap.enabled || this.#entriesNow !== stored.tableEntries;
  }

  /** Table entries for the disk as it is now. */
  get #entriesNow(): number {
    return tableEntriesFor(this.bitmap.size, this.bitmap.granularity, this.#home.clusterSize);
  }

  /** A write of the range makes what is on disk wrong, and it is not marked so. */
  needsMark(offset: number, length: number): boolean {
    if (this.marked && !this.closing) return false;
    // Nobody can record for what cannot be used.
    if (!this.usable) return this.stored.auto;
    return this.unsure || this.#isAhead || this.bitmap.wouldRecord(offset, length);
  }

  /** The table entry of this guest range, where bits will be set for which there is no cluster yet; -1: there is nothing to reserve. */
  entryWithoutRoom(offset: number, length: number): number {
    if (this.noRoom || !this.usable || length === 0) return -1;
    const span = this.#granulesPerEntry * this.bitmap.granularity;
    const last = Math.min(Math.floor((offset + length - 1) / span), this.places.length - 1);
    // Of what is longer, some entries get bits that are all set, and need no cluster.
    const first = Math.floor(offset / span);
    if (last - first > 1 || !this.bitmap.wouldRecord(offset, length)) return -1;
    for (let entry = first; entry <= last; entry++) {
      if (this.places[entry] === NONE_SET && !this.spare.has(entry)) return entry;
    }
    return -1;
  }

  /** Calls `write` with the bits of each entry that differs, one after the other; `bytes` is a cluster to put them in. */
  async eachChanged(bytes: Uint8Array, write: (entry: number) => Promise<void>): Promise<void> {
    const per = this.#granulesPerEntry;
    for (let entry = this.#changed.find(0, true); entry >= 0; entry = this.#changed.find(entry + 1, true)) {
      // No `await` between these: what changes from now on is noted again.
      this.#changed.fill(entry, entry + 1, false);
      bytes.fill(0);
      this.bitmap.bitsInto(entry * per, bytes);
      try {
        await write(entry);
      } catch (error) {
        if (entry < this.#changed.length) this.#changed.fill(entry, entry + 1, true);
        throw error;
      }
    }
  }

  /** Lets entry `entry` point to `place`. */
  setPlace(entry: number, place: number): void {
    const old = this.places[entry];
    if (old === place) return;
    if (old > 0) this.dropped.push(old as HostOffset);
    this.places[entry] = place;
    this.tableDirty.add(entry);
  }

  /** Makes the table as long as the disk needs it now. True where its length is not that on disk, so that it needs another place. */
  fitTable(): boolean {
    const entries = this.#entriesNow;
    if (entries !== this.places.length) {
      for (let entry = entries; entry < this.places.length; entry++) this.setPlace(entry, NONE_SET);
      const places = new Float64Array(entries);
      places.set(this.places.subarray(0, entries));
      this.places = places;
      this.#changed = new BitTree(entries, Number.POSITIVE_INFINITY);
      this.#changed.fill(0, entries, true);
    }
    return entries !== this.stored.tableEntries;
  }

  /** The bits and the table entries that were written last are those of the bitmap as it is now, of a disk of `size` bytes. */
  isWritten(size: number): boolean {
    const isWhole = this.#changed.count === 0 && this.#entriesNow === this.places.length;
    return isWhole && this.#unsettled === 0 && this.bitmap.size === size;
  }
}

/** Whether a bitmap that is stored so can be used; `readable`: its table and bits lie in the file. */
export function isConsistent(stored: StoredBitmap, readable: boolean): boolean {
  return readable && isUsable(stored);
}
