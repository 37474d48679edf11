// What a compact has to know of an image: which clusters of the file are in use, and which entries point to those that are to move. The image may be in use
// meanwhile: everything here is a hint, which is looked at again before anything is changed (compact-batch.ts).
//
//   states     one byte for each cluster of the file           refcounts of all blocks, in runs
//   tables     the L2 tables of the disk and of the snapshots, each once; for each the L1 entries that point to it
//   collect    the L2 entries that point into a window of clusters, by cluster: the reverse of the mapping, for that window alone
//
//   memory     clusters of the file + 24 bytes for each L1 entry in use + 32 bytes for each entry that points into the window

import { viewOf } from '../../../util/bytes.js';
import { settleAll } from '../../../util/settle.js';
import type { Qcow2Image } from './image.js';
import { Kind, type KindNumber } from './l2-codec.js';
import { blockPointerTarget, POINTER_BYTES, pointerTarget } from './pointer-codec.js';
import { scanRefcounts } from './refcount-codec.js';
import type { Snapshot } from './snapshot-table.js';
import { readSnapshotL1 } from './snapshot-walk.js';
import type { HostOffset } from './types.js';

/** States of a cluster of the file. */
export const FREE = 0;
export const USED = 1;
/** There is no refcount block for it: it is free, but cannot be allocated as it is. */
export const UNCOUNTED = 2;

/** Limits of memory: clusters of the file, L1 entries in use, entries of a window. */
const MAX_CLUSTERS = 2 ** 28;
const MAX_POINTERS = 2 ** 22;
export const WINDOW_CLUSTERS = 2 ** 19;
const WINDOW_ENTRIES = 2 ** 21;
const READ_AHEAD_BYTES = 4 << 20;
const INDEX_SPAN = 2 ** 32;

/** `activeIndex`: no L1 entry of the disk points to the table; several do, so that nothing of it can be changed. */
const NOT_ACTIVE = -1;
export const SEVERAL = -2;

/** Entries that would be dropped, in a dry run. */
export interface Dropped {
  /** Whether slot `slot` of the disk's L2 table `index` has been dropped. */
  has(index: number, slot: number): boolean;
  /** The table itself has been dropped. */
  hasTable(index: number): boolean;
}

/** The entries that point into [first, end), sorted by cluster. */
export interface Window {
  first: number;
  end: number;
  /** Entries [starts[i], starts[i + 1]) point to cluster `first + i`, or to compressed data that begins there. */
  starts: Uint32Array;
  /** The entry: `table * l2Entries + slot`. */
  owners: Float64Array;
  /** Host offset of what it points to. */
  hosts: Float64Array;
  /** Bytes of compressed data; 0: an ordinary entry. */
  compressed: Uint32Array;
  /** Entries of compressed data that begins before the window and reaches into it. */
  reachIn: number[];
}

/** A list of numbers that grows. */
class Numbers {
  values = new Float64Array(1024);
  count = 0;

  push(value: number): void {
    if (this.count === this.values.length) {
      const grown = new Float64Array(this.count * 2);
      grown.set(this.values);
      this.values = grown;
    }
    this.values[this.count++] = value;
  }

  trimmed(): Float64Array {
    return this.values.slice(0, this.count);
  }
}

export class CompactMap {
  readonly #image: Qcow2Image;
  readonly #dropped: Dropped | null;
  readonly states: Uint8Array;
  /** The list that this was made from: another one means other tables. */
  readonly snapshots: readonly Snapshot[];
  /** Host offsets of the L2 tables, where they are now. */
  readonly offsets: Float64Array;
  /** Where they were, ascending. */
  readonly #original: Float64Array;
  /** The disk's L1 entry that points to each, or one of the constants. */
  readonly activeIndex: Int32Array;
  /** L1 entries [starts[i], starts[i + 1]) of `pointers` point to table i; each is `L1 table * 2^32 + index`, L1 table 0 being the disk's. */
  readonly #starts: Uint32Array;
  readonly #pointers: Float64Array;
  /** Refcount block by the cluster that it lies in. */
  readonly blocks = new Map<number, number>();

