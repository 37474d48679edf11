// Finds the tables of an image by their shape, where its header does not say where they are. The file is read once, in the order of its blocks, and holes are
// left out. Each sector is counted for all cluster sizes at once; the counts of a cluster are those of its two halves.
//
//   level 12   |                     a cluster of 2 MiB                      |
//   ...
//   level 1    |  1 KiB  |  1 KiB  | ...
//   level 0    |512|512|512|512| ...      sectors: entries that a table of this level can have, and all entries that are not zero
//
// What has hardly any entry that cannot be is a candidate for an L2 table. A candidate whose entries point to other candidates is one for an L1 table. With a
// wrong cluster size, tables are cut off, or their entries are misaligned: the right one reaches most entries.

import type { Child } from '../../../block/child.js';
import { HIGH_WORD, viewOf } from '../../../util/bytes.js';
import { hasReservedBits, hostIn, isCompressed, isCopied, isZero } from './l2-codec.js';
import { ClusterSet } from './salvage-claims.js';
import { entryBytes } from './salvage-entries.js';
import { readWhatCan, refuseToGoOn } from './salvage-read.js';
import { MAX_CLUSTER_BITS, MAX_L1_BYTES, MIN_CLUSTER_BITS, SECTOR } from './types.js';

const LEVELS = MAX_CLUSTER_BITS - MIN_CLUSTER_BITS + 1;
const BLOCK_BYTES = 2 ** MAX_CLUSTER_BITS;
const BLOCK_SECTORS = BLOCK_BYTES / SECTOR;
const SECTOR_ENTRIES = SECTOR / 8;
/** Of a read of candidates that lie next to each other. */
const READ_BYTES = 256 << 10;
/** Of one level. A level with more of them is not looked at: smaller clusters than those of the image have the most. */
const MAX_CANDIDATES = 1 << 20;
/** Clusters of an L1 table, one after the other, that reach nothing. */
const MAX_GAP_CLUSTERS = 64;
const LUKS_MAGIC = [0x4c554b53, 0xbabe0001] as const;

/** A table that was found. */
export interface FoundL1 {
  clusterBits: number;
  offset: number;
  /** Up to the last one that is not zero. */
  entries: number;
  /** Entries of the L2 tables that it reaches. */
  score: number;
  /** Of its entries, those whose table has no other user. */
  copied: number;
}

export interface FoundTables {
  /** The best first. */
  l1: FoundL1[];
  /** Offsets of what begins as a LUKS header does. */
  luks: number[];
}

/** What may be L2 tables of one cluster size. */
class Candidates {
  clusters = new ClusterSet();
  offsets = new Float64Array(64);
  /** Entries that point into the file. */
  entries = new Float64Array(64);
  count = 0;
  overflowed = false;
  readonly clusterSize: number;

  constructor(level: number) {
    this.clusterSize = SECTOR * 2 ** level;
  }

  add(offset: number, entries: number): void {
    if (this.overflowed) return;
    if (this.count === MAX_CANDIDATES) {
      this.overflowed = true;
      this.clusters = new ClusterSet();
      this.offsets = this.entries = new Float64Array(0);
      return;
    }
    if (this.count === this.offsets.length) {
      this.offsets = grown(this.offsets);
      this.entries = grown(this.entries);
    }
    this.offsets[this.count] = offset;
    this.entries[this.count++] = entries;
    this.clusters.add(offset / this.clusterSize);
  }

  /** The end of candidate `index` and those that follow it without a gap, at most `most` bytes behind its begin. */
  endOfRun(index: number, most: number): number {
    const begin = this.offsets[index];
    let end = begin + this.clusterSize;
    while (++index < this.count && this.offsets[index] === end && end + this.clusterSize - begin <= most) {
      end += this.clusterSize;
    }
    return end;
  }

  /** Entries of the candidate at `offset`; 0 where there is none. */
  entriesAt(offset: number): number {
    if (!this.clusters.has(offset / this.clusterSize)) return 0;
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.offsets[middle] < offset) low = middle + 1;
      else high = middle;
    }
    return this.offsets[low] === offset ? this.entries[low] : 0;
  }
}

function grown(array: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(array.length * 2);
  larger.set(array);
  return larger;
}

/** Counts of the units of one block, at one level after the other. */
class BlockCounts {
  /** By unit and level. */
  readonly valid = new Int32Array(BLOCK_SECTORS * LEVELS);
  readonly total = new Int32Array(BLOCK_SECTORS);
  readonly #fileBytes: number;
  readonly #histogram = new Int32Array(LEVELS);
  /** Bytes of an entry; of an extended one, the second word has bits of any kind. */
  readonly #step: number;

  constructor(fileBytes: number, step: number) {
    this.#fileBytes = fileBytes;
    this.#step = step;
  }

