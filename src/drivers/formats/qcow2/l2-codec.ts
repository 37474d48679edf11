// The codec of ordinary L2 table entries, each of which describes one guest cluster (specification: "Cluster mapping"). Every part of the driver, the check
// included, reads and writes entries through this codec; no other code knows their length and bits.
//
//   bit  63       62           61 ..... 56   55 .......... 9   8 .... 1   0
//        copied | compressed = 0 | reserved | host offset     | reserved | zero        an ordinary cluster
//        copied | compressed = 1 | further sectors | host offset in bytes              a compressed one
//
// "Copied" means that the refcount of the host cluster is exactly one, so that it may be written in place. "Further sectors" is the number of 512-byte
// sectors after the first one that the compressed data may extend into. Its width in bits depends on the cluster size.
//
// An extended entry (l2-extended.ts) has a second word of 64 bits for its subclusters. To everybody but the codecs, a cluster with an ordinary entry has one
// subcluster, so that there is one way to read, write and unmap clusters of both. What is asked of a `slot` is about an entry, what is asked of an `index` about one
// subcluster: index = slot * subclusters + number of the subcluster. Bitmaps of subclusters are unsigned numbers, bit n is subcluster n.
//
// The codec keeps nothing between calls. `decode` returns an object; loops over very many entries ask for one property at a time (`kind`,
// `host`), or take the two words of an entry apart themselves with `isCompressed`, `isCopied`, `hostIn` and `hasReservedBits`.

import { type Exact, exact } from '../../../block/finding.js';
import { HIGH_WORD } from '../../../util/bytes.js';
import { wordsToHex } from './pointer-codec.js';
import type { TableMath } from './table-math.js';
import { type HostOffset, L2_ENTRY_BYTES, SECTOR } from './types.js';

/**
 * Kinds of an entry, or of a subcluster, as numbers for the hot path. `bad`: the entry is invalid. `zeroAllocated`: reads as zeroes, and keeps a host
 * cluster. `mixed`: only of an entry, whose subclusters are of several kinds, or `preallocated`, which is only of a subcluster: it is unallocated, but has its place
 * in a host cluster.
 */
export const Kind = {
  unallocated: 0,
  normal: 1,
  compressed: 2,
  zeroPlain: 3,
  zeroAllocated: 4,
  bad: 5,
  mixed: 6,
  preallocated: 7,
} as const;
export type KindNumber = (typeof Kind)[keyof typeof Kind];

/** Results of `directHost` that are not offsets. MISS: the slow path is needed; BELOW: the cluster is unallocated; ZEROES: it has the zero flag. */
export const MISS = -1;
export const BELOW = -2;
export const ZEROES = -3;

export interface L2Entry {
  readonly kind: KindNumber;
  /** Host offset of the content; 0 where there is none. */
  readonly host: HostOffset;
  /** Bytes of the file that the entry refers to at `host`: a cluster, compressed data up to the end of its last sector, or nothing. */
  readonly bytes: number;
  readonly copied: boolean;
  /** Bitmap: the subclusters whose content is at `host`; all of a compressed cluster. */
  readonly data: number;
  /** Bitmap: the subclusters that read as zeroes. */
  readonly zeroes: number;
}

/** The one subcluster of a cluster with an ordinary entry, as a bitmap. */
const WHOLE = 1;

export const COPIED = 0x8000_0000;
const COMPRESSED = 0x4000_0000;
const OFFSET_HIGH = 0x00ff_ffff;
const OFFSET_LOW = 0xffff_fe00;
const RESERVED_HIGH = 0x3f00_0000;
const RESERVED_LOW = 0x0000_01fe;
const ZERO = 1;
/** What two entries of a run have in common, but for their host offsets. */
const RUN_HIGH = COMPRESSED | OFFSET_HIGH;
const RUN_LOW = OFFSET_LOW | ZERO;

export function isCompressed(high: number): boolean {
  return (high & COMPRESSED) !== 0;
}

export function isCopied(high: number): boolean {
  return (high & COPIED) !== 0;
}

/** The zero flag of an ordinary entry. */
export function isZero(low: number): boolean {
  return (low & ZERO) !== 0;
}

/** Host offset in an ordinary entry; 0 for none. Not checked: it may be misaligned, or beyond what a number holds exactly. */
export function hostIn(high: number, low: number): HostOffset {
  return ((high & OFFSET_HIGH) * HIGH_WORD + ((low & OFFSET_LOW) >>> 0)) as HostOffset;
}

/** True where an ordinary entry has bits set that must be zero. */
export function hasReservedBits(high: number, low: number): boolean {
  return (high & RESERVED_HIGH) !== 0 || (low & RESERVED_LOW) !== 0;
}