  private constructor(
    image: Qcow2Image,
    states: Uint8Array,
    pairs: L1Pairs,
    snapshots: readonly Snapshot[],
    dropped: Dropped | null,
  ) {
    this.#image = image;
    this.#dropped = dropped;
    this.states = states;
    this.snapshots = snapshots;
    const { table } = image.refcounts;
    for (let index = 0; index < table.entries; index++) {
      const target = blockPointerTarget(table.view, index);
      if (target !== 0) this.blocks.set(target / image.geometry.clusterSize, index);
    }
    const order = new Uint32Array(pairs.targets.count).map((_, i) => i);
    const { values: targets } = pairs.targets;
    order.sort((a, b) => targets[a] - targets[b]);
    const offsets = new Numbers();
    const starts = new Numbers();
    this.#pointers = new Float64Array(order.length);
    for (const [at, from] of order.entries()) {
      this.#pointers[at] = pairs.owners.values[from];
      if (at > 0 && targets[order[at - 1]] === targets[from]) continue;
      offsets.push(targets[from]);
      starts.push(at);
    }
    starts.push(order.length);
    this.offsets = offsets.trimmed();
    this.#original = offsets.trimmed();
    this.#starts = Uint32Array.from(starts.trimmed());
    this.activeIndex = new Int32Array(this.offsets.length).fill(NOT_ACTIVE);
    for (let id = 0; id < this.offsets.length; id++) {
      for (const { l1, index } of this.pointersTo(id)) {
        if (l1 === 0) this.activeIndex[id] = this.activeIndex[id] === NOT_ACTIVE ? index : SEVERAL;
      }
    }
  }

  /** Reads refcounts and L1 tables. What is on the disk must be up to date. `dropped`: what counts as unallocated. Rejects with `limit`, `corrupt-image`, `io`. */
  static async read(image: Qcow2Image, dropped: Dropped | null = null): Promise<CompactMap> {
    const { file, geometry, mapping } = image;
    const clusters = Math.ceil(file.length / geometry.clusterSize);
    if (clusters > MAX_CLUSTERS) throw tooLarge(image, `${clusters} clusters`);
    const states = new Uint8Array(clusters).fill(UNCOUNTED);
    await readStates(image, states);
    const pairs: L1Pairs = { targets: new Numbers(), owners: new Numbers() };
    const { list } = image.snapshots;
    notePointers(image, pairs, mapping.l1.view, mapping.l1.entries, 0, dropped);
    for (const [i, snapshot] of list.entries()) {
      notePointers(image, pairs, await readSnapshotL1(image, snapshot), snapshot.l1Size, i + 1, null);
    }
    return new CompactMap(image, states, pairs, list, dropped);
  }

  /** The L1 entries that point to table `id`. */
  pointersTo(id: number): { l1: number; index: number }[] {
    const found: { l1: number; index: number }[] = [];
    for (let at = this.#starts[id]; at < this.#starts[id + 1]; at++) {
      const pointer = this.#pointers[at];
      found.push({ l1: Math.floor(pointer / INDEX_SPAN), index: pointer % INDEX_SPAN });
    }
    return found;
  }

  /** How many L1 entries point to table `id`: so often each of its entries counts in the refcounts. */
  weightOf(id: number): number {
    return this.#starts[id + 1] - this.#starts[id];
  }

  /** A snapshot's L1 table points to table `id`. */
  isInactive(id: number): boolean {
    return this.#pointers[this.#starts[id + 1] - 1] >= INDEX_SPAN;
  }

  /** The L2 table in this cluster, -1 for none. */
  tableAt(cluster: number): number {
    const wanted = cluster * this.#image.geometry.clusterSize;
    let low = 0;
    let high = this.#original.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#original[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return this.#original[low] === wanted && this.offsets[low] === wanted ? low : -1;
  }

