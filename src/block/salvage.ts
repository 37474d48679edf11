// What the salvage of a damaged image is told, and what it tells: the ranges of the disk that are lost, those that are doubtful, and what was assumed.
//
//   lost       could not be read: zeroes in the target
//   doubtful   was read, but what says where it lies contradicts itself
//
// Ranges are collected in numbers, four a range, since a badly damaged image has very many of them.

import type { SnapshotKey } from './internal-snapshots.js';

/** Why a range is lost or doubtful, in words for people. */
const REASONS = {
  unreadable: 'the medium cannot be read',
  'table-unreadable': 'the medium cannot be read where its table lies',
  'beyond-end': 'it lies beyond the end of the file',
  'table-beyond-end': 'its table lies beyond the end of the file',
  'bad-entry': 'the table entry is invalid',
  'bad-table-entry': 'the entry of its table is invalid',
  'in-metadata': 'the table entry points into metadata',
  'table-overlap': 'its table lies over other metadata, or over data of the disk',
  'no-table': 'there is no table where one should be',
  undecodable: 'the compressed data is damaged',
  'no-data-file': 'the data file cannot be opened',
  'in-backing-file': 'it is in the backing file, which was not read',
  'backing-unreadable': 'the backing file cannot be read',
  shared: 'other parts of the disk lie at the same place',
  'shared-table': 'its table serves another part of the disk, too',
  'reserved-bits': 'the table entry has bits that no entry has',
  uncounted: 'the refcounts say that there is nothing',
  'perhaps-snapshot': 'its table may be that of an internal snapshot',
  'table-missing': 'no table describes it, but there are tables that belong somewhere',
} as const;

export type SalvageReason = keyof typeof REASONS;

const REASON_NAMES = Object.keys(REASONS) as SalvageReason[];

/** The words for a reason: `the medium cannot be read`. */
export function reasonText(reason: SalvageReason): string {
  return REASONS[reason];
}

/** What a person knows of the image, and its header does not say any more. Sizes and offsets are bytes. */
export interface SalvageHints {
  clusterSize?: number;
  /** Of the disk. */
  size?: number;
  /** Where the L1 table lies in the file. */
  l1Offset?: number;
  /** L2 tables that lie at `host` in the file, and describe the disk from `guest` on. */
  tables?: readonly { guest: number; host: number }[];
  /** An internal snapshot in place of the disk: its ID and name, or one word, which is an ID or else a name. */
  snapshot?: SnapshotKey | string;
}

/** A part of the disk. Offsets and lengths are bytes. */
export interface SalvageRange {
  offset: number;
  length: number;
  reason: SalvageReason;
  /** Where the damage is in the file: the content, or the table that is wrong; null where that is not known. */
  hostOffset: number | null;
}

/** A table that describes a part of the disk, and nothing says which. */
export interface OrphanTable {
  hostOffset: number;
  /** Bytes of the disk that it has a place for. */
  bytes: number;
}

export interface SalvageReport {
  /** Bytes of the disk. */
  size: number;
  clusterSize: number;
  /** In the order of the disk. */
  lost: SalvageRange[];
  lostBytes: number;
  doubtful: SalvageRange[];
  doubtfulBytes: number;
  orphans: OrphanTable[];
  /** Clusters in use by their refcounts that nothing points to: space that was lost, or data whose entries are; null where that is not known. */
  unreferencedClusters: number | null;
  /** What the header should have said and did not, one sentence each. */
  assumptions: string[];
  /** Other remarks. */
  notes: string[];
}

/** Whether everything was read, for certain. */
export function isWhole({ lostBytes, doubtfulBytes, orphans, assumptions }: SalvageReport): boolean {
  return lostBytes === 0 && doubtfulBytes === 0 && orphans.length === 0 && assumptions.length === 0;
}

/** Ranges that are kept apart; further ones are joined to the last of their kind, so that nothing is left out. */
const MAX_RANGES = 1 << 18;
const FIELDS = 4;
/** Bytes: more than any disk has. */
const LARGEST_DISK = 2 ** 64;

export class RangeLog {
  #data = new Float64Array(64 * FIELDS);
  #count = 0;

