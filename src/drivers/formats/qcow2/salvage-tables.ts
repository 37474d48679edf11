// The L2 tables of a damaged image: read as far as they can be, and kept for a while.

import type { Child } from '../../../block/child.js';
import type { SalvageReason } from '../../../block/salvage.js';
import { viewOf } from '../../../util/bytes.js';
import { type EntryRules, type Shape, shapeOf, type Verdict } from './salvage-entries.js';
import { readWhatCan } from './salvage-read.js';
import { SECTOR } from './types.js';

/** Of the tables that are kept; at least one is. */
const CACHE_BYTES = 8 << 20;

export class SalvagedTable {
  readonly host: number;
  readonly view: DataView;
  /** By sector: 1 where it cannot be read, 2 where it lies beyond the end of the file. Null: all of it is there. */
  #lost: Uint8Array | null = null;

  /** Bytes of an entry. */
  readonly #step: number;

  constructor(host: number, bytes: Uint8Array, step: number) {
    this.host = host;
    this.#step = step;
    this.view = viewOf(bytes);
  }

  lose(from: number, to: number, reason: 'unreadable' | 'beyond-end'): void {
    this.#lost ??= new Uint8Array(Math.ceil(this.view.byteLength / SECTOR));
    this.#lost.fill(reason === 'unreadable' ? 1 : 2, Math.floor(from / SECTOR), Math.ceil(to / SECTOR));
  }

  /** Where the sector lies that an entry is in. */
  sectorOf(slot: number): number {
    return this.host + Math.floor((slot * this.#step) / SECTOR) * SECTOR;
  }

  /** Why an entry is not there; null: it is. */
  missing(slot: number): SalvageReason | null {
    const how = this.#lost?.[Math.floor((slot * this.#step) / SECTOR)] ?? 0;
    return how === 0 ? null : how === 1 ? 'table-unreadable' : 'table-beyond-end';
  }

  /**
   * Whether it has the shape of a table: `yes` where a sector of it has more entries that point into the file than entries that no table has; `empty` where there
   * is nothing of either kind.
   */
  shape(rules: EntryRules, verdict: Verdict): 'yes' | 'no' | 'empty' {
    const entries = this.view.byteLength / this.#step;
    const inSector = SECTOR / this.#step;
    let bad = 0;
    for (let from = 0; from < entries; from += inSector) {
      const part: Shape = shapeOf(this.view, from, Math.min(entries, from + inSector), rules, verdict);
      if (part.good > part.bad) return 'yes';
      bad += part.bad;
    }
    return bad > 0 ? 'no' : 'empty';
  }
}

export class TableReader {
  readonly #file: Child;
  readonly #clusterSize: number;
  readonly #step: number;
  readonly #end: number;
  readonly #kept = new Map<number, SalvagedTable>();
  readonly #most: number;

  /** `step`: bytes of an entry; `end`: of the file. */
  constructor(file: Child, clusterSize: number, step: number, end: number) {
    this.#end = end;
    this.#file = file;
    this.#clusterSize = clusterSize;
    this.#step = step;
    this.#most = Math.max(1, CACHE_BYTES / clusterSize);
  }

  async load(host: number): Promise<SalvagedTable> {
    const known = this.#kept.get(host);
    if (known !== undefined) return known;
    const bytes = new Uint8Array(this.#clusterSize);
    const table = new SalvagedTable(host, bytes, this.#step);
    await readWhatCan(this.#file, host, bytes, (from, to, reason) => table.lose(from, to, reason), this.#end);
    if (this.#kept.size >= this.#most) this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(host, table);
    return table;
  }
}