  /** The entries that point into [first, end), or into the upper part of it where there are too many. */
  async collect(first: number, end: number): Promise<Window> {
    for (let from = first; ; from = Math.floor((from + end) / 2)) {
      const window = await this.#collect(from, end);
      if (window !== null) return window;
      if (from >= end - 1) throw tooLarge(this.#image, 'the references to one cluster');
    }
  }

  async #collect(first: number, end: number): Promise<Window | null> {
    const { clusterSize, l2Entries } = this.#image.geometry;
    const { codec } = this.#image.mapping;
    const [low, high] = [first * clusterSize, end * clusterSize];
    const hosts = new Numbers();
    const owners = new Numbers();
    const lengths = new Numbers();
    const starts = new Uint32Array(end - first + 1);
    const reachIn: number[] = [];
    const visit = (id: number, view: DataView): void => {
      if (hosts.count > WINDOW_ENTRIES) return;
      const active = this.activeIndex[id];
      for (let slot = 0; slot < l2Entries; slot++) {
        slot += codec.emptyRun(view, slot, l2Entries - slot);
        if (slot === l2Entries) break;
        const host = codec.host(view, slot);
        if (host >= high) continue;
        const kind = codec.kind(view, slot);
        const isCompressed = kind === Kind.compressed;
        if (!isCompressed && (host < low || !hasPlace(kind))) continue;
        const bytes = isCompressed ? codec.decode(view, slot).bytes : 0;
        if (isCompressed && host + bytes <= low) continue;
        if (active >= 0 && this.#dropped?.has(active, slot)) continue;
        if (host < low) reachIn.push(hosts.count);
        else starts[Math.floor(host / clusterSize) - first + 1]++;
        hosts.push(host);
        owners.push(id * l2Entries + slot);
        lengths.push(bytes);
      }
    };
    // Entries into an external data file say nothing of this one.
    if (!this.#image.data.isExternal) await this.#eachTable(visit);
    if (hosts.count > WINDOW_ENTRIES) return null;
    for (let i = 0; i < starts.length - 1; i++) starts[i + 1] += starts[i];
    return sorted(first, end, clusterSize, starts, hosts, owners, lengths, reachIn);
  }

  /** Reads all L2 tables that lie in the file, several at a time. */
  async #eachTable(visit: (id: number, view: DataView) => void): Promise<void> {
    const { file, geometry, memory } = this.#image;
    const { clusterSize } = geometry;
    const perRound = Math.max(1, Math.floor(READ_AHEAD_BYTES / clusterSize));
    const buffers: Uint8Array[] = [];
    try {
      for (let from = 0; from < this.offsets.length; from += perRound) {
        const count = Math.min(perRound, this.offsets.length - from);
        while (buffers.length < count) buffers.push(memory.allocate(clusterSize));
        await settleAll(Array.from({ length: count }, (_, i) => file.read(this.offsets[from + i], buffers[i])));
        for (let i = 0; i < count; i++) {
          const { buffer, byteOffset, length } = buffers[i];
          visit(from + i, new DataView(buffer, byteOffset, length));
        }
      }
    } finally {
      for (const buffer of buffers) memory.free(buffer);
    }
  }
}

/** Whether an ordinary entry of this kind, with a host offset, has a cluster. */
export function hasPlace(kind: KindNumber): boolean {
  return kind === Kind.normal || kind === Kind.zeroAllocated || kind === Kind.mixed;
}

interface L1Pairs {
  targets: Numbers;
  owners: Numbers;
}

function notePointers(
  image: Qcow2Image,
  { targets, owners }: L1Pairs,
  view: DataView,
  entries: number,
  l1: number,
  dropped: Dropped | null,
): void {
  const { clusterSize } = image.geometry;
  for (let index = 0; index < entries; index++) {
    const target = pointerTarget(view, index);
    if (target === 0 || dropped?.hasTable(index)) continue;
    if (target % clusterSize !== 0 || target >= image.file.length) continue;
    targets.push(target);
    owners.push(l1 * INDEX_SPAN + index);
    if (targets.count > MAX_POINTERS) throw tooLarge(image, 'the L2 tables of its snapshots');
  }
}

/** Notes for each cluster of the file whether it has a refcount. */
async function readStates(image: Qcow2Image, states: Uint8Array): Promise<void> {
  const { file, geometry, memory, refcounts } = image;
  const { clusterSize, blockEntries, refcountOrder } = geometry;
  const bytes = memory.allocate(clusterSize);
  const view = viewOf(bytes);
  try {
    for (let index = 0; index < refcounts.table.entries && index * blockEntries < states.length; index++) {
      const target = refcounts.table.target(index);
      if (target === 0) continue;
      await file.read(target, bytes);
      const base = index * blockEntries;
      const limit = Math.min(blockEntries, states.length - base);
      for (let from = 0; from < limit; ) {
        const used = scanRefcounts(view, refcountOrder, from, limit, false);
        states.fill(FREE, base + from, base + used);
        const free = scanRefcounts(view, refcountOrder, used, limit, true);
        states.fill(USED, base + used, base + free);
        from = free;
      }
    }
  } finally {
    memory.free(bytes);
  }
}

/** Puts the entries into the order of their clusters, and compressed ones of a cluster into that of their offsets. */
function sorted(
  first: number,
  end: number,
  clusterSize: number,
  starts: Uint32Array,
  hosts: Numbers,
  owners: Numbers,
  lengths: Numbers,
  reachIn: number[],
): Window {
  const count = hosts.count;
  const inside = count - reachIn.length;
  const next = starts.slice();
  const place = new Uint32Array(count);
  let outside = inside;
  for (let i = 0; i < count; i++) {
    const at = Math.floor(hosts.values[i] / clusterSize) - first;
    place[i] = at < 0 ? outside++ : next[at]++;
  }
  const window: Window = {
    first,
    end,
    starts,
    owners: new Float64Array(count),
    hosts: new Float64Array(count),
    compressed: new Uint32Array(count),
    reachIn: Array.from({ length: reachIn.length }, (_, i) => inside + i),
  };
  for (let i = 0; i < count; i++) {
    window.owners[place[i]] = owners.values[i];
    window.hosts[place[i]] = hosts.values[i];
    window.compressed[place[i]] = lengths.values[i];
  }
  return window;
}

function tooLarge(image: Qcow2Image, what: string): Error {
  return image.error('limit', `The image is too large to be compacted: ${what}`, 'compact');
}

/** The place of an L1 entry. */
export function l1EntryAt(image: Qcow2Image, l1: number, index: number): HostOffset {
  return (image.snapshots.list[l1 - 1].l1Offset + index * POINTER_BYTES) as HostOffset;
}
