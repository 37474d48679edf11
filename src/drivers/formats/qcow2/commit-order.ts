// The order in which metadata reaches the disk, so that at any instant the file is an image with at worst leaked clusters.
// All changes wait in the caches; a commit takes a copy of what is dirty at one moment and writes it:
//
//   0   a changed header (tables that moved are on disk already)        | flush
//       writes in place that failed before (`settle`)
//   A   refcount blocks; L2 tables that nothing on disk points to yet   | flush: also the data that was answered before
//   A2  pointers to new refcount blocks                                 | flush
//   B   L2 entries, L1 entries                                          | flush
//   C   the refcounts of the clusters that those entries no longer refer to are lowered in the cache: they may be allocated again
//
// Where the content lies in an external data file, that is flushed before B, too: the flush of one file says nothing of another.
//
// Each step writes only pointers to what the steps before it made durable, so power may fail between any two writes:
//
//   after A    a refcount is too high: a leaked cluster            (allocated, and nothing refers to it)
//   after B    old clusters keep their refcount: leaked, too       (freed in memory by C, on disk by step A of the next commit)
//
// Requests go on meanwhile: what they publish after the copy was taken belongs to the next commit. When a step fails, everything in the copy is
// marked dirty again, and the next commit repeats it.

import type { BlkdebugEvent } from '../../../schema/generated/types.js';
import { assert } from '../../../util/assert.js';
import { Serial } from '../../../util/serial.js';
import type { PendingFree } from './frees.js';
import type { Qcow2Image } from './image.js';
import type { PointerTable } from './pointer-table.js';
import type { Table, TableCache } from './table-cache.js';
import { type HostOffset, plus, SECTOR } from './types.js';

interface Staged {
  event: BlkdebugEvent;
  offset: HostOffset;
  bytes: Uint8Array;
}

interface TakenTable {
  cache: TableCache;
  table: Table;
  from: number;
  to: number;
}

interface TakenSectors {
  table: PointerTable;
  sectors: number[];
}

/** What it is for blkdebug that `bytes` of a table are written: of an L2 table, or of a refcount block. */
function eventOf(isL2: boolean, { isNew, bytes: { length } }: Table, bytes: number): BlkdebugEvent {
  if (isL2) return isNew ? 'l2_alloc_write' : 'l2_update';
  if (isNew) return 'refblock_alloc_write';
  return bytes === length ? 'refblock_update' : 'refblock_update_part';
}

/** What one commit writes, by step. */
class Taken {
  readonly tables: TakenTable[] = [];
  readonly pointers: TakenSectors[] = [];
  readonly first: Staged[] = [];
  readonly refcountPointers: Staged[] = [];
  readonly last: Staged[] = [];
  pending: PendingFree[] = [];

  staged(): Staged[] {
    return [...this.first, ...this.refcountPointers, ...this.last];
  }

  /** The tables may leave the cache again. */
  unpin(): void {
    for (const { table } of this.tables) table.pins--;
    this.tables.length = 0;
  }
}

export class Committer {
  readonly #image: Qcow2Image;
  readonly #commits = new Serial();
  #next: Promise<void> | null = null;
  /** Writes in place that have failed: the disk may have what they say, or what it had before. Either is right. */
  readonly #unsettled = new Set<() => Promise<void>>();

  constructor(image: Qcow2Image) {
    this.#image = image;
  }