  /** `host`: -1 where it is not known. */
  add(offset: number, length: number, reason: SalvageReason, host: number): void {
    if (length <= 0) return;
    const data = this.#data;
    const code = REASON_NAMES.indexOf(reason);
    const last = (this.#count - 1) * FIELDS;
    if (this.#count > 0 && data[last] + data[last + 1] === offset && data[last + 2] === code) {
      if (continuesAt(data[last + 3], data[last + 1], host)) {
        data[last + 1] += length;
        return;
      }
    }
    if (this.#count === MAX_RANGES) this.#thin();
    if ((this.#count + 1) * FIELDS > this.#data.length) {
      const grown = new Float64Array(this.#data.length * 2);
      grown.set(this.#data);
      this.#data = grown;
    }
    this.#data.set([offset, length, code, host], this.#count * FIELDS);
    this.#count++;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** In order; what was added twice is there once. */
  ranges(): SalvageRange[] {
    const data = this.#data;
    const order = Array.from({ length: this.#count }, (_, i) => i * FIELDS).sort((a, b) => data[a] - data[b]);
    const ranges: SalvageRange[] = [];
    let end = 0;
    for (const at of order) {
      const cut = Math.max(0, end - data[at]);
      if (cut >= data[at + 1]) continue;
      const [offset, length, host] = [data[at] + cut, data[at + 1] - cut, data[at + 3]];
      const reason = REASON_NAMES[data[at + 2]];
      const hostOffset = host < 0 ? null : host + (isOfContent(reason) ? cut : 0);
      const last = ranges.at(-1);
      end = offset + length;
      if (last !== undefined && last.reason === reason && last.offset + last.length === offset) {
        if (continuesAt(last.hostOffset ?? -1, last.length, hostOffset ?? -1)) {
          last.length += length;
          continue;
        }
      }
      ranges.push({ offset, length, reason, hostOffset });
    }
    return ranges;
  }

  /** Joins neighbours whose places in the file differ; where that is not enough, ranges with gaps between them, and at last those of different reasons. */
  #thin(): void {
    const all = this.ranges();
    for (let gap = 0; ; gap = Math.max(512, gap * 4)) {
      this.#count = 0;
      for (const { offset, length, reason, hostOffset } of all) {
        const last = (this.#count - 1) * FIELDS;
        const end = this.#count === 0 ? 0 : this.#data[last] + this.#data[last + 1];
        const isAlike = this.#data[last + 2] === REASON_NAMES.indexOf(reason) || gap > LARGEST_DISK;
        if (this.#count > 0 && isAlike && offset - end <= gap) {
          this.#data[last + 1] = offset + length - this.#data[last];
          continue;
        }
        this.#data.set([offset, length, REASON_NAMES.indexOf(reason), hostOffset ?? -1], this.#count * FIELDS);
        this.#count++;
      }
      if (this.#count <= MAX_RANGES / 2) return;
    }
  }
}

/** Ranges whose place in the file is that of their content, byte for byte. */
function isOfContent(reason: SalvageReason): boolean {
  return reason === 'unreadable' || reason === 'beyond-end' || reason === 'shared' || reason === 'in-metadata';
}

/** A range whose place is `host` goes on from one at `before` of `length` bytes. A table that is damaged has one place for all that it describes. */
function continuesAt(before: number, length: number, host: number): boolean {
  return before < 0 ? host < 0 : host === before || host === before + length;
}

/** What is found while an image is salvaged. */
export class SalvageLog {
  lost = new RangeLog();
  doubtful = new RangeLog();
  readonly orphans: OrphanTable[] = [];
  readonly assumptions: string[] = [];
  readonly notes: string[] = [];
  unreferencedClusters: number | null = null;

  /** What was found of the disk was found by a wrong table. */
  forgetRanges(): void {
    this.lost = new RangeLog();
    this.doubtful = new RangeLog();
  }

  report(size: number, clusterSize: number): SalvageReport {
    const lost = this.lost.ranges();
    const doubtful = this.doubtful.ranges();
    return {
      size,
      clusterSize,
      lost,
      lostBytes: bytesOf(lost),
      doubtful,
      doubtfulBytes: bytesOf(doubtful),
      orphans: this.orphans,
      unreferencedClusters: this.unreferencedClusters,
      assumptions: this.assumptions,
      notes: this.notes,
    };
  }
}

function bytesOf(ranges: readonly SalvageRange[]): number {
  return ranges.reduce((sum, { length }) => sum + length, 0);
}