/** True for an entry with a host cluster that is neither compressed nor wrong in itself, wherever the cluster is. */
export function isOrdinary(high: number, low: number, clusterSize: number): boolean {
  const wrong = (high & (COMPRESSED | RESERVED_HIGH)) | (low & (clusterSize - 1) & ~ZERO);
  return wrong === 0 && ((high & OFFSET_HIGH) | (low & OFFSET_LOW)) !== 0;
}

/** Sets or clears the copied flag of the entry at byte `position` of a table. */
export function setCopied(table: DataView, position: number, copied: boolean): void {
  const high = table.getUint32(position);
  table.setUint32(position, copied ? (high | COPIED) >>> 0 : (high & ~COPIED) >>> 0);
}

/** Clears the bits that must be zero of the ordinary entry at byte `position` of a table. */
export function clearReserved(table: DataView, position: number): void {
  table.setUint32(position, (table.getUint32(position) & ~RESERVED_HIGH) >>> 0);
  table.setUint32(position + 4, (table.getUint32(position + 4) & ~RESERVED_LOW) >>> 0);
}

export class L2Codec {
  /** Length of an entry. */
  readonly entryBytes: number = L2_ENTRY_BYTES;
  /** Subclusters of a cluster. */
  readonly subclusters: number = 1;
  /** Bitmap of all of them. */
  readonly all: number = WHOLE;
  /** Compressed data must end at or before this host offset: an entry cannot hold a larger one. */
  readonly compressedLimit: number;
  protected readonly clusterSize: number;
  readonly #hasZeroFlag: boolean;
  /** Bits of a compressed entry's high word that belong to the offset; those above count the further sectors. */
  readonly #offsetBits: number;
  /** The host offsets are those of an external data file: 0 is one of them, and nothing is compressed. */
  protected readonly isExternal: boolean;
  protected readonly math: TableMath;

