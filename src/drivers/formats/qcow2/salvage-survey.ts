// Surveys a damaged image before it is read: which L2 tables are there, which entries of them can be used, and which cluster two of them claim.
//
//   1  L1 entries            -> tables that have the shape of one        what has not is lost, with all that it would describe
//   2  entries of the tables -> clusters of data, or lost                 those in metadata, beyond the end, ...
//   3  clusters claimed twice, where their refcount does not say so       doubtful
//   4  clusters that nobody claims -> tables that nothing points to       orphans
//
// Nothing is kept of single entries: reads judge them again, by the same rules.

import type { SalvageHints, SalvageReason } from '../../../block/salvage.js';
import { viewOf } from '../../../util/bytes.js';
import { ClusterSet } from './salvage-claims.js';
import { isInMetadata, isPlain, judgePointer, Verdict } from './salvage-entries.js';
import { MAX_ORPHANS, orphansAmong, stretches } from './salvage-orphans.js';
import { type LosePart, readWhatCan } from './salvage-read.js';
import { type SurveyedImage, SurveyNotes } from './salvage-surveyed.js';
import type { SalvagedTable } from './salvage-tables.js';
import { SECTOR } from './types.js';

/** In place of the offset of an L2 table. */
export const NO_TABLE = 0;
export const LOST_TABLE = -1;

/** One of so many clusters in use is counted wrongly at most, where the others are believed. */
const FEW = 4;
/** A table that so many L1 entries point to is read for them; further ones are lost. */
const MAX_USERS = 2;

export class Survey {
  /** By L1 index: the offset of the L2 table, `NO_TABLE` or `LOST_TABLE`. */
  readonly l1: Float64Array;
  readonly #image: SurveyedImage;
  readonly #notes: SurveyNotes;
  readonly #verdict = new Verdict();
  /** L1 indexes whose tables have no entry that points anywhere. */
  readonly #emptyTables: number[] = [];
  readonly #seen = new ClusterSet();
  /** L2 tables that several L1 entries point to, and how many do. */
  readonly #users = new Map<number, number>();
  #hasConflicts = false;
  /** Clusters that an L1 entry has for a table, and that have not the shape of one. */
  readonly #rejected: number[] = [];
  #counted = { areRight: false, unreferenced: 0 };
  /** L1 entries that have any bit set, those of them that lead to a table with pointers, and those that lead to one without any. */
  readonly entries = { used: 0, good: 0, empty: 0 };

  constructor(image: SurveyedImage) {
    this.#image = image;
    this.#notes = new SurveyNotes(image);
    this.l1 = new Float64Array(Math.ceil(image.size / image.geometry.l2Span));
  }

  /** Reads the L1 table of `entries` entries at `offset`. `offset` null: it is lost. */
  async readL1(offset: number | null, entries: number, hints: SalvageHints): Promise<void> {
    const { file, end, geometry, rules, claims } = this.#image;
    const { clusterSize } = geometry;
    const bytes = new Uint8Array(Math.min(this.l1.length, entries) * 8);
    const lost = new Uint8Array(this.l1.length);
    if (offset === null) lost.fill(1);
    else {
      const lose: LosePart = (from, to, reason) => {
        lost.fill(reason === 'unreadable' ? 2 : 3, Math.floor(from / 8), Math.ceil(to / 8));
      };
      await readWhatCan(file, offset, bytes, lose, end);
    }
    const view = viewOf(bytes);
    const placed = new Map((hints.tables ?? []).map(({ guest, host }) => [Math.floor(guest / geometry.l2Span), host]));
    for (let index = 0; index < this.l1.length; index++) {
      const hint = placed.get(index);
      if (hint !== undefined) {
        if (hint < rules.fileBytes) await this.#takeTable(index, hint, false);
        else this.#loseSpan(index, 'table-beyond-end', hint);
        continue;
      }
      if (lost[index] !== 0) {
        const reason = (['no-table', 'table-unreadable', 'table-beyond-end'] as const)[lost[index] - 1];
        this.#loseSpan(index, reason, offset === null ? -1 : placeOfEntry(offset, index, end));
        continue;
      }
      if (index * 8 >= bytes.length) continue;
      if (view.getUint32(index * 8) !== 0 || view.getUint32(index * 8 + 4) !== 0) this.entries.used++;
      const pointer = judgePointer(
        view.getUint32(index * 8),
        view.getUint32(index * 8 + 4),
        clusterSize,
        rules.fileBytes,
      );
      if (pointer.reason !== null) this.#loseSpan(index, pointer.reason, pointer.host);
      else if (pointer.host === 0) {
        if (pointer.isOdd) this.#notes.doubtSpan(index, 'reserved-bits', -1);
      } else if (claims.metadata.has(pointer.host / clusterSize)) this.#loseSpan(index, 'table-overlap', pointer.host);
      else await this.#takeTable(index, pointer.host, pointer.isOdd);
    }
    this.#reportSharedTables();
  }

