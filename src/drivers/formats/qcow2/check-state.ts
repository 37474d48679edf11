// The state that the steps of a consistency check share: the image, the current window, the result so far; and how a reference is counted.

import type { CheckResult } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import type { CheckFinding, Exact } from '../../../block/finding.js';
import { geometryOf } from './header.js';
import type { L2Codec } from './l2-codec.js';
import { makeL2Codec } from './l2-extended.js';
import type { RefcountTally } from './refcount-tally.js';
import { TableMath } from './table-math.js';
import { type ClusterIndex, type HostOffset, plus } from './types.js';

/** Fields of a validated header that the check needs. */
export interface CheckLayout {
  version: 2 | 3;
  clusterBits: number;
  /** Guest bytes. */
  size: number;
  l1TableOffset: HostOffset;
  /** Entries. */
  l1Size: number;
  refcountTableOffset: HostOffset;
  refcountTableClusters: number;
  /** log2 of the refcount width in bits. */
  refcountOrder: number;
  incompatibleFeatures: bigint;
  /** The content lies in an external data file, where nothing is counted. */
  isExternal?: boolean;
  /** 2: LUKS, whose ciphertext depends on the place in the file: data cannot be moved without the key. */
  cryptMethod?: number;
  /** Each cluster lies there where the guest has it. */
  isRaw?: boolean;
  /** The internal snapshots, in the order of their table. */
  snapshots?: readonly CheckedSnapshot[];
  /** The table of the snapshots. */
  snapshotTable?: Region;
  /** What the bitmaps take. */
  bitmapRegions?: readonly Region[];
  /** Set by a repair that gave up bitmaps: where the directory of the others is; null: none are left. */
  bitmapDirectory?: Region | null;
  /** Other space in use: the header of the encryption. */
  regions?: readonly Region[];
}

/** Space in the file, in bytes. */
export interface Region {
  offset: HostOffset;
  length: number;
}

/** What a check needs to know of an internal snapshot. Nothing of it is checked. */
export interface CheckedSnapshot {
  /** Of its L1 table. */
  offset: HostOffset;
  entries: number;
  /** ID and name. */
  label: string;
  /** Its entry has all fields that the version demands. */
  complete: boolean;
}

/** Clusters with too many references that are remembered. */
const MAX_OVERFLOWED = 1 << 16;
/** Clusters behind the end of the file that are remembered one by one. */
const MAX_BEYOND = 1 << 26;
const BEYOND_PAGE_BITS = 15;

/** Which of the clusters behind the end of a file are pointed to, by their distance from the end: a bit each, in pages that are made where there is one. */
class ClustersBeyond {
  readonly #pages = new Map<number, Uint8Array>();

  note(first: number, count: number): void {
    for (let at = Math.max(0, first); at < Math.min(first + count, MAX_BEYOND); at++) {
      const number = at >> BEYOND_PAGE_BITS;
      let page = this.#pages.get(number);
      if (page === undefined) {
        page = new Uint8Array(2 ** BEYOND_PAGE_BITS / 8);
        this.#pages.set(number, page);
      }
      page[(at & (2 ** BEYOND_PAGE_BITS - 1)) >> 3] |= 1 << (at & 7);
    }
  }

  has(distance: number): boolean {
    if (distance < 0 || distance >= MAX_BEYOND) return false;
    const page = this.#pages.get(distance >> BEYOND_PAGE_BITS);
    return page !== undefined && (page[(distance & (2 ** BEYOND_PAGE_BITS - 1)) >> 3] & (1 << (distance & 7))) !== 0;
  }
}

/** An L1 table, whole. */
export interface L1Table {
  offset: HostOffset;
  /** Big-endian. */
  view: DataView<ArrayBuffer>;
  /** Entries from this one on are zero. */
  used: number;
  /** Index of the snapshot whose table it is; null: it is that of the guest's disk as it is now. */
  snapshot: number | null;
}

/** A finding, before its severity is added. */
export type Fault = Omit<CheckFinding, 'severity'>;

export class CheckState {
  readonly file: Child;
  readonly layout: CheckLayout;
  readonly #report: (finding: CheckFinding) => void;
  /** Bytes, when the check began. */
  readonly fileLength: number;
  readonly clusterBytes: number;
  readonly math: TableMath;
  readonly codec: L2Codec;
  readonly result: CheckResult;
  /** Largest count that the refcount width can hold. */
  readonly refcountMax: number;
  /** The active one first. */
  l1Tables: readonly L1Table[] = [];
  /** Raw, big-endian. */
  refcountTable = new DataView(new ArrayBuffer(0));
  /** Clusters of the file, including a last one that is partly beyond its end. */
  clusterCount: number;
  /** The last cluster that is in use. */
  highest = 0;