  constructor(version: 2 | 3, clusterBits: number, math: TableMath, isExternal = false) {
    this.isExternal = isExternal;
    this.math = math;
    this.clusterSize = 2 ** clusterBits;
    this.#hasZeroFlag = version === 3;
    this.#offsetBits = 38 - clusterBits;
    this.compressedLimit = Math.min(2 ** (32 + this.#offsetBits), 2 ** 56, Number.MAX_SAFE_INTEGER);
  }

  // ---- reading ------------------------------------------------------------------------------------------------

  /**
   * Hot path: the host offset of an ordinary cluster, BELOW where it is unallocated, ZEROES where it has the zero flag, MISS for all else. With
   * `owned`, the host offset only where the cluster may be written in place. The offset is not checked.
   */
  directHost(view: DataView, slot: number, owned: boolean): number {
    const high = view.getUint32(slot * L2_ENTRY_BYTES);
    const low = view.getUint32(slot * L2_ENTRY_BYTES + 4);
    if (isCompressed(high) || (owned && !isCopied(high))) return MISS;
    if (isZero(low)) return this.kind(view, slot) === Kind.bad ? MISS : ZEROES;
    const host = hostIn(high, low);
    return host !== 0 || this.pointsToStart(high) ? host : BELOW;
  }

  /** An entry with the host offset 0 has a cluster: the first one of an external data file. */
  protected pointsToStart(high: number): boolean {
    return this.isExternal && isCopied(high);
  }

  kind(view: DataView, slot: number): KindNumber {
    const high = view.getUint32(slot * L2_ENTRY_BYTES);
    const low = view.getUint32(slot * L2_ENTRY_BYTES + 4);
    if (isCompressed(high)) {
      const end = this.compressedHost(high, low) + this.compressedBytes(high, low);
      return this.isExternal || end > Number.MAX_SAFE_INTEGER ? Kind.bad : Kind.compressed;
    }
    const host = hostIn(high, low);
    if (host % this.clusterSize !== 0 || host > Number.MAX_SAFE_INTEGER - this.clusterSize) return Kind.bad;
    if (!isZero(low)) return host !== 0 || this.pointsToStart(high) ? Kind.normal : Kind.unallocated;
    if (!this.#hasZeroFlag) return Kind.bad;
    return host === 0 ? Kind.zeroPlain : Kind.zeroAllocated;
  }

  /**
   * True for an ordinary entry that points to another place than `guestOffset`, which it maps. In an external data file that is invalid: each guest cluster
   * lies at its own offset there.
   */
  isElsewhere(view: DataView, slot: number, guestOffset: number): boolean {
    const { host, bytes } = this.decode(view, slot);
    return (host !== 0 || bytes !== 0) && (host as number) !== guestOffset;
  }

  /** True for an entry whose bitmap of subclusters contradicts itself, or the entry; that of a compressed cluster, which should be empty, is not looked at. */
  hasWrongBitmap(_view: DataView, _slot: number): boolean {
    return false;
  }

  /** True where all of an entry reads as zeroes by itself, whatever it points to. */
  saysZeroes(view: DataView, slot: number): boolean {
    return isZero(view.getUint32(slot * L2_ENTRY_BYTES + 4));
  }

  /** Host offset of what an entry refers to; 0 for none. */
  host(view: DataView, slot: number): HostOffset {
    const high = view.getUint32(slot * L2_ENTRY_BYTES);
    const low = view.getUint32(slot * L2_ENTRY_BYTES + 4);
    return isCompressed(high) ? this.compressedHost(high, low) : hostIn(high, low);
  }

  /** Decodes the entry in `slot`. */
  decode(view: DataView, slot: number): L2Entry {
    const high = view.getUint32(slot * L2_ENTRY_BYTES);
    const low = view.getUint32(slot * L2_ENTRY_BYTES + 4);
    const kind = this.kind(view, slot);
    const copied = isCopied(high);
    if (isCompressed(high)) return this.decodeCompressed(kind, high, low);
    const host = hostIn(high, low);
    const bytes = host !== 0 || kind === Kind.normal ? this.clusterSize : 0;
    return { kind, host, bytes, copied, data: kind === Kind.normal ? WHOLE : 0, zeroes: isZero(low) ? WHOLE : 0 };
  }

  protected decodeCompressed(kind: KindNumber, high: number, low: number): L2Entry {
    const host = this.compressedHost(high, low);
    return { kind, host, bytes: this.compressedBytes(high, low), copied: isCopied(high), data: this.all, zeroes: 0 };
  }

  /** `kind` of one subcluster; that of the entry where it is compressed, or invalid. */
  kindAt(view: DataView, index: number): KindNumber {
    return this.kind(view, index);
  }

  /** Host offset of one subcluster that is ordinary data, or allocated zeroes. */
  hostAt(view: DataView, index: number): HostOffset {
    return this.host(view, index);
  }

  /**
   * Length of the run at `index`, in subclusters, from 1 to `max`: of the same kind, contiguous in the file where they have a place there. A compressed cluster
   * is a run of its own, up to its end.
   */
  run(view: DataView, index: number, max: number): number {
    const slot = index;
    const kind = this.kind(view, slot);
    if (kind === Kind.unallocated) return Math.max(1, this.emptyRun(view, slot, max));
    if (kind === Kind.compressed || kind === Kind.bad) return 1;
    const first = this.host(view, slot);
    const step = kind === Kind.zeroPlain ? 0 : this.clusterSize;
    // An entry whose cluster ends beyond what a number holds is invalid.
    const most = step === 0 ? max : Math.min(max, Math.floor((Number.MAX_SAFE_INTEGER - first) / step));
    return runOf(view, slot, most | 0, step);
  }

  /** The refcount of what an entry refers to is exactly one. */
  copied(view: DataView, slot: number): boolean {
    return isCopied(view.getUint32(slot * L2_ENTRY_BYTES));
  }

  /**
   * How many entries from `slot` on, `max` at most, are unallocated, with no bit set. Large images have millions of them: one look-up of a kind for each
   * took a fifth of a copy of 64 GiB with 2 % in use.
   */
  emptyRun(view: DataView, slot: number, max: number): number {
    const words = this.entryBytes / L2_ENTRY_BYTES;
    return Math.floor(this.math.zeroes(view, slot * this.entryBytes, max * words) / words);
  }

  /** Host offset of a compressed entry. Beyond 2^53 it is rounded. */
  compressedHost(high: number, low: number): HostOffset {
    return ((high & (2 ** this.#offsetBits - 1)) * HIGH_WORD + low) as HostOffset;
  }

  /** Length of the compressed data of an entry, up to the end of its last sector. */
  compressedBytes(high: number, low: number): number {
    return (((high & 0x3fff_ffff) >>> this.#offsetBits) + 1) * SECTOR - (low % SECTOR);
  }

  /** `compressedHost`, exactly. */
  compressedHostExact(high: number, low: number): Exact {
    return exact(`0x${wordsToHex(high & (2 ** this.#offsetBits - 1), low)}`);
  }

  // ---- writing ------------------------------------------------------------------------------------------------

  /**
   * An entry that is not compressed, for the host cluster at `host` (0: none): where its content is `data`, which parts read as zeroes, and whether the cluster
   * is referenced by this entry alone.
   */
  put(view: DataView, slot: number, host: HostOffset, copied: boolean, _data: number, zeroes: number): void {
    const high = (Math.floor(host / HIGH_WORD) | (copied ? COPIED : 0)) >>> 0;
    putWords(view, slot, high, (host % HIGH_WORD) + zeroes);
  }

  /** The cluster at `host`, which nothing else refers to, and which nothing was written to. Where there are subclusters, none is in use. */
  putPreallocated(view: DataView, slot: number, host: HostOffset): void {
    this.putNormal(view, slot, host);
  }

  /** `putPreallocated` for `count` entries from `slot` on, with the clusters that begin at `host`. */
  putPreallocatedRun(view: DataView, slot: number, count: number, host: HostOffset): void {
    this.putPreallocated(view, slot, host);
    this.math.rise(view, slot * L2_ENTRY_BYTES, count, this.clusterSize);
  }

  putUnallocated(view: DataView, slot: number): void {
    putWords(view, slot, 0, 0);
  }

  /** The cluster at `host`, which nothing else refers to. */
  putNormal(view: DataView, slot: number, host: HostOffset): void {
    putWords(view, slot, (Math.floor(host / HIGH_WORD) | COPIED) >>> 0, host % HIGH_WORD);
  }

  /**
   * Corrects the bitmap of subclusters of an entry, where it has one: data without a host cluster reads as zeroes from then on; what is said to be both data and zeroes
   * is data, since that is there. True where something was changed.
   */
  mendBitmap(_view: DataView, _slot: number): boolean {
    return false;
  }

  /** Takes from an entry what it refers to in the file: what was content there reads as zeroes, the rest as before. Version 3 only. */
  putLost(view: DataView, slot: number): void {
    this.putZero(view, slot);
  }

  /** Moves the content of an ordinary entry to the cluster at `host`, which nothing else refers to. */
  moveNormal(view: DataView, slot: number, host: HostOffset): void {
    this.putNormal(view, slot, host);
  }

  /** Lets the entry in `slot` point to `host`, where the same content is, and changes nothing else of it. */
  relocate(view: DataView, slot: number, host: HostOffset): void {
    const at = slot * this.entryBytes;
    const high = view.getUint32(at);
    const low = view.getUint32(at + 4);
    if (isCompressed(high)) this.putCompressed(view, slot, host, this.compressedBytes(high, low));
    else {
      view.setUint32(at, ((high & ~OFFSET_HIGH) | Math.floor(host / HIGH_WORD)) >>> 0);
      view.setUint32(at + 4, ((low & ~OFFSET_LOW) | (host % HIGH_WORD)) >>> 0);
    }
  }

  /** Zeroes, without a host cluster. */
  putZero(view: DataView, slot: number): void {
    putWords(view, slot, 0, ZERO);
  }

  /** Zeroes, with a cluster kept at `host` that nothing else refers to. */
  putZeroAllocated(view: DataView, slot: number, host: HostOffset): void {
    putWords(view, slot, (Math.floor(host / HIGH_WORD) | COPIED) >>> 0, (host % HIGH_WORD) + ZERO);
  }

  /** Sets or clears the "copied" flags of `count` entries from `slot` on, of which none is compressed. */
  putCopiedRun(view: DataView, slot: number, count: number, copied: boolean): void {
    const end = (slot + count) * this.entryBytes;
    for (let at = slot * this.entryBytes; at < end; at += this.entryBytes) {
      const high = view.getInt32(at);
      view.setInt32(at, copied ? high | COPIED : high & ~COPIED);
    }
  }

  /** `length` bytes of compressed data at `host`, which end at or before `compressedLimit`. */
  putCompressed(view: DataView, slot: number, host: HostOffset, length: number): void {
    putWords(view, slot, this.compressedHigh(host, length), host % HIGH_WORD);
  }

  /** The high word of the entry of compressed data. */
  protected compressedHigh(host: HostOffset, length: number): number {
    const sectors = Math.floor((host + length - 1) / SECTOR) - Math.floor(host / SECTOR);
    return COMPRESSED + sectors * 2 ** this.#offsetBits + Math.floor(host / HIGH_WORD);
  }
}

/**
 * How many entries from `slot` on, `most` at most, are alike but for the copied flag and reserved bits, with host offsets that rise by `step`. The first is not compressed.
 * Nothing but small integers: images have millions of entries.
 */
function runOf(view: DataView, slot: number, most: number, step: number): number {
  let at = slot * L2_ENTRY_BYTES;
  const end = at + most * L2_ENTRY_BYTES;
  let high = view.getInt32(at) & RUN_HIGH;
  let low = view.getInt32(at + 4) & RUN_LOW;
  do {
    at += L2_ENTRY_BYTES;
    low = (low + step) | 0;
    // The carry.
    if (low >>> 0 < step) high++;
  } while (at < end && (view.getInt32(at + 4) & RUN_LOW) === low && (view.getInt32(at) & RUN_HIGH) === high);
  return ((at >> 3) - slot) | 0;
}

function putWords(view: DataView, slot: number, high: number, low: number): void {
  view.setUint32(slot * L2_ENTRY_BYTES, high);
  view.setUint32(slot * L2_ENTRY_BYTES + 4, low);
}