  /** Counts the sector at byte `at` of the block. */
  count(words: DataView, at: number): void {
    const sector = at / SECTOR;
    const base = sector * LEVELS;
    const histogram = this.#histogram.fill(0);
    this.valid.fill(0, base, base + LEVELS);
    let total = 0;
    let bad = 0;
    for (let entry = at; entry < at + SECTOR; entry += this.#step) {
      const high = words.getUint32(entry);
      const low = words.getUint32(entry + 4);
      // Zeroes without a place say nothing: refcounts of 64 bits look like them.
      if (high === 0 && low <= 1) continue;
      total++;
      if (isCompressed(high)) {
        if (isCopied(high) || !this.#countCompressed(high, low, base)) bad++;
      } else {
        const host = hostIn(high, low);
        if (host === 0 || host >= this.#fileBytes || hasReservedBits(high, low)) bad++;
        else histogram[levelOf(host)]++;
      }
      if (bad > 8 && bad * 2 > total) {
        // It is no table; the rest of it makes no difference.
        this.valid.fill(0, base, base + LEVELS);
        this.total[sector] = SECTOR_ENTRIES;
        return;
      }
    }
    this.total[sector] = total;
    for (let level = LEVELS - 1, sum = 0; level >= 0; level--) {
      sum += histogram[level];
      this.valid[base + level] += sum;
    }
  }

  /** Counts a sector that cannot be read, or is zeroes. */
  skip(sector: number, isUnread: boolean): void {
    this.valid.fill(0, sector * LEVELS, (sector + 1) * LEVELS);
    this.total[sector] = isUnread ? 1 : 0;
  }

  /** False where it can be one at no level. */
  #countCompressed(high: number, low: number, base: number): boolean {
    let isOne = false;
    for (let level = 0; level < LEVELS; level++) {
      const offsetBits = 38 - MIN_CLUSTER_BITS - level;
      const host = (high & (2 ** offsetBits - 1)) * HIGH_WORD + low;
      const bytes = (((high & 0x3fff_ffff) >>> offsetBits) + 1) * SECTOR - (low % SECTOR);
      if (host < SECTOR * 2 ** level || host + bytes - this.#fileBytes >= SECTOR) continue;
      this.valid[base + level]++;
      isOne = true;
    }
    return isOne;
  }

  /** Joins neighbours, of `units` units, to those of the next level. */
  halve(units: number): void {
    for (let unit = 0; unit < units / 2; unit++) {
      this.total[unit] = this.total[2 * unit] + this.total[2 * unit + 1];
      for (let level = 0; level < LEVELS; level++) {
        this.valid[unit * LEVELS + level] =
          this.valid[2 * unit * LEVELS + level] + this.valid[(2 * unit + 1) * LEVELS + level];
      }
    }
  }
}

/** The largest cluster size that an offset is a multiple of, as a level. */
function levelOf(host: number): number {
  const low = host % HIGH_WORD;
  if (low === 0) return LEVELS - 1;
  const bits = 31 - Math.clz32(low & -low);
  return Math.min(bits - MIN_CLUSTER_BITS, LEVELS - 1);
}

/**
 * Looks for tables in `file`. `clusterBits`: it is known; null: all are tried. `extendedL2`: the entries are extended ones. `progress` is called with the bytes of the file that were looked at. Rejects
 * where the caller gave up.
 */
export async function findTables(
  file: Child,
  clusterBits: number | null,
  extendedL2: boolean,
  progress: (done: number) => void,
): Promise<FoundTables> {
  const luks: number[] = [];
  const all = Array.from({ length: LEVELS }, (_, level) => new Candidates(level));
  const counts = new BlockCounts(file.length, entryBytes({ extendedL2 }));
  const block = new Uint8Array(BLOCK_BYTES);
  const view = viewOf(block);
  const unread = new Uint8Array(BLOCK_SECTORS);
  for (let at = 0; at < file.length; ) {
    const hole = await holeAt(file, at);
    if (hole > 0) {
      at += hole;
      continue;
    }
    unread.fill(0);
    await readWhatCan(file, at, block, (from, to) => unread.fill(1, Math.floor(from / SECTOR), Math.ceil(to / SECTOR)));
    for (let sector = 0; sector < BLOCK_SECTORS; sector++) {
      const begin = sector * SECTOR;
      if (unread[sector] === 1) counts.skip(sector, true);
      else counts.count(view, begin);
      const isLuks = view.getUint32(begin) === LUKS_MAGIC[0] && view.getUint32(begin + 4) === LUKS_MAGIC[1];
      if (isLuks && luks.length < MAX_CANDIDATES) luks.push(at + begin);
    }
    for (let level = 0; level < LEVELS; level++) {
      const units = BLOCK_SECTORS / 2 ** level;
      if (clusterBits === null || clusterBits === MIN_CLUSTER_BITS + level)
        collect(all[level], counts, level, units, at);
      counts.halve(units);
    }
    at += BLOCK_BYTES;
    progress(Math.min(at, file.length));
  }
  const l1: FoundL1[] = [];
  for (const [level, candidates] of all.entries()) {
    if (candidates.overflowed) continue;
    for (const one of await findL1(file, candidates, MIN_CLUSTER_BITS + level)) l1.push(one);
  }
  return { l1: l1.sort(better), luks };
}

/** Whole blocks from `at` on that are a hole; 0 where there is none, or nobody knows. */
async function holeAt(file: Child, at: number): Promise<number> {
  try {
    const status = await file.blockStatus(at, file.length - at);
    if (!status.zero) return 0;
    return at + status.length === file.length ? status.length : status.length - (status.length % BLOCK_BYTES);
  } catch (cause) {
    refuseToGoOn(cause);
    return 0;
  }
}

function collect(candidates: Candidates, counts: BlockCounts, level: number, units: number, at: number): void {
  for (let unit = 0; unit < units; unit++) {
    const valid = counts.valid[unit * LEVELS + level];
    if (valid > 0 && valid * 4 >= counts.total[unit] * 3) candidates.add(at + unit * candidates.clusterSize, valid);
  }
}

/** By what they reach. A larger cluster size reaches as much as a smaller one only where it is right, or the disk is nearly empty. */
function better(a: FoundL1, b: FoundL1): number {
  return b.score - a.score || b.clusterBits - a.clusterBits || b.copied - a.copied || a.offset - b.offset;
}

/** The L1 tables that reach candidates of this cluster size. */
async function findL1(file: Child, candidates: Candidates, clusterBits: number): Promise<FoundL1[]> {
  const { clusterSize } = candidates;
  const found: FoundL1[] = [];
  const bytes = new Uint8Array(Math.max(clusterSize, READ_BYTES));
  let [readFrom, readTo] = [0, 0];
  let reached = new Set<number>();
  for (let index = 0; index < candidates.count; index++) {
    const offset = candidates.offsets[index];
    if (offset >= readTo) {
      readFrom = offset;
      readTo = candidates.endOfRun(index, bytes.length);
      await readWhatCan(file, readFrom, bytes.subarray(0, readTo - readFrom), () => undefined);
    }
    const part = reachedBy(viewOf(bytes.subarray(offset - readFrom, offset - readFrom + clusterSize)), candidates);
    if (part === null) continue;
    const last = found.at(-1);
    const end = last === undefined ? 0 : last.offset + Math.ceil((last.entries * 8) / clusterSize) * clusterSize;
    const isNext =
      last !== undefined &&
      offset + clusterSize - last.offset <= MAX_L1_BYTES &&
      !isCopyOf(part, reached) &&
      (await isEmpty(file, end, offset, clusterSize));
    const table = isNext ? last : { clusterBits, offset, entries: 0, score: 0, copied: 0 };
    if (!isNext) {
      found.push(table);
      reached = new Set();
    }
    table.entries = (offset - table.offset) / 8 + part.entries;
    table.copied += part.copied;
    for (const [target, entries] of part.targets) {
      if (reached.has(target)) continue;
      reached.add(target);
      table.score += entries;
    }
  }
  return found;
}

/** It reaches what was reached before: it is the table of a snapshot. */
function isCopyOf({ targets }: Part, reached: ReadonlySet<number>): boolean {
  let again = 0;
  for (const target of targets.keys()) if (reached.has(target)) again++;
  return again * 2 >= targets.size;
}

/** There are zeroes alone from `end` to `offset`, and not too many of them. */
async function isEmpty(file: Child, end: number, offset: number, clusterSize: number): Promise<boolean> {
  if (offset < end || offset - end > MAX_GAP_CLUSTERS * clusterSize) return false;
  const bytes = new Uint8Array(clusterSize);
  for (let at = end; at < offset; at += clusterSize) {
    await readWhatCan(file, at, bytes, () => undefined);
    if (bytes.some((byte) => byte !== 0)) return false;
  }
  return true;
}

interface Part {
  entries: number;
  copied: number;
  targets: Map<number, number>;
}

/** What a cluster reaches as a part of an L1 table; null where it is none. */
function reachedBy(table: DataView, candidates: Candidates): Part | null {
  const targets = new Map<number, number>();
  let [misses, entries, copied] = [0, 0, 0];
  for (let at = 0; at < table.byteLength; at += 8) {
    const high = table.getUint32(at);
    const low = table.getUint32(at + 4);
    if (high === 0 && low === 0) continue;
    const host = hostIn(high, low);
    const count = isCompressed(high) || isZero(low) ? 0 : candidates.entriesAt(host);
    entries = at / 8 + 1;
    if (count === 0) {
      if (++misses > 8 && misses > targets.size * 2) return null;
      continue;
    }
    if (isCopied(high)) copied++;
    targets.set(host, count);
  }
  return targets.size > 0 && targets.size >= misses ? { entries, copied, targets } : null;
}