  /** The window. */
  tally!: RefcountTally;
  /** True for the first window: findings that do not depend on the window are reported and counted only then. */
  first = true;
  /** The copied flag of some entry of the window may be wrong: a second walk is needed (check-flags.ts). */
  flagMismatch = false;
  /** Entries of the refcount table that point to no usable block: outside of the file, not aligned, or to what is used for something else, too. */
  readonly badBlocks = new Set<number>();
  /** Entries of L1 and L2 tables that are wrong by themselves. */
  badEntries = 0;
  /** Clusters that have more references than a refcount can say. */
  readonly overflowed = new Set<ClusterIndex>();
  /** What tables point to behind the end of the file. */
  readonly beyond = new ClustersBeyond();

  constructor(file: Child, layout: CheckLayout, report: (finding: CheckFinding) => void) {
    this.file = file;
    this.layout = layout;
    this.#report = report;
    this.clusterBytes = 2 ** layout.clusterBits;
    this.math = new TableMath(file.node.host.memory);
    this.codec = makeL2Codec(geometryOf(layout), this.math, layout.isExternal);
    this.fileLength = file.length;
    this.clusterCount = Math.ceil(file.length / this.clusterBytes);
    this.refcountMax = layout.refcountOrder >= 5 ? Number.MAX_SAFE_INTEGER : 2 ** (2 ** layout.refcountOrder) - 1;
    this.result = {
      checkErrors: 0,
      corruptions: 0,
      leaks: 0,
      imageEndOffset: 0,
      totalClusters: Math.ceil(layout.size / this.clusterBytes),
      allocatedClusters: 0,
      fragmentedClusters: 0,
      compressedClusters: 0,
    };
  }

  /** Counts a reference to every cluster of the range. `exactOffset` is the offset where a number does not hold it exactly. */
  reference(offset: HostOffset, size: number, exactOffset: Exact = offset): void {
    const { clusterBytes } = this;
    if (size === 0) return;
    if (this.isBeyond(offset, size)) {
      if (this.first) this.badEntries++;
      this.beyond.note(Math.floor(offset / clusterBytes) - this.clusterCount, Math.ceil(size / clusterBytes));
      this.corruption({ kind: 'beyond-end-of-file', hostOffset: exactOffset, length: size });
      return;
    }
    const first = Math.floor(offset / clusterBytes) as ClusterIndex;
    const last = Math.floor((offset + size - 1) / clusterBytes);
    for (let cluster = first; cluster <= last; cluster = plus(cluster, 1)) this.addReference(cluster);
  }

  /** Space beside tables and data. */
  regions(): Region[] {
    const { regions = [], bitmapRegions = [], snapshotTable } = this.layout;
    return [...regions, ...bitmapRegions, ...(snapshotTable === undefined ? [] : [snapshotTable])];
  }

  /** A range ends a cluster or more behind the end of the file. */
  isBeyond(offset: HostOffset, size: number): boolean {
    return offset + size - this.fileLength >= this.clusterBytes;
  }

  /** Guest offset of the cluster that the entry at byte `position` of L2 table `l1Index` maps. */
  guestOffset(l1Index: number, position: number): number {
    return ((l1Index * this.clusterBytes + position) / this.codec.entryBytes) * this.clusterBytes;
  }

  /** Counts a reference to `cluster`, where it is in the window. */
  addReference(cluster: ClusterIndex): void {
    const { tally } = this;
    const index = cluster - tally.start;
    if (index < 0 || index >= tally.size) return;
    if (cluster >= this.clusterCount) this.clusterCount = cluster + 1;
    if (tally.references[index] >= this.refcountMax && tally.referencesOf(cluster) >= this.refcountMax) {
      if (this.overflowed.size < MAX_OVERFLOWED) this.overflowed.add(cluster);
      this.corruptionHere({ kind: 'too-many-references', cluster, hostOffset: cluster * this.clusterBytes });
      return;
    }
    tally.addReference(cluster);
  }

  /** Reports a corruption that the walk for every window finds: only once. */
  corruption(fault: Fault): void {
    if (this.first) this.corruptionHere(fault);
  }

  /** As `corruption`, of an entry of an L1 or L2 table that is wrong by itself. */
  badEntry(fault: Fault): void {
    if (this.first) this.badEntries++;
    this.corruption(fault);
  }

  /** Reports a corruption of the current window. */
  corruptionHere({ kind, ...where }: Fault): void {
    this.result.corruptions++;
    this.#report({ kind, severity: 'corruption', ...where });
  }

  leak({ kind, ...where }: Fault): void {
    this.result.leaks++;
    this.#report({ kind, severity: 'leak', ...where });
  }

  /** Reports an error that kept the check from looking further. */
  checkError({ kind, ...where }: Fault): void {
    this.result.checkErrors++;
    this.#report({ kind, severity: 'check-error', ...where });
  }
}