  async #takeTable(index: number, host: number, isOdd: boolean): Promise<void> {
    const { claims, geometry, rules, tables } = this.#image;
    const shape = (await tables.load(host)).shape(rules, this.#verdict);
    if (shape === 'no') {
      if (this.#rejected.length < MAX_ORPHANS) this.#rejected.push(host / geometry.clusterSize);
      this.#loseSpan(index, 'no-table', host);
      return;
    }
    this.l1[index] = host;
    if (shape === 'yes') this.entries.good++;
    if (shape === 'empty') this.entries.empty++;
    if (shape === 'empty') this.#emptyTables.push(index);
    else claims.tables.add(host / geometry.clusterSize);
    if (!this.#seen.add(host / geometry.clusterSize)) this.#users.set(host, 1);
    if (isOdd) this.#notes.doubtSpan(index, 'reserved-bits', host);
  }

  #reportSharedTables(): void {
    if (this.#users.size === 0) return;
    for (const host of this.#users.keys()) this.#users.set(host, 0);
    for (let index = 0; index < this.l1.length; index++) {
      const host = this.l1[index];
      const users = this.#users.get(host);
      if (users === undefined) continue;
      this.#users.set(host, users + 1);
      if (users < MAX_USERS) this.#notes.doubtSpan(index, 'shared-table', host);
      else this.#loseSpan(index, 'shared-table', host);
    }
  }

  /** Marks the L2 tables of another L1 table, that of a snapshot, as metadata. */
  async markOthers(offset: number, entries: number): Promise<void> {
    const { file, geometry, rules, claims, tables } = this.#image;
    const bytes = new Uint8Array(entries * 8);
    await readWhatCan(file, offset, bytes, () => undefined);
    const view = viewOf(bytes);
    for (let at = 0; at < bytes.length; at += 8) {
      const { host, reason } = judgePointer(
        view.getUint32(at),
        view.getUint32(at + 4),
        geometry.clusterSize,
        rules.fileBytes,
      );
      const cluster = host / geometry.clusterSize;
      if (host === 0 || reason !== null || claims.isMetadata(cluster)) continue;
      if ((await tables.load(host)).shape(rules, this.#verdict) === 'yes') claims.tables.add(cluster);
    }
  }

  /** Judges all entries. `progress` gets the tables that are done, and all of them. */
  async judgeEntries(progress: (done: number, total: number) => void): Promise<void> {
    await this.#eachTable((index, table) => this.#judgeTable(index, table), progress);
    const { claims, geometry } = this.#image;
    for (const index of this.#emptyTables) {
      const cluster = this.l1[index] / geometry.clusterSize;
      if (claims.data.has(cluster) || claims.compressed.has(cluster)) {
        // Nobody knows whether the table is right, or the entry that has data there.
        this.#loseSpan(index, 'table-overlap', this.l1[index]);
        claims.shared.add(cluster);
      } else claims.tables.add(cluster);
    }
    // It may be a damaged table, or the L1 entry may be damaged.
    for (const cluster of this.#rejected) if (claims.data.has(cluster)) claims.shared.add(cluster);
    this.#counted = await this.#compareRefcounts();
    if (claims.shared.count > 0 || this.#hasConflicts) {
      await this.#eachTable((index, table) => this.#doubtShared(index, table));
    }
  }

  async #eachTable(
    action: (index: number, table: SalvagedTable) => unknown,
    progress?: (done: number, total: number) => void,
  ): Promise<void> {
    for (let index = 0; index < this.l1.length; index++) {
      if (this.l1[index] <= 0) continue;
      await action(index, await this.#image.tables.load(this.l1[index]));
      progress?.(index + 1, this.l1.length);
    }
  }

  /** Slots of a table that describe the disk: the last table has fewer. */
  #slotsOf(index: number): number {
    const { geometry, size } = this.#image;
    return Math.min(geometry.l2Entries, Math.ceil((size - index * geometry.l2Span) / geometry.clusterSize));
  }

  #judgeTable(index: number, table: SalvagedTable): void {
    const { claims, log, rules } = this.#image;
    const verdict = this.#verdict;
    const slots = this.#slotsOf(index);
    for (let slot = 0; slot < slots; slot++) {
      const missing = table.missing(slot);
      if (missing !== null) this.#notes.lose(index, slot, 0, missing, table.sectorOf(slot));
      else {
        verdict.judge(table.view, slot, rules);
        this.#takeEntry(index, slot);
      }
    }
    if (claims.data.overflowed && !log.notes.includes(TOO_MANY)) log.notes.push(TOO_MANY);
  }

  /** Takes in what was judged of an entry: what is lost of it, and the clusters that it claims. */
  #takeEntry(index: number, slot: number): void {
    const { claims, geometry, rules } = this.#image;
    const { clusterSize } = geometry;
    const verdict = this.#verdict;
    const { kind, host, bytes } = verdict;
    if (verdict.isOdd) this.#notes.doubt(index, slot, 'reserved-bits', host);
    const isKept = kind === 'zero' || (kind === 'mixed' && verdict.data === 0);
    if (isKept && host > 0 && !rules.isExternal) claims.kept.add(host / clusterSize);
    if (kind === 'empty' || isKept) return;
    if (kind === 'none') {
      this.#notes.lose(index, slot, 0, verdict.reason, host);
      return;
    }
    if (kind === 'mixed') this.#loseWrongParts(index, slot);
    if (isInMetadata(verdict, rules, claims)) {
      this.#loseData(index, slot, 0, 'in-metadata');
      return;
    }
    if (bytes < clusterSize && bytes > 0 && kind !== 'compressed') this.#loseData(index, slot, bytes, 'beyond-end');
    if (rules.isExternal || bytes === 0) return;
    if (kind !== 'compressed') {
      const cluster = host / clusterSize;
      claims.takeData(cluster);
      if (claims.compressed.has(cluster)) this.#hasConflicts = true;
      return;
    }
    for (let cluster = Math.floor(host / clusterSize); cluster * clusterSize < host + bytes; cluster++) {
      claims.compressed.add(cluster);
      if (claims.data.has(cluster)) this.#hasConflicts = true;
    }
  }

  /** Subclusters of which the entry says what cannot be. */
  #loseWrongParts(index: number, slot: number): void {
    const { subclusters, subclusterSize } = this.#image.geometry;
    for (let n = 0; n < subclusters; n++) {
      if (this.#verdict.part(n) !== 'none') continue;
      this.#notes.lose(index, slot, n * subclusterSize, 'bad-entry', this.#verdict.host, subclusterSize);
    }
  }

  /** Loses the data of an entry from byte `from` of its cluster on. */
  #loseData(index: number, slot: number, from: number, reason: SalvageReason): void {
    const { clusterSize, subclusters, subclusterSize } = this.#image.geometry;
    const verdict = this.#verdict;
    if (verdict.kind !== 'mixed') {
      this.#notes.lose(index, slot, from, reason, verdict.host + from);
      return;
    }
    for (let n = 0; n < subclusters; n++) {
      const begin = Math.max(from, n * subclusterSize);
      const length = Math.min(clusterSize, (n + 1) * subclusterSize) - begin;
      if (verdict.part(n) === 'data') this.#notes.lose(index, slot, begin, reason, verdict.host + begin, length);
    }
  }

  /** Clusters that several entries point to, and whose refcount does not say so. */
  async #doubtShared(index: number, table: SalvagedTable): Promise<void> {
    const { claims, countsAll, geometry, refcounts, rules } = this.#image;
    const verdict = this.#verdict;
    const slots = this.#slotsOf(index);
    for (let slot = 0; slot < slots; slot++) {
      if (table.missing(slot) !== null) continue;
      verdict.judge(table.view, slot, rules);
      if (!isPlain(verdict) || isInMetadata(verdict, rules, claims)) continue;
      const { host } = verdict;
      const cluster = host / geometry.clusterSize;
      const isShared = claims.shared.has(cluster);
      if (!isShared && !claims.compressed.has(cluster)) continue;
      // Where there are snapshots, a refcount may be theirs.
      const counts = isShared && this.#counted.areRight && countsAll && !claims.compressed.has(cluster);
      const refcount = counts ? await refcounts.get(cluster) : null;
      if (refcount === null || refcount < 2) this.#notes.doubt(index, slot, 'shared', host);
    }
  }

  /**
   * Looks through the clusters that nobody claims for tables that nothing points to. Where the refcounts are right, only clusters that they count are
   * looked at. `progress` gets bytes of the file.
   */
  async findOrphans(progress: (done: number) => void): Promise<void> {
    const { log, countsAll, geometry } = this.#image;
    const counted = this.#counted;
    const tables = await orphansAmong(this.#image, counted.areRight, progress);
    if (counted.areRight && countsAll) log.unreferencedClusters = counted.unreferenced - tables;
    if (log.orphans.length === 0) return;
    for (let index = 0; index < this.l1.length; index++) {
      if (this.l1[index] === NO_TABLE) this.#notes.doubtSpan(index, 'table-missing', -1);
    }
    if (tables > MAX_ORPHANS) {
      log.notes.push(
        `There are ${tables - MAX_ORPHANS} more tables of ${geometry.clusterSize} bytes that nothing points to.`,
      );
    }
  }

  async #compareRefcounts(): Promise<{ areRight: boolean; unreferenced: number }> {
    const { claims, countsAll, isDirty, log, refcounts } = this.#image;
    if (isDirty) return { areRight: false, unreferenced: 0 };
    let [used, wrong, unreferenced] = [0, 0, 0];
    for await (const [from, to] of stretches(this.#image)) {
      for (let cluster = from; cluster < to; ) {
        const end = Math.min(to, refcounts.blockEnd(cluster));
        const block = await refcounts.blockOf(cluster);
        for (; cluster < end; cluster++) {
          const isUsed = claims.isUsed(cluster);
          const refcount = block === null ? 0 : refcounts.countIn(block, cluster);
          if (isUsed) used++;
          // Garbage counts everything; where all users are known, what has one user counts one.
          const isOnce = countsAll && !claims.shared.has(cluster) && !claims.compressed.has(cluster);
          if (isUsed && (refcount === 0 || (isOnce && refcount > 1))) wrong++;
          if (!isUsed && refcount > 0) unreferenced++;
        }
      }
    }
    if (wrong > 0) log.notes.push('The refcounts are not right. What is salvaged does not depend on them.');
    // Where few of them are wrong, the entry may be: it points to a cluster that is free.
    if (wrong > 0 && wrong * FEW <= used) await this.#eachTable((index, table) => this.#doubtUncounted(index, table));
    return { areRight: wrong === 0, unreferenced };
  }

  async #doubtUncounted(index: number, table: SalvagedTable): Promise<void> {
    const { claims, geometry, refcounts, rules } = this.#image;
    const slots = this.#slotsOf(index);
    for (let slot = 0; slot < slots; slot++) {
      if (table.missing(slot) !== null) continue;
      this.#verdict.judge(table.view, slot, rules);
      if (!isPlain(this.#verdict) || isInMetadata(this.#verdict, rules, claims)) continue;
      const { host } = this.#verdict;
      if (!rules.isExternal && (await refcounts.get(host / geometry.clusterSize)) === 0) {
        this.#notes.doubt(index, slot, 'uncounted', host);
      }
    }
  }

  /** What the backing file should say is lost. */
  async loseAbsent(): Promise<void> {
    for (let index = 0; index < this.l1.length; index++) {
      if (this.l1[index] === NO_TABLE) this.#loseSpan(index, 'in-backing-file', -1);
    }
    const { rules } = this.#image;
    await this.#eachTable((index, table) => {
      const slots = this.#slotsOf(index);
      for (let slot = 0; slot < slots; slot++) {
        if (table.missing(slot) !== null) continue;
        this.#verdict.judge(table.view, slot, rules);
        this.#loseEmptyParts(index, slot);
      }
    });
  }

  #loseEmptyParts(index: number, slot: number): void {
    const { clusterSize, subclusters, subclusterSize } = this.#image.geometry;
    if (this.#verdict.kind === 'empty') this.#notes.lose(index, slot, 0, 'in-backing-file', -1, clusterSize);
    if (this.#verdict.kind !== 'mixed') return;
    for (let n = 0; n < subclusters; n++) {
      if (this.#verdict.part(n) !== 'empty') continue;
      this.#notes.lose(index, slot, n * subclusterSize, 'in-backing-file', -1, subclusterSize);
    }
  }

  /** The end of the last cluster that is known to hold anything, in bytes of the disk. */
  async lastUsed(): Promise<number> {
    const { geometry, rules, tables } = this.#image;
    for (let index = this.l1.length - 1; index >= 0; index--) {
      if (this.l1[index] <= 0) continue;
      const table = await tables.load(this.l1[index]);
      for (let slot = geometry.l2Entries - 1; slot >= 0; slot--) {
        if (table.missing(slot) !== null) continue;
        this.#verdict.judge(table.view, slot, rules);
        if (this.#verdict.kind === 'empty' || this.#verdict.kind === 'none') continue;
        return index * geometry.l2Span + (slot + 1) * geometry.clusterSize;
      }
    }
    return 0;
  }

  #loseSpan(index: number, reason: SalvageReason, host: number): void {
    this.l1[index] = LOST_TABLE;
    this.#notes.loseSpan(index, reason, host);
  }
}

/** Where an L1 entry that cannot be read is lost: its sector, or the end of the file. Neighbours have the same place, and make one range. */
function placeOfEntry(offset: number, index: number, end: number): number {
  const at = offset + index * 8;
  return Math.min(at - (at % SECTOR), end);
}

const TOO_MANY =
  'The file is too large for all clusters to be compared: two parts of the disk may lie at the same place unnoticed.';
