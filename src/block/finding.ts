// What a check of an image's metadata finds. A finding is a record; `finding-text.ts` says how it becomes text.

/** A whole number; where a number cannot hold it exactly, `0x` and its hexadecimal digits. */
export type Exact = number | Hex;

/** `0x`, and hexadecimal digits. */
export type Hex = `0x${string}`;

/** The value of `digits` as a number, where a number holds it exactly. */
export function exact(digits: Hex): Exact {
  const number = Number(digits);
  return BigInt(number) === BigInt(digits) ? number : digits;
}

/**
 * What was found; stable. A format whose images can be wrong in other ways has names of its own beside these.
 *
 * - `refcount-too-low`: the cluster is used more often than its refcount says: it may be overwritten
 * - `leaked-cluster`: the cluster is used less often than its refcount says: it is lost space
 * - `refcount-unreadable`: the refcount cannot be read: an I/O error, or its block is not at a cluster's begin
 * - `too-many-references`: the cluster is used more often than a refcount can say
 * - `copied-flag`: the flag "refcount is one" of an entry is not what the refcount says
 * - `compressed-copied-flag`: that flag is set for compressed data
 * - `compressed-in-data-file`: an entry says compressed data, and the content lies in an external data file
 * - `not-at-guest-offset`: an entry points to another place of an external data file than the guest's own
 * - `subcluster-bitmap`: an entry's bitmap of subclusters contradicts itself, or the entry
 * - `reserved-bits`: an entry has bits set that must be zero
 * - `unaligned`: an entry points to no cluster's begin
 * - `beyond-end-of-file`: something in use lies behind the end of the file
 * - `refcount-block-outside`: the refcount table points behind the end of the file
 * - `refcount-block-shared`: a refcount block is used for something else, too
 * - `snapshot-incomplete`: the entry of an internal snapshot lacks fields that the version demands
 * - `snapshot-extra-data`: the entry of an internal snapshot has more extra data than the limit
 * - `snapshots-unreadable`: the table of the internal snapshots cannot be read to its end
 * - `snapshot-l1-unaligned`, `snapshot-l1-too-large`, `snapshot-l1-in-header`: a snapshot's L1 table can be none
 * - `bitmap-unreadable`: a stored bitmap, or all of them, cannot be read
 */
export type FindingKind =
  | 'refcount-too-low'
  | 'leaked-cluster'
  | 'refcount-unreadable'
  | 'too-many-references'
  | 'copied-flag'
  | 'compressed-copied-flag'
  | 'compressed-in-data-file'
  | 'not-at-guest-offset'
  | 'subcluster-bitmap'
  | 'reserved-bits'
  | 'unaligned'
  | 'beyond-end-of-file'
  | 'refcount-block-outside'
  | 'refcount-block-shared'
  | 'snapshot-incomplete'
  | 'snapshot-extra-data'
  | 'snapshots-unreadable'
  | 'snapshot-l1-unaligned'
  | 'snapshot-l1-too-large'
  | 'snapshot-l1-in-header'
  | 'bitmap-unreadable'
  | (string & {});

/** One fault of an image's metadata. What is not known, or has no meaning for the kind, is left out. */
export interface CheckFinding {
  kind: FindingKind;
  /** `corruption`: data may be wrong, or become so. `leak`: lost space. `check-error`: what kept the check from looking further. */
  severity: 'corruption' | 'leak' | 'check-error';
  /** The table whose entry is at fault: `l1`, `l2`, `refcount-table`. */
  table?: string;
  /** Name of the file that the table lies in, where an image has several that have tables. */
  extent?: string;
  /** Index of the entry in its table. */
  index?: number;
  /** The entry as the table has it. */
  entry?: Hex;
  /** What the entry is for: `preallocated` is a cluster that reads as zeroes, `none` is no cluster. */
  content?: 'data' | 'preallocated' | 'compressed' | 'none';
  /** Number of the host cluster. */
  cluster?: number;
  /** What the finding is about, or what the entry points to: bytes in the file. */
  hostOffset?: Exact;
  /** Bytes from `hostOffset` on. */
  length?: number;
  /** First byte of the guest's disk that the entry maps. */
  guestOffset?: number;
  /** What the refcount is. */
  refcount?: Exact;
  /** How often the cluster is referred to: what its refcount should be. */
  references?: number;
  /** ID and name of an internal snapshot. */
  snapshot?: string;
  /** Number of entries: of a table, or those that cannot be read. */
  entries?: number;
  /** Why something cannot be read. */
  reason?: string;
  /** A repair was asked for that is for this. */
  repairs?: true;
}