  /** Makes everything durable that was published and answered before this call. Callers that come while a commit waits for its turn share that commit. */
  commit(): Promise<void> {
    this.#next ??= this.#commits.run(() => {
      this.#next = null;
      return this.#run();
    });
    return this.#next;
  }

  /** Nothing waits for a commit: all of metadata is on disk as it is in memory. */
  isIdle(): boolean {
    const { frees, headerDirty, mapping, refcounts } = this.#image;
    const pointers = refcounts.table.dirtySectors.size + mapping.l1.dirtySectors.size;
    const tables = refcounts.blocks.dirty.size + mapping.cache.dirty.size;
    return !headerDirty && this.#unsettled.size === 0 && pointers + tables === 0 && !frees.wait();
  }

  /**
   * Runs a commit and then `action`, with no other commit in between or meanwhile. `action` must not call `commit`; with `cuts` it cuts the file after
   * the last cluster in use.
   */
  exclusive<T>(action: () => Promise<T>, { cuts = false } = {}): Promise<T> {
    return this.#commits.run(async () => {
      await this.#run(cuts);
      return action();
    });
  }

  /** Writes the header's first sector, and flushes: this switches to tables that are on disk already. */
  async writeHeader(): Promise<void> {
    const image = this.#image;
    // Later changes of the header need another call.
    image.headerDirty = false;
    try {
      await image.file.write(0, image.encodeFirstSector());
      await image.file.flush();
    } catch (error) {
      image.headerDirty = true;
      throw error;
    }
  }

  /**
   * Runs `write`, which changes a table in place, by one sector, where no cache holds it. Where it fails, each commit begins with it until it has succeeded.
   * What either state refers to must stay allocated until such a commit. Rejects as `write`.
   */
  async settle(write: () => Promise<void>): Promise<void> {
    this.#unsettled.add(write);
    await write();
    this.#unsettled.delete(write);
  }

  async #run(cuts = false): Promise<void> {
    const image = this.#image;
    if (image.headerDirty) await this.writeHeader();
    for (const write of this.#unsettled) await this.settle(write);
    const taken = this.#take();
    try {
      await this.#write(taken, cuts);
    } catch (error) {
      this.#markDirtyAgain(taken);
      throw error;
    } finally {
      taken.unpin();
      for (const { bytes } of taken.staged()) image.memory.free(bytes);
    }
  }

  async #write(taken: Taken, cuts: boolean): Promise<void> {
    const { data, file, frees, intake, reclamation } = this.#image;
    await this.#writeAll(taken.first);
    const content = data.flush();
    if (content !== undefined) await content;
    if (file.unflushed) await file.flush();
    for (const { table } of taken.tables) table.isNew = false;
    if (taken.refcountPointers.length > 0) {
      await this.#writeAll(taken.refcountPointers);
      await file.flush();
    }
    if (taken.last.length > 0) {
      await this.#writeAll(taken.last);
      await file.flush();
    }
    // Everything is written. If a free fails, only the frees are repeated.
    taken.unpin();
    taken.pointers.length = 0;
    if (taken.pending.length > 0) {
      await reclamation.synchronize();
      await frees.apply(taken.pending, cuts);
      // There was no space for the refcount blocks of the rest: those clusters stay allocated until the next commit.
      if (taken.pending.length > 0) frees.putBack(taken.pending);
    }
    for (const rest of intake.takeRests()) await frees.punchFree(rest);
  }

  /** Copies everything that is dirty, without an `await` in between. */
  #take(): Taken {
    const { frees, mapping, refcounts } = this.#image;
    const taken = new Taken();
    for (const table of [...refcounts.blocks.dirty]) this.#takeTable(taken, refcounts.blocks, table, taken.first);
    for (const table of [...mapping.cache.dirty]) {
      this.#takeTable(taken, mapping.cache, table, table.isNew ? taken.first : taken.last);
    }
    this.#takePointers(taken, refcounts.table, taken.refcountPointers);
    this.#takePointers(taken, mapping.l1, taken.last);
    taken.pending = frees.take();
    return taken;
  }

  #takeTable(taken: Taken, cache: TableCache, table: Table, to: Staged[]): void {
    assert(table.reserved && table.offset > 0, 'a table is written once it has a place of its own');
    const range = cache.takeDirty(table);
    assert(range.from < range.to && range.to <= cache.tableBytes, 'what is written of a table lies in it');
    table.pins++;
    taken.tables.push({ cache, table, ...range });
    const event = eventOf(cache === this.#image.mapping.cache, table, range.to - range.from);
    to.push(this.#stage(event, plus(table.offset, range.from), table.bytes.subarray(range.from, range.to)));
  }

  /** Copies the dirty sectors of an L1 or refcount table; neighbours become one write. */
  #takePointers(taken: Taken, table: PointerTable, to: Staged[]): void {
    if (table.dirtySectors.size === 0) return;
    const sectors = [...table.dirtySectors].sort((a, b) => a - b);
    table.dirtySectors.clear();
    taken.pointers.push({ table, sectors });
    for (let i = 0; i < sectors.length; ) {
      let end = i + 1;
      while (end < sectors.length && sectors[end] === sectors[end - 1] + 1) end++;
      const from = sectors[i] * SECTOR;
      const event = table === this.#image.mapping.l1 ? 'l1_update' : 'refblock_alloc_hookup';
      const content = table.bytes.subarray(from, (sectors[end - 1] + 1) * SECTOR);
      to.push(this.#stage(event, plus(table.offset, from), content));
      i = end;
    }
  }

  #stage(event: BlkdebugEvent, offset: HostOffset, content: Uint8Array): Staged {
    const bytes = this.#image.memory.allocate(content.length);
    bytes.set(content);
    return { event, offset, bytes };
  }

  /** Does all writes of a step in parallel. Ends when all have ended, and rejects with the first failure. */
  async #writeAll(staged: readonly Staged[]): Promise<void> {
    const { file } = this.#image;
    const results = await Promise.allSettled(
      staged.map(async ({ event, offset, bytes }) => {
        await file.ensureLength(offset + bytes.length);
        await file.write(offset, bytes, event);
      }),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  #markDirtyAgain(taken: Taken): void {
    for (const { cache, table, from, to } of taken.tables) {
      if (cache.get(table.index) !== table) continue;
      if (table.isNew) cache.markDirty(table, 0, cache.tableBytes);
      else cache.markDirty(table, from, to);
    }
    for (const { table, sectors } of taken.pointers) {
      for (const sector of sectors) table.dirtySectors.add(sector);
    }
    this.#image.frees.putBack(taken.pending);
  }
}
