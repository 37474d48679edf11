// The state that the steps of a consistency check share: the image, the current window, the result so far; and how a reference is counted.

import type { CheckResult } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import type { CheckFinding, Exact } from '../../../block/finding.js';
import { L2Codec } from './l2-codec.js';
import type { RefcountTally } from './refcount-tally.js';
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
  /** The content lies in an external data file, where nothing is counted. */
  isExternal?: boolean;
  /** Other space in use, in bytes: bitmaps. */
  regions?: readonly { offset: HostOffset; length: number }[];
}

/** A finding, before its severity is added. */
export type Fault = Omit<CheckFinding, 'severity'>;

export class CheckState {
  readonly file: Child;
  readonly layout: CheckLayout;
  readonly #report: (finding: CheckFinding) => void;
  readonly clusterBytes: number;
  readonly codec: L2Codec;
  readonly result: CheckResult;
  /** Largest count that the refcount width can hold. */
  readonly refcountMax: number;
  /** The raw tables, big-endian. */
  l1 = new DataView(new ArrayBuffer(0));
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

  constructor(file: Child, layout: CheckLayout, report: (finding: CheckFinding) => void) {
    this.file = file;
    this.layout = layout;
    this.#report = report;
    this.clusterBytes = 2 ** layout.clusterBits;
    this.codec = new L2Codec(layout.version, layout.clusterBits, layout.isExternal);
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
    if (offset + size - this.file.length >= clusterBytes) {
      this.corruption({ kind: 'beyond-end-of-file', hostOffset: exactOffset, length: size });
      return;
    }
    const first = Math.floor(offset / clusterBytes) as ClusterIndex;
    const last = Math.floor((offset + size - 1) / clusterBytes);
    for (let cluster = first; cluster <= last; cluster = plus(cluster, 1)) this.addReference(cluster);
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
      this.corruptionHere({ kind: 'too-many-references', cluster, hostOffset: cluster * this.clusterBytes });
      return;
    }
    tally.addReference(cluster);
  }

  /** Reports a corruption that the walk for every window finds: only once. */
  corruption(fault: Fault): void {
    if (this.first) this.corruptionHere(fault);
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
