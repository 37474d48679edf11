// The codec of extended L2 table entries (specification: "Extended L2 Entries"). A cluster has 32 subclusters, which lie one behind the other in its host
// cluster, and are in use or not one by one:
//
//   bytes  0 ........ 7    8 ............... 11     12 ............. 15
//          as ordinary,    bit n: subcluster n      bit n: subcluster n
//          no zero flag    reads as zeroes          lies in the host cluster
//
//   zeroes  data    subcluster n
//   0       0       is not allocated: reads as the backing node does (with a host cluster, it has its place already)
//   0       1       is data at host offset + n * size
//   1       0       reads as zeroes
//   1       1       invalid, as data without a host cluster is
//
// The zero flag of an ordinary entry, bit 0 of the first word, is not looked at: QEMU does not, either.
//
// A compressed cluster has no subclusters; the second word is not used then.

import { HIGH_WORD } from '../../../util/bytes.js';
import {
  BELOW,
  COPIED,
  hostIn,
  isCompressed,
  isCopied,
  Kind,
  type KindNumber,
  L2Codec,
  type L2Entry,
  MISS,
  ZEROES,
} from './l2-codec.js';
import { clearFrom, setFrom } from './subclusters.js';
import type { TableMath } from './table-math.js';
import { EXTENDED_L2_ENTRY_BYTES, type Geometry, type HostOffset, plus, SUBCLUSTERS } from './types.js';

const ALL = 0xffff_ffff;

/** The codec of an image's L2 tables. `isExternal`: of host offsets in an external data file. */
export function makeL2Codec(
  { version, clusterBits, extendedL2 }: Geometry,
  math: TableMath,
  isExternal = false,
): L2Codec {
  if (extendedL2) return new ExtendedL2Codec(clusterBits, math, isExternal);
  return new L2Codec(version, clusterBits, math, isExternal);
}

/** Which subclusters of the entry at byte `at` read as zeroes, and which are data. */
export function zeroesIn(view: DataView, at: number): number {
  return view.getUint32(at + 8);
}

export function dataIn(view: DataView, at: number): number {
  return view.getUint32(at + 12);
}

export class ExtendedL2Codec extends L2Codec {
  override readonly entryBytes = EXTENDED_L2_ENTRY_BYTES;
  override readonly subclusters = SUBCLUSTERS;
  override readonly all = ALL;
  readonly #subclusterSize: number;

  constructor(clusterBits: number, math: TableMath, isExternal = false) {
    super(3, clusterBits, math, isExternal);
    this.#subclusterSize = this.clusterSize / SUBCLUSTERS;
  }

  // ---- reading ------------------------------------------------------------------------------------------------

  /**
   * Hot path: the host offset of the cluster where all `wanted` subclusters are data, BELOW where all are unallocated, ZEROES where all read as zeroes, MISS
   * for all else. With `owned`, the offset only where the cluster may be written in place. The offset is not checked.
   */
  directSubclusters(view: DataView, slot: number, wanted: number, owned: boolean): number {
    const at = slot * EXTENDED_L2_ENTRY_BYTES;
    const high = view.getUint32(at);
    if (isCompressed(high)) return MISS;
    const zeroes = view.getUint32(at + 8);
    const data = view.getUint32(at + 12);
    const host = hostIn(high, view.getUint32(at + 4));
    if (this.#isWrong(high, host, zeroes, data)) return MISS;
    if ((wanted & ~data) === 0) return owned && !isCopied(high) ? MISS : host;
    if ((wanted & ~zeroes) === 0) return ZEROES;
    return (wanted & (zeroes | data)) === 0 ? BELOW : MISS;
  }

  /** True where an ordinary cluster's bitmap contradicts itself, or where there is data without a host cluster. */
  #isWrong(high: number, host: number, zeroes: number, data: number): boolean {
    return (zeroes & data) !== 0 || (data !== 0 && !this.#hasPlace(high, host));
  }

  /** An ordinary entry has a host cluster. */
  #hasPlace(high: number, host: number): boolean {
    return host !== 0 || this.pointsToStart(high);
  }

  override directHost(view: DataView, slot: number, owned: boolean): number {
    return this.directSubclusters(view, slot, ALL, owned);
  }

