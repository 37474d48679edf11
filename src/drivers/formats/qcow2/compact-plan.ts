// Where the clusters of a window go: into the lowest free ones, in their order.
//
//   file   |used|free|used|free|free|used|   limit   | ... |used|free|used| window |
//                 ^         ^    ^                              \_________/
//                 +---------+----+--------------------------------- into these
//
// An ordinary cluster goes as it is. Compressed data of several guest clusters shares clusters, and crosses from one to the next, so it is packed anew, in its order, by
// whole sectors: neighbours that share a sector keep doing so.
//
//   from   | a  a |a b  b| b c |         to   | used |a  a a|b b b c| free |
//
// The plan is made in `states` alone, so a dry run makes the same one.

import { type CompactMap, FREE, USED, type Window } from './compact-map.js';
import type { Qcow2Image } from './image.js';
import { SECTOR } from './types.js';

/** What lies in a cluster that moves. */
export type MovedKind = 'data' | 'l2' | 'block' | 'bits';

/** A whole cluster, by its number. */
export interface ClusterMove {
  kind: MovedKind;
  from: number;
  to: number;
  /** The L2 entries that point to it (`Window.owners`); of data alone. */
  owners: Float64Array;
}

/** Compressed data; places are bytes of the file. */
export interface PackedMove {
  kind: 'packed';
  from: number;
  to: number;
  bytes: number;
  owners: Float64Array;
}

export type Move = ClusterMove | PackedMove;

/** Compressed data of one or, where snapshots share it, of several entries. */
interface Datum {
  host: number;
  bytes: number;
  owners: Float64Array;
}

export interface PlanSettings {
  /** Nothing moves to this cluster or behind it. */
  limit: number;
  /** Refcount blocks from this index on will be dropped, and so do not move. */
  keptBlocks: number;
  /** Whether a cluster holds the bits of a bitmap. */
  holdsBits(cluster: number): boolean;
}

export class CompactPlan {
  readonly #image: Qcow2Image;
  readonly #map: CompactMap;
  readonly #settings: PlanSettings;
  /** No cluster below is free. */
  #cursor = 1;
  /** The run of clusters that compressed data is being packed into, bytes: the next place, and the end. */
  readonly #run = { at: 0, end: 0, delta: 0, sourceEnd: 0 };
  /** References to the cluster that lies before `#run.at`, whole or in part. */
  #references = 0;
  /** Entries that were planned in another window already. */
  readonly #planned = new Map<number, Window>();

  constructor(image: Qcow2Image, map: CompactMap, settings: PlanSettings) {
    this.#image = image;
    this.#map = map;
    this.#settings = settings;
  }

