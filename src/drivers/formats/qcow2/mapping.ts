// The mapping from guest to host offsets: the L1 table in memory, and L2 tables in a cache. L2 entries are decoded by l2-codec.ts.
//
//   guest offset = | L1 index | L2 slot | offset in cluster |
//
//   to look up    table = tableSync(index); while undefined: await loadTable(index), and ask again; null: the L1 table points to no L2 table
//                 The table may be used until the next `await`: it may leave the cache then.
//   to change     table = await pinForWrite(index): the table exists, belongs to this image alone (copied flag), and its space is reserved;
//                 `setNormal` and so on change entries; then `table.pins--`
//
// Requests that change a mapping hold the range lock of the image (`Qcow2Image.locks`) for the guest clusters. Changes are written by a commit.

import { assert } from '../../../util/assert.js';
import type { BlockError } from '../../../util/errors.js';
import type { Qcow2Image } from './image.js';
import { BELOW, Kind, type KindNumber, type L2Codec, type L2Entry, MISS } from './l2-codec.js';
import { makeL2Codec } from './l2-extended.js';
import { pointerHex } from './pointer-codec.js';
import { PointerTable } from './pointer-table.js';
import { type Table, TableCache } from './table-cache.js';
import { reserveEntry, reserveTable } from './table-space.js';
import { clusterAt, type GuestOffset, type HostOffset, hostOf, NO_HOST } from './types.js';

/** Of an L2 entry: the host offset, and the flag of compressed clusters (docs/interop/qcow2, "L2 table entry"). */
const L2_HOST_MASK = 0x00fffffffffffe00n;
const L2_COMPRESSED = 1n << 62n;

export class Mapping {
  readonly #image: Qcow2Image;
  readonly l1: PointerTable;
  readonly cache: TableCache;
  readonly codec: L2Codec;
  /** By index: tables that are being created, moved, or reserved. */
  readonly #creating = new Map<number, Promise<void>>();
  readonly #clusterSize: number;
  readonly #l2Span: number;

  constructor(
    image: Qcow2Image,
    cacheTables: number,
    codec = makeL2Codec(image.geometry, image.math, image.data.isExternal),
  ) {
    this.#image = image;
    const { header, geometry } = image;
    this.l1 = new PointerTable(header.l1TableOffset, header.l1Size);
    this.cache = new TableCache(image.memory, geometry.clusterSize, cacheTables);
    this.#clusterSize = geometry.clusterSize;
    this.#l2Span = geometry.l2Span;
    this.codec = codec;
  }

  async load(): Promise<void> {
    await this.#image.file.read(this.l1.offset, this.l1.bytes);
  }

  // ---- the hot path -------------------------------------------------------------------------------------------