  override kind(view: DataView, slot: number): KindNumber {
    const at = slot * EXTENDED_L2_ENTRY_BYTES;
    const high = view.getUint32(at);
    const low = view.getUint32(at + 4);
    if (isCompressed(high)) {
      const end = this.compressedHost(high, low) + this.compressedBytes(high, low);
      return this.isExternal || end > Number.MAX_SAFE_INTEGER ? Kind.bad : Kind.compressed;
    }
    const host = hostIn(high, low);
    if (host % this.clusterSize !== 0 || host > Number.MAX_SAFE_INTEGER - this.clusterSize) return Kind.bad;
    const zeroes = zeroesIn(view, at);
    const data = dataIn(view, at);
    if (this.#isWrong(high, host, zeroes, data)) return Kind.bad;
    if (!this.#hasPlace(high, host))
      return zeroes === 0 ? Kind.unallocated : zeroes === ALL ? Kind.zeroPlain : Kind.mixed;
    return data === ALL ? Kind.normal : zeroes === ALL ? Kind.zeroAllocated : Kind.mixed;
  }

  override hasWrongBitmap(view: DataView, slot: number): boolean {
    const at = slot * EXTENDED_L2_ENTRY_BYTES;
    const high = view.getUint32(at);
    const host = hostIn(high, view.getUint32(at + 4));
    return !isCompressed(high) && this.#isWrong(high, host, zeroesIn(view, at), dataIn(view, at));
  }

  override saysZeroes(view: DataView, slot: number): boolean {
    return zeroesIn(view, slot * EXTENDED_L2_ENTRY_BYTES) === ALL;
  }

  override host(view: DataView, slot: number): HostOffset {
    const at = slot * EXTENDED_L2_ENTRY_BYTES;
    const high = view.getUint32(at);
    const low = view.getUint32(at + 4);
    return isCompressed(high) ? this.compressedHost(high, low) : hostIn(high, low);
  }

  override decode(view: DataView, slot: number): L2Entry {
    const at = slot * EXTENDED_L2_ENTRY_BYTES;
    const high = view.getUint32(at);
    const low = view.getUint32(at + 4);
    const kind = this.kind(view, slot);
    if (isCompressed(high)) return this.decodeCompressed(kind, high, low);
    const host = hostIn(high, low);
    const bytes = this.#hasPlace(high, host) ? this.clusterSize : 0;
    return { kind, host, bytes, copied: isCopied(high), data: dataIn(view, at), zeroes: zeroesIn(view, at) };
  }

  override kindAt(view: DataView, index: number): KindNumber {
    const slot = Math.floor(index / SUBCLUSTERS);
    const kind = this.kind(view, slot);
    return kind === Kind.mixed ? this.#kindIn(view, slot, index % SUBCLUSTERS) : kind;
  }

  /** Of subcluster `number` of an ordinary, valid entry. */
  #kindIn(view: DataView, slot: number, number: number): KindNumber {
    const at = slot * EXTENDED_L2_ENTRY_BYTES;
    const bit = 1 << number;
    if ((dataIn(view, at) & bit) !== 0) return Kind.normal;
    const zero = (zeroesIn(view, at) & bit) !== 0;
    if (!this.#hasPlace(view.getUint32(at), this.host(view, slot))) return zero ? Kind.zeroPlain : Kind.unallocated;
    return zero ? Kind.zeroAllocated : Kind.preallocated;
  }

  override hostAt(view: DataView, index: number): HostOffset {
    const number = index % SUBCLUSTERS;
    return plus(this.host(view, (index - number) / SUBCLUSTERS), number * this.#subclusterSize);
  }

  override run(view: DataView, index: number, max: number): number {
    const kind = this.kindAt(view, index);
    let number = index % SUBCLUSTERS;
    let slot = (index - number) / SUBCLUSTERS;
    if (kind === Kind.compressed || kind === Kind.bad) return Math.min(max, SUBCLUSTERS - number);
    const placed = kind === Kind.normal || kind === Kind.zeroAllocated || kind === Kind.preallocated;
    let host = this.host(view, slot);
    let count = 0;
    for (;;) {
      const here = this.#alike(view, slot, number, kind);
      count += here;
      if (number + here < SUBCLUSTERS || count >= max) return Math.min(count, max);
      slot++;
      number = 0;
      if (kind === Kind.unallocated) {
        const empty = this.emptyRun(view, slot, Math.ceil((max - count) / SUBCLUSTERS));
        count += empty * SUBCLUSTERS;
        slot += empty;
        if (count >= max) return max;
      }
      const next = this.kindAt(view, slot * SUBCLUSTERS);
      if (next !== kind) return count;
      const nextHost = this.host(view, slot);
      if (placed && nextHost !== host + this.clusterSize) return count;
      host = nextHost;
    }
  }

  /** How many subclusters of the entry are of that kind, from `number` on, which is. */
  #alike(view: DataView, slot: number, number: number, kind: KindNumber): number {
    const at = slot * EXTENDED_L2_ENTRY_BYTES;
    if (kind === Kind.normal) return setFrom(dataIn(view, at), number);
    if (kind === Kind.unallocated || kind === Kind.preallocated) {
      return clearFrom(dataIn(view, at) | zeroesIn(view, at), number, SUBCLUSTERS);
    }
    return setFrom(zeroesIn(view, at), number);
  }

  override copied(view: DataView, slot: number): boolean {
    return isCopied(view.getUint32(slot * EXTENDED_L2_ENTRY_BYTES));
  }

  // ---- writing ------------------------------------------------------------------------------------------------

  override put(view: DataView, slot: number, host: HostOffset, copied: boolean, data: number, zeroes: number): void {
    const high = (Math.floor(host / HIGH_WORD) | (copied ? COPIED : 0)) >>> 0;
    putWords(view, slot, high, host % HIGH_WORD, zeroes, data);
  }

  override putPreallocated(view: DataView, slot: number, host: HostOffset): void {
    this.put(view, slot, host, true, 0, 0);
  }

  override putPreallocatedRun(view: DataView, slot: number, count: number, host: HostOffset): void {
    for (let i = 0; i < count; i++) this.putPreallocated(view, slot + i, plus(host, i * this.clusterSize));
  }

  override putUnallocated(view: DataView, slot: number): void {
    putWords(view, slot, 0, 0, 0, 0);
  }

  override putNormal(view: DataView, slot: number, host: HostOffset): void {
    this.put(view, slot, host, true, ALL, 0);
  }

  override mendBitmap(view: DataView, slot: number): boolean {
    const at = slot * EXTENDED_L2_ENTRY_BYTES;
    const zeroes = zeroesIn(view, at);
    const data = dataIn(view, at);
    if ((zeroes | data) === 0) return false;
    const high = view.getUint32(at);
    if (isCompressed(high)) putBitmap(view, at, 0, 0);
    else if (data !== 0 && !this.#hasPlace(high, this.host(view, slot))) putBitmap(view, at, (zeroes | data) >>> 0, 0);
    else if ((zeroes & data) !== 0) putBitmap(view, at, (zeroes & ~data) >>> 0, data);
    else return false;
    return true;
  }

  override putLost(view: DataView, slot: number): void {
    const at = slot * EXTENDED_L2_ENTRY_BYTES;
    const lost = isCompressed(view.getUint32(at)) ? ALL : dataIn(view, at);
    putWords(view, slot, 0, 0, (zeroesIn(view, at) | lost) >>> 0, 0);
  }

  override moveNormal(view: DataView, slot: number, host: HostOffset): void {
    const at = slot * EXTENDED_L2_ENTRY_BYTES;
    this.put(view, slot, host, true, dataIn(view, at), zeroesIn(view, at));
  }

  override putZero(view: DataView, slot: number): void {
    putWords(view, slot, 0, 0, ALL, 0);
  }

  override putZeroAllocated(view: DataView, slot: number, host: HostOffset): void {
    this.put(view, slot, host, true, 0, ALL);
  }

  override putCompressed(view: DataView, slot: number, host: HostOffset, length: number): void {
    putWords(view, slot, this.compressedHigh(host, length), host % HIGH_WORD, 0, 0);
  }
}

function putWords(view: DataView, slot: number, high: number, low: number, zeroes: number, data: number): void {
  const at = slot * EXTENDED_L2_ENTRY_BYTES;
  view.setUint32(at, high);
  view.setUint32(at + 4, low);
  putBitmap(view, at, zeroes, data);
}

/** Of the entry at byte `at`. */
function putBitmap(view: DataView, at: number, zeroes: number, data: number): void {
  view.setUint32(at + 8, zeroes);
  view.setUint32(at + 12, data);
}
