// Basic types of the qcow2 driver: offsets that the compiler keeps apart, and the sizes that follow from the header.

import type { Brand } from '../../../util/brand.js';

/**
 * Byte offset in the virtual disk. An offset becomes one where a request enters the driver (driver.ts), a host offset where it is read from a
 * table, a cluster where it is allocated; `ImageFile` counts in plain bytes, as every node does.
 */
export type GuestOffset = Brand<number, 'GuestOffset'>;
/** Byte offset in the image file. */
export type HostOffset = Brand<number, 'HostOffset'>;
/** Number of a cluster of the image file: its host offset divided by the cluster size. */
export type ClusterIndex = Brand<number, 'ClusterIndex'>;

/** The offset in a table entry that points nowhere. */
export const NO_HOST = 0 as HostOffset;

export const MIN_CLUSTER_BITS = 9;
export const MAX_CLUSTER_BITS = 21;
/** QEMU's limits, and ours: bytes of an L1 table and of a refcount table. */
export const MAX_L1_BYTES = 32 << 20;
export const MAX_REFCOUNT_TABLE_BYTES = 8 << 20;
export const MAX_BACKING_NAME_BYTES = 1023;
/** Length of an ordinary entry of an L2 table, and of an extended one. */
export const L2_ENTRY_BYTES = 8;
export const EXTENDED_L2_ENTRY_BYTES = 16;
/** Subclusters of a cluster in an image with extended L2 entries. */
export const SUBCLUSTERS = 32;
/** Smallest clusters that an image with extended L2 entries may have: 16 KiB, so subclusters of a sector. */
export const MIN_EXTENDED_CLUSTER_BITS = 14;
/** The unit in which storage tears a write; metadata is written in whole sectors. */
export const SECTOR = 512;

/** Sizes that follow from the header, computed once. */
export interface Geometry {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly clusterSize: number;
  /** The image has extended L2 entries: each cluster has subclusters, which are allocated one by one. */
  readonly extendedL2: boolean;
  /** Subclusters of a cluster; 1 where L2 entries are ordinary: the cluster itself. */
  readonly subclusters: number;
  /** Bytes; what the mapping of one range can differ in from that of its neighbours. */
  readonly subclusterSize: number;
  /** Entries of one L2 table. */
  readonly l2Entries: number;
  /** Guest bytes that one L2 table covers. */
  readonly l2Span: number;
  readonly refcountOrder: number;
  readonly refcountBits: number;
  /** Largest refcount; for 64 bits, the largest that a number holds exactly. */
  readonly refcountMax: number;
  /** Refcounts of one block. */
  readonly blockEntries: number;
}

export function makeGeometry(version: 2 | 3, clusterBits: number, refcountOrder: number, extendedL2 = false): Geometry {
  const clusterSize = 2 ** clusterBits;
  const refcountBits = 1 << refcountOrder;
  const l2Entries = clusterSize / (extendedL2 ? EXTENDED_L2_ENTRY_BYTES : L2_ENTRY_BYTES);
  const subclusters = extendedL2 ? SUBCLUSTERS : 1;
  return {
    version,
    clusterBits,
    clusterSize,
    extendedL2,
    subclusters,
    subclusterSize: clusterSize / subclusters,
    l2Entries,
    l2Span: l2Entries * clusterSize,
    refcountOrder,
    refcountBits,
    refcountMax: refcountBits >= 53 ? Number.MAX_SAFE_INTEGER : 2 ** refcountBits - 1,
    blockEntries: (clusterSize * 8) / refcountBits,
  };
}

/** A range of the virtual disk. */
export interface GuestExtent {
  offset: GuestOffset;
  /** Bytes. */
  length: number;
}

/** `base + distance`, with the type of `base`: plain addition would make it an ordinary number. */
export function plus<T extends GuestOffset | HostOffset | ClusterIndex>(base: T, distance: number): T {
  return (base + distance) as T;
}

/** Host offset of a cluster. */
export function hostOf(cluster: ClusterIndex, { clusterSize }: Geometry): HostOffset {
  return (cluster * clusterSize) as HostOffset;
}

/** The cluster that holds the byte at `host`. */
export function clusterAt(host: HostOffset, { clusterSize }: Geometry): ClusterIndex {
  return Math.floor(host / clusterSize) as ClusterIndex;
}

/** Number of L1 entries that a disk of `size` bytes needs. */
export function l1EntriesFor(geometry: Geometry, size: number): number {
  return Math.ceil(size / geometry.l2Span);
}
