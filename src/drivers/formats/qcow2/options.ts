// Runtime options of the driver (QAPI `BlockdevOptionsQcow2`): cache sizes, overlap checks, discards that are passed on.

import type {
  BlockdevDiscardOptions,
  BlockdevOptionsQcow2,
  Qcow2OverlapCheckFlags,
} from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import type { Qcow2Header } from './header.js';
import type { Geometry } from './types.js';

/** QEMU's defaults: bytes of the L2 cache at most, clusters of the refcount cache. */
const MAX_DEFAULT_L2_CACHE_BYTES = 32 << 20;
const DEFAULT_REFCOUNT_CACHE_TABLES = 4;
const MIN_CACHE_TABLES = 2;
/** Seconds. */
const MAX_CLEAN_INTERVAL = 2 ** 32 - 1;
/** Limit of a cache in bytes, whatever the option says. */
const MAX_CACHE_BYTES = 2 ** 31;

export type OverlapKind = Exclude<keyof Qcow2OverlapCheckFlags, 'template'>;

/** The sets of kinds by their names, as QEMU has them. */
const CONSTANT: readonly OverlapKind[] = [
  'main-header',
  'active-l1',
  'refcount-table',
  'snapshot-table',
  'bitmap-directory',
];
const CACHED: readonly OverlapKind[] = [...CONSTANT, 'active-l2', 'refcount-block', 'inactive-l1'];
const ALL: readonly OverlapKind[] = [...CACHED, 'inactive-l2'];
const KINDS_BY_MODE = { none: [], constant: CONSTANT, cached: CACHED, all: ALL } as const;

/** Sizes of the caches, in tables of one cluster each. */
export interface CacheTables {
  l2: number;
  refcount: number;
}

/** Which freed clusters are discarded in the file below. */
export interface DiscardPolicy {
  /** Clusters that are freed by a guest's discard, or by a request to write zeroes that may unmap. */
  request: boolean;
  /** Clusters that are freed by a change of internal snapshots. */
  snapshot: boolean;
  /** Clusters that are freed for any other reason. */
  other: boolean;
  /** What a guest discards, or zeroes, keeps its cluster. */
  keep: boolean;
}

export type DriverOptions = Omit<BlockdevOptionsQcow2, 'file' | 'backing'>;

/** Options that say how an image is used, not where it lies: `DriverDefinition.foreignOptions`. */
export const QCOW2_USE_OPTIONS: readonly string[] = [
  'lazy-refcounts',
  'pass-discard-request',
  'pass-discard-snapshot',
  'pass-discard-other',
  'discard-no-unref',
  'overlap-check',
  'cache-size',
  'l2-cache-size',
  'l2-cache-entry-size',
  'refcount-cache-size',
  'cache-clean-interval',
];

/** Checks the options. One that this driver does not support is an error, and not ignored. Throws `invalid-argument`, `unsupported`. */
export function checkOptions(options: DriverOptions, geometry: Geometry, path: string): void {
  const refuse = (code: 'invalid-argument' | 'unsupported', message: string): never => {
    throw BlockError.at(path, code, message, { operation: 'open' });
  };
  const total = options['cache-size'];
  const l2 = options['l2-cache-size'];
  const refcount = options['refcount-cache-size'];
  if (total !== undefined && l2 !== undefined && refcount !== undefined) {
    refuse('invalid-argument', 'cache-size, l2-cache-size and refcount-cache-size may not be set at the same time');
  }
  if (total !== undefined && (l2 ?? 0) > total) refuse('invalid-argument', 'l2-cache-size may not exceed cache-size');
  if (total !== undefined && (refcount ?? 0) > total) {
    refuse('invalid-argument', 'refcount-cache-size may not exceed cache-size');
  }
  const entry = options['l2-cache-entry-size'];
  if (entry !== undefined && entry !== geometry.clusterSize) {
    refuse('unsupported', `l2-cache-entry-size other than the cluster size (${geometry.clusterSize}) is not supported`);
  }
  const interval = options['cache-clean-interval'] ?? 0;
  if (interval < 0 || interval > MAX_CLEAN_INTERVAL) refuse('invalid-argument', 'Cache clean interval too big');
  if (interval !== 0) {
    refuse('unsupported', 'cache-clean-interval other than 0 is not supported');
  }
  if (options['discard-no-unref'] === true && geometry.version === 2) {
    refuse('invalid-argument', 'discard-no-unref is only supported since qcow2 version 3');
  }
  if (options['lazy-refcounts'] === true && geometry.version === 2) {
    refuse('invalid-argument', 'Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level');
  }
}

/** Sizes of the caches, as QEMU splits them: by default an L2 cache for the whole disk, 32 MiB at most, and four refcount blocks. */
export function cacheTables(options: DriverOptions, geometry: Geometry, header: Qcow2Header): CacheTables {
  const { clusterSize } = geometry;
  const total = options['cache-size'];
  let l2 = options['l2-cache-size'];
  let refcount = options['refcount-cache-size'];
  const needed = Math.max(1, header.l1Size) * clusterSize;
  if (total !== undefined) {
    if (l2 !== undefined) refcount ??= total - l2;
    else if (refcount !== undefined) l2 = total - refcount;
    else {
      const least = DEFAULT_REFCOUNT_CACHE_TABLES * clusterSize;
      l2 = needed + least <= total ? needed : Math.max(0, total - least);
      refcount = total - l2;
    }
  }
  l2 ??= Math.min(needed, MAX_DEFAULT_L2_CACHE_BYTES);
  refcount ??= DEFAULT_REFCOUNT_CACHE_TABLES * clusterSize;
  const tables = (bytes: number): number =>
    Math.max(MIN_CACHE_TABLES, Math.floor(Math.min(bytes, MAX_CACHE_BYTES) / clusterSize));
  return { l2: tables(l2), refcount: tables(refcount) };
}

/** The kinds of metadata that writes are checked against, by the option `overlap-check`. */
export function overlapKinds(options: DriverOptions): ReadonlySet<OverlapKind> {
  const asked = options['overlap-check'];
  const flags: Qcow2OverlapCheckFlags = typeof asked === 'object' ? asked : {};
  const mode = typeof asked === 'string' ? asked : (flags.template ?? 'cached');
  const kinds = new Set<OverlapKind>(KINDS_BY_MODE[mode]);
  for (const kind of ALL) {
    if (flags[kind] === true) kinds.add(kind);
    if (flags[kind] === false) kinds.delete(kind);
  }
  return kinds;
}

export function discardPolicy(options: DriverOptions, discard: BlockdevDiscardOptions): DiscardPolicy {
  return {
    request: options['pass-discard-request'] ?? discard === 'unmap',
    snapshot: options['pass-discard-snapshot'] ?? true,
    other: options['pass-discard-other'] ?? false,
    keep: options['discard-no-unref'] ?? false,
  };
}