  /**
   * The host offset where all of [offset, offset + length) lies contiguously in ordinary clusters, BELOW where all of it is unallocated,
   * ZEROES where all of it has the zero flag, or MISS. With `owned`, an offset only where each cluster may be written in place.
   */
  mapSync(offset: GuestOffset, length: number, owned: boolean): number {
    const index = Math.floor(offset / this.#l2Span);
    const within = offset - index * this.#l2Span;
    if (within + length > this.#l2Span) return MISS;
    const table = this.cache.get(index);
    if (table === undefined) return this.l1.target(index) === 0 ? BELOW : MISS;
    const size = this.#clusterSize;
    const { codec } = this;
    const { view } = table;
    const slot = Math.floor(within / size);
    const lead = within - slot * size;
    const last = slot + Math.ceil((lead + length) / size);
    const host = codec.directHost(view, slot, owned);
    if (host < 0) {
      if (host === MISS) return MISS;
      for (let next = slot + 1; next < last; next++) if (codec.directHost(view, next, owned) !== host) return MISS;
      return host;
    }
    if (host % size !== 0) return MISS;
    if (host + lead + length > this.#image.data.length) return MISS;
    for (let next = slot + 1, expected = host + size; next < last; next++, expected += size) {
      if (codec.directHost(view, next, owned) !== expected) return MISS;
    }
    return host + lead;
  }

  // ---- entries ------------------------------------------------------------------------------------------------

  /** Makes `slot` unallocated. Unlike the others, it may be called on a table that is not pinned, just before the table is removed. */
  setUnallocated(table: Table, slot: number): void {
    this.codec.putUnallocated(table.view, slot);
    this.#markDirty(table, slot, 1);
  }

  /** Points `slot` to the cluster at `host`, which nothing else refers to. */
  setNormal(table: Table, slot: number, host: HostOffset): void {
    this.setNormalRun(table, slot, 1, host);
  }

  /** Points `count` slots from `slot` on to the clusters that begin at `host`, which nothing else refers to. */
  setNormalRun(table: Table, slot: number, count: number, host: HostOffset): void {
    this.#checkHost(host);
    for (let i = 0; i < count; i++) {
      this.codec.putNormal(table.view, slot + i, (host + i * this.#clusterSize) as HostOffset);
    }
    this.#changed(table, slot, count);
  }

  /** Points `slot` to the cluster at `host`, which nothing else refers to, and which nothing was written to. */
  setPreallocated(table: Table, slot: number, host: HostOffset): void {
    this.#checkHost(host);
    this.codec.putPreallocated(table.view, slot, host);
    this.#changed(table, slot);
  }

  /**
   * Points `slot` to the cluster at `host` (0: none): the subclusters `data` are there, those of `zeroes` read as zeroes, the others are unallocated.
   * `copied`: nothing else refers to the cluster.
   */
  setSubclusters(
    table: Table,
    slot: number,
    { host, copied, data, zeroes }: Pick<L2Entry, 'host' | 'copied' | 'data' | 'zeroes'>,
  ): void {
    const hasPlace = host !== 0 || this.#image.data.isExternal;
    if (hasPlace) this.#checkHost(host);
    assert(
      (data & zeroes) === 0 && (hasPlace || data === 0),
      'a subcluster is data of a host cluster, or zeroes, or neither',
    );
    this.codec.put(table.view, slot, host, copied, data, zeroes);
    this.#changed(table, slot);
  }

  /** Makes `slot` read as zeroes, without a host cluster. */
  setZero(table: Table, slot: number): void {
    this.codec.putZero(table.view, slot);
    this.#changed(table, slot);
  }

  /** Makes `slot` read as zeroes, and keeps its cluster at `host`, which nothing else refers to. */
  setZeroAllocated(table: Table, slot: number, host: HostOffset): void {
    this.#checkHost(host);
    this.codec.putZeroAllocated(table.view, slot, host);
    this.#changed(table, slot);
  }

  /** Points `slot` to compressed data of `length` bytes at `host`. */
  setCompressed(table: Table, slot: number, host: HostOffset, length: number): void {
    assert(host > 0 && host + length <= this.codec.compressedLimit, 'an L2 entry can hold where compressed data lies');
    this.codec.putCompressed(table.view, slot, host, length);
    this.#changed(table, slot);
  }

  #checkHost(host: number): void {
    const isCluster = host % this.#clusterSize === 0 && (host > 0 || this.#image.data.isExternal);
    assert(isCluster, 'an L2 entry points to a whole cluster');
  }

  /** False for an entry that no image may have: an invalid one, and one that points to another place of an external data file than its own. */
  isValidEntry({ kind, host, bytes }: L2Entry, guest: GuestOffset): boolean {
    if (kind === Kind.bad) return false;
    return bytes === 0 || (host as number) === guest || !this.#image.data.isExternal;
  }

  /** The same of one subcluster. */
  isValid(kind: KindNumber, host: HostOffset, guest: GuestOffset): boolean {
    if (kind === Kind.normal || kind === Kind.zeroAllocated || kind === Kind.preallocated)
      return (host as number) === guest || !this.#image.data.isExternal;
    return kind !== Kind.bad;
  }

  #changed(table: Table, slot: number, count = 1): void {
    assert(table.reserved && table.pins > 0, 'an L2 table is changed while it is pinned and has a place of its own');
    this.#markDirty(table, slot, count);
  }

  #markDirty(table: Table, slot: number, count: number): void {
    const { entryBytes } = this.codec;
    this.cache.markDirty(table, slot * entryBytes, (slot + count) * entryBytes);
  }

  indexOf(offset: GuestOffset): number {
    return Math.floor(offset / this.#l2Span);
  }

  // ---- tables -------------------------------------------------------------------------------------------------

  /**
   * The L2 table: null where the L1 table has none, undefined where it must be loaded first (`loadTable`, then ask again, in a loop). There is no
   * promise of a table, since the table could leave the cache before the awaiting code continues.
   */
  tableSync(index: number): Table | null | undefined {
    const table = this.cache.get(index);
    if (table !== undefined) return table;
    return this.l1.target(index) === 0 ? null : undefined;
  }

  /** Loads L2 table `index` into the cache. Rejects with `corrupt-image` for an invalid pointer, and with `io`. */
  async loadTable(index: number, event: 'l2_load' | 'l2_alloc_cow_read' = 'l2_load'): Promise<void> {
    if (this.cache.mustCommit) await this.#image.commit();
    const offset = this.l1.target(index);
    if (offset === 0) return;
    if (offset % this.#clusterSize !== 0 || offset >= this.#image.file.length) {
      const text = pointerHex(this.l1.view, index);
      throw await this.#image.corrupt(`L2 table offset ${text} invalid (L1 index: ${index})`, offset);
    }
    await this.cache.load(index, offset, (bytes) => this.#image.file.read(offset, bytes, event));
    // If the pointer has changed meanwhile, an outdated table was read.
    if (this.l1.target(index) !== this.cache.get(index)?.offset) this.cache.drop(index);
  }

  /** The L2 table for a change: created where there is none, copied where it is shared. It is pinned; the caller unpins it (`table.pins--`). */
  async pinForWrite(index: number): Promise<Table> {
    for (;;) {
      const table = this.tableSync(index);
      if (table === undefined) {
        await this.loadTable(index);
      } else if (table === null || !this.l1.copied(index)) {
        await this.#once(index, () => this.#createTable(index));
      } else if (!table.reserved) {
        await this.#once(index, () => reserveTable(this.#image, table, 'active-l2'));
      } else {
        table.pins++;
        return table;
      }
    }
  }

  /** Runs `action`, which creates, moves or reserves table `index`, or waits for such an action that is running already. */
  #once(index: number, action: () => Promise<void>): Promise<void> {
    let pending = this.#creating.get(index);
    if (pending === undefined) {
      pending = action().finally(() => this.#creating.delete(index));
      this.#creating.set(index, pending);
    }
    return pending;
  }

  async #createTable(index: number): Promise<void> {
    const image = this.#image;
    if (this.cache.mustCommit) await image.commit();
    const run = await image.allocation.allocateRun(1);
    const offset = hostOf(run.cluster, image.geometry);
    try {
      await image.file.ensureLength(offset + this.#clusterSize);
      await image.file.reserve(offset, this.#clusterSize);
      await reserveEntry(image, this.l1, 'active-l1', index);
      while (this.tableSync(index) === undefined) await this.loadTable(index, 'l2_alloc_cow_read');
    } catch (error) {
      image.allocation.release(run.cluster, 1);
      throw error;
    }
    image.file.takeFresh(offset, offset + this.#clusterSize);
    const old = this.tableSync(index);
    if (old === null || old === undefined) {
      this.cache.create(index, offset);
    } else {
      image.frees.add(clusterAt(old.offset, image.geometry), 1, false);
      image.metadata.remove('active-l2', old.offset);
      this.cache.renew(old, offset);
    }
    this.l1.set(index, offset, true);
    image.metadata.add('active-l2', offset);
  }

  /** Removes L2 table `index` from the L1 table; its cluster is freed by the next commit. */
  removeTable(index: number): void {
    const offset = this.l1.target(index);
    assert(offset > 0, 'only an L2 table that the L1 table points to is removed');
    this.cache.drop(index);
    this.l1.set(index, NO_HOST, false);
    this.#image.metadata.remove('active-l2', offset);
    this.#image.frees.add(clusterAt(offset, this.#image.geometry), 1, true);
  }

  /** Marks the image corrupt for the entry in `slot`. */
  badEntry(table: Table, slot: number): Promise<BlockError> {
    const { view } = table;
    const place = `(L2 offset: 0x${table.offset.toString(16)}, L2 index: ${slot === 0 ? 0 : `0x${slot.toString(16)}`})`;
    if (this.codec.hasWrongBitmap(view, slot)) {
      return this.#image.corrupt(`Invalid cluster entry found ${place}`, table.offset);
    }
    const at = slot * this.codec.entryBytes;
    const entry = view.getBigUint64(at);
    const host = entry & L2_HOST_MASK;
    const isAskew = (entry & L2_COMPRESSED) === 0n && host % BigInt(this.#image.geometry.clusterSize) !== 0n;
    const what = isAskew
      ? `Cluster allocation offset 0x${host.toString(16)} unaligned`
      : `L2 entry 0x${entry.toString(16).padStart(16, '0')} invalid`;
    return this.#image.corrupt(`${what} ${place}`, table.offset);
  }
}

/** The mapping of an image with an external data file: a cluster that is not at its guest offset is left to the slow path, which says what is wrong. */
export class ExternalMapping extends Mapping {
  override mapSync(offset: GuestOffset, length: number, owned: boolean): number {
    const host = super.mapSync(offset, length, owned);
    return host >= 0 && host !== offset ? MISS : host;
  }
}