  /** The moves of a window, packed data first. Their new places count as used from now on. */
  plan(window: Window): Move[] {
    return [...this.#planPacked(window), ...this.#planClusters(window)];
  }

  /** The compressed data of `owner` reaches into another window, in which its move was planned. */
  wasPlanned(owner: number, window: Window): boolean {
    return (this.#planned.get(owner) ?? window) !== window;
  }

  // ---- whole clusters -----------------------------------------------------------------------------------------

  #planClusters(window: Window): ClusterMove[] {
    const moves: ClusterMove[] = [];
    for (let cluster = window.first; cluster < window.end; cluster++) {
      const [from, to] = [window.starts[cluster - window.first], window.starts[cluster - window.first + 1]];
      const kind = this.#kindOf(cluster, window, from, to);
      if (kind === null) continue;
      const place = this.#take();
      if (place < 0) break;
      moves.push({ kind, from: cluster, to: place, owners: window.owners.slice(from, kind === 'data' ? to : from) });
    }
    return moves;
  }

  /** Null: it stays. */
  #kindOf(cluster: number, window: Window, from: number, to: number): MovedKind | null {
    if (this.#map.states[cluster] !== USED) return null;
    const block = this.#map.blocks.get(cluster);
    if (block !== undefined) return block < this.#settings.keptBlocks ? 'block' : null;
    if (this.#map.tableAt(cluster) >= 0) return 'l2';
    if (this.#settings.holdsBits(cluster)) return 'bits';
    return to > from && window.compressed.subarray(from, to).every((bytes) => bytes === 0) ? 'data' : null;
  }

  /** The lowest free cluster, which is used from now on; -1: there is none. */
  #take(): number {
    const { states } = this.#map;
    const { limit } = this.#settings;
    const found = states.indexOf(FREE, this.#cursor);
    if (found < 0 || found >= limit) {
      this.#cursor = limit;
      return -1;
    }
    states[found] = USED;
    this.#cursor = found + 1;
    return found;
  }

  #giveBack(cluster: number): void {
    this.#map.states[cluster] = FREE;
    if (cluster < this.#cursor) this.#cursor = cluster;
  }

  // ---- compressed data ----------------------------------------------------------------------------------------

  #planPacked(window: Window): PackedMove[] {
    const moves: PackedMove[] = [];
    const unused: number[] = [];
    const { l2Entries } = this.#image.geometry;
    for (const { host, bytes, owners } of this.#dataOf(window)) {
      const references = owners.reduce((sum, owner) => sum + this.#map.weightOf(Math.floor(owner / l2Entries)), 0);
      const to = this.#pack(host, bytes, references, unused);
      if (to < 0) break;
      moves.push({ kind: 'packed', from: host, to, bytes, owners });
      if (host < window.first * this.#image.geometry.clusterSize)
        for (const owner of owners) this.#planned.set(owner, window);
    }
    for (const cluster of unused) this.#giveBack(cluster);
    return moves;
  }

  /** Compressed data that lies in the window, ascending. */
  *#dataOf(window: Window): Generator<Datum> {
    yield* this.#groups(window, window.reachIn);
    for (let i = 0; i < window.starts.length - 1; i++) {
      const entries: number[] = [];
      for (let at = window.starts[i]; at < window.starts[i + 1]; at++) if (window.compressed[at] > 0) entries.push(at);
      yield* this.#groups(window, entries);
    }
  }

  *#groups({ hosts, compressed, owners }: Window, entries: number[]): Generator<Datum> {
    entries.sort((a, b) => hosts[a] - hosts[b] || compressed[a] - compressed[b]);
    for (let i = 0; i < entries.length; ) {
      const { [entries[i]]: host } = hosts;
      const { [entries[i]]: bytes } = compressed;
      const own: number[] = [];
      for (; i < entries.length && hosts[entries[i]] === host && compressed[entries[i]] === bytes; i++) {
        if (!this.#planned.has(owners[entries[i]])) own.push(owners[entries[i]]);
      }
      if (own.length > 0) yield { host, bytes, owners: Float64Array.from(own) };
    }
  }

  /** The new place of compressed data with so many references; -1: there is none. `unused`: gets clusters that were taken for nothing. */
  #pack(host: number, bytes: number, references: number, unused: number[]): number {
    const { clusterSize, refcountMax } = this.#image.geometry;
    const run = this.#run;
    for (;;) {
      // Behind what is there, but for a sector that it shares with the data before it.
      const to = host < run.sourceEnd && run.at > 0 ? host + run.delta : run.at + (host % SECTOR);
      const first = Math.floor(to / clusterSize);
      const isShared = Math.floor((run.at - 1) / clusterSize) === first;
      const isTooMuch = isShared && this.#references + references > refcountMax;
      if (to + bytes <= run.end && !isTooMuch) {
        const end = to + bytes;
        const last = Math.floor((end - 1) / clusterSize);
        this.#references = references + (isShared && last === first ? this.#references : 0);
        run.at = end;
        run.delta = to - host;
        run.sourceEnd = host + bytes;
        return to;
      }
      if (isTooMuch && run.at < run.end) {
        run.at = Math.ceil(run.at / clusterSize) * clusterSize;
        run.sourceEnd = 0;
        if (run.at < run.end) continue;
      }
      if (!this.#extend(unused)) return -1;
    }
  }

  /** Makes the run longer by a cluster, or begins another one. */
  #extend(unused: number[]): boolean {
    const { clusterSize } = this.#image.geometry;
    const run = this.#run;
    const cluster = this.#take();
    if (cluster < 0) return false;
    if (cluster * clusterSize !== run.end) {
      for (let at = Math.ceil(run.at / clusterSize); at * clusterSize < run.end; at++) unused.push(at);
      run.at = cluster * clusterSize;
      run.sourceEnd = 0;
    }
    run.end = (cluster + 1) * clusterSize;
    return true;
  }
}
