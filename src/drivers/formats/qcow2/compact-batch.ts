// Moves a batch of clusters, while no request of the image is under way. At any instant each entry points to a place that has its content, so that power loss, or a
// failure, leaves the disk and every snapshot as they are, and lost space at worst:
//
//   1  everything is looked at again: entries, refcounts, whether the new place is free     what is otherwise by now stays where it is
//   2  refcounts of the new places; the content is copied; commit                           flush
//   3  the pointers change in place, those in shared tables as well; commit                 flush
//   4  the refcounts of the old places are lowered by the next commit
//
// The L2 tables of the disk are changed in the cache, so that a failed commit repeats them; those of snapshots alone on the disk.

import { bestEffort } from '../../../util/best-effort.js';
import { BlockError } from '../../../util/errors.js';
import { settleAll } from '../../../util/settle.js';
import type { DirectoryOnDisk } from './bitmap-on-disk.js';
import { type CompactMap, hasPlace, l1EntryAt } from './compact-map.js';
import type { ClusterMove, Move } from './compact-plan.js';
import type { Qcow2Image } from './image.js';
import { Kind } from './l2-codec.js';
import { POINTER_BYTES, pointerCopied, pointerTarget, putPointer } from './pointer-codec.js';
import { patchSector } from './sector-patch.js';
import type { Table } from './table-cache.js';
import { reserveEntry, reserveTable } from './table-space.js';
import { type ClusterIndex, type HostOffset, hostOf, SECTOR } from './types.js';

const PIECE_BYTES = 1 << 20;
const PIECES_AT_ONCE = 4;

/** An L2 entry that points to what moves. */
interface Owner {
  table: number;
  slot: number;
}

/** What is copied, and the entries that are to point to it. */
interface EntryMove {
  move: Move;
  owners: Owner[];
  /** Of all of them together, in refcounts. */
  references: number;
}

/** Adds references to a cluster that is free, or that has some already; `added` is called with each. Rejects with `limit`, `corrupt-image`, `no-space`, `io`. */
export async function addReferences(
  image: Qcow2Image,
  cluster: ClusterIndex,
  count: number,
  added: () => void,
): Promise<void> {
  const { allocation, file, geometry, refcounts } = image;
  const offset = hostOf(cluster, geometry);
  const index = refcounts.indexOf(cluster);
  let block = refcounts.blockSync(index);
  for (; !block?.reserved; block = refcounts.blockSync(index)) await allocation.loadFor(cluster);
  let left = count;
  if (refcounts.valueIn(block, cluster) === 0) {
    refcounts.take(block, cluster % geometry.blockEntries, 1);
    allocation.count++;
    left--;
    added();
  }
  for (; left > 0; left--) {
    if (!refcounts.raise(block, cluster)) throw image.error('limit', 'A refcount would overflow', 'compact', offset);
    added();
  }
  file.takeFresh(offset, offset + geometry.clusterSize);
}

export class BatchMover {
  readonly #image: Qcow2Image;
  readonly #map: CompactMap;
  readonly #bitmaps: DirectoryOnDisk;
  /** The cluster that compressed data was packed into last, and that nobody else can have got since; -1: none. */
  #packing = -1;

  constructor(image: Qcow2Image, map: CompactMap, bitmaps: DirectoryOnDisk) {
    this.#image = image;
    this.#map = map;
    this.#bitmaps = bitmaps;
  }

  /** To be called when a cluster became free. */
  freed(cluster: ClusterIndex): void {
    if (cluster === this.#packing) this.#packing = -1;
  }

  /**
   * Moves what still is as it was planned; all are of one kind. Resolves with the bytes of what has moved. Nobody may use the image meanwhile. Rejects with `no-space`, `io`,
   * `corrupt-image`.
   */
  async run(moves: readonly Move[]): Promise<number> {
    await this.#image.quiet();
    const [{ kind }] = moves;
    if (kind === 'data' || kind === 'packed') return this.#moveFitting(moves);
    const clusters = moves as readonly ClusterMove[];
    if (kind === 'l2') return this.#each(clusters, true, (move) => this.#pointersOf(move));
    if (kind === 'bits') return this.#each(clusters, true, (move) => this.#bitsOf(move));
    return this.#each(clusters, false, (move) => this.#blockOf(move));
  }

  // ---- content ------------------------------------------------------------------------------------------------

  /** Moves as many at once as there is space for: what has moved gives its old places back before the next. */
  async #moveFitting(moves: readonly Move[]): Promise<number> {
    try {
      return await this.#moveContent(moves);
    } catch (error) {
      if (!(error instanceof NoRoom)) throw error;
      if (moves.length === 1) throw error.reason;
    }
    const half = moves.length >> 1;
    const moved = await this.#moveFitting(moves.slice(0, half));
    await this.#image.quiet();
    return moved + (await this.#moveFitting(moves.slice(half)));
  }

  async #moveContent(moves: readonly Move[]): Promise<number> {
    const image = this.#image;
    const { clusterSize } = image.geometry;
    const pinned = new Map<number, Table>();
    const added: Map<number, number> = new Map();
    try {
      const found: EntryMove[] = [];
      for (const move of await this.#placeable(moves)) {
        const owners = await this.#ownersOf(move, pinned);
        if (owners.length === 0) continue;
        const references = this.#weigh(owners);
        const isWhole = move.kind === 'packed' || (await image.refcounts.get(move.from as ClusterIndex)) === references;
        if (isWhole) found.push({ move, owners, references });
      }
      if (found.length === 0) return 0;
      for (const { move, references } of found) {
        for (const cluster of this.#clustersAt(move, move.to)) {
          added.set(cluster, (added.get(cluster) ?? 0) + references);
        }
      }
      await this.#prepare(added, () => this.#copy(found.map(({ move }) => move))).catch(asNoRoom);
      for (const table of pinned.values()) if (!table.reserved) await reserveTable(image, table, 'active-l2');
      for (const one of found) await this.#changeEntries(one, pinned);
      await image.commit();
      for (const { move, references } of found) {
        for (const cluster of this.#clustersAt(move, move.from)) {
          for (let i = 0; i < references; i++) image.frees.add(cluster, 1, true);
        }
      }
      const last = found[found.length - 1].move;
      if (last.kind === 'packed') this.#packing = this.#clustersAt(last, last.to).at(-1)!;
      return found.reduce((sum, { move }) => sum + (move.kind === 'packed' ? move.bytes : clusterSize), 0);
    } finally {
      for (const table of pinned.values()) table.pins--;
    }
  }

  /** The clusters of what lies at `place`. */
  #clustersAt(move: Move, place: number): ClusterIndex[] {
    if (move.kind !== 'packed') return [place as ClusterIndex];
    const { clusterSize } = this.#image.geometry;
    const first = Math.floor(place / clusterSize);
    const last = Math.floor((place + move.bytes - 1) / clusterSize);
    return Array.from({ length: last - first + 1 }, (_, i) => (first + i) as ClusterIndex);
  }

  /** Those whose new places are free. */
  async #placeable(moves: readonly Move[]): Promise<Move[]> {
    const taken = new Set<number>();
    const known = new Set<number>();
    for (const move of moves) {
      for (const cluster of this.#clustersAt(move, move.to)) {
        if (known.has(cluster)) continue;
        known.add(cluster);
        if (cluster !== this.#packing && !(await this.#isFree(cluster))) taken.add(cluster);
      }
    }
    return moves.filter((move) => !this.#clustersAt(move, move.to).some((cluster) => taken.has(cluster)));
  }

  async #isFree(cluster: ClusterIndex): Promise<boolean> {
    const { refcounts } = this.#image;
    if (refcounts.blockSync(refcounts.indexOf(cluster)) === null) return false;
    return (await refcounts.get(cluster)) === 0 && refcounts.metadataIn(cluster, 1) === null;
  }

  /** How many references these entries are: each counts for every L1 entry that points to its table. */
  #weigh(owners: readonly Owner[]): number {
    const { l1 } = this.#image.mapping;
    let sum = 0;
    for (const { table } of owners) {
      const index = this.#map.activeIndex[table];
      // The disk has got a copy of the table meanwhile.
      const isLeft = index >= 0 && l1.target(index) !== this.#map.offsets[table];
      sum += this.#map.weightOf(table) - (isLeft ? 1 : 0);
    }
    return sum;
  }

  /** The entries that point to it still. An ordinary cluster moves with all of its references, or not. */
  async #ownersOf(move: Move, pinned: Map<number, Table>): Promise<Owner[]> {
    const { codec } = this.#image.mapping;
    const { clusterSize, l2Entries } = this.#image.geometry;
    const isPacked = move.kind === 'packed';
    const host = isPacked ? move.from : move.from * clusterSize;
    const owners: Owner[] = [];
    for (const owner of move.owners) {
      const table = Math.floor(owner / l2Entries);
      const slot = owner % l2Entries;
      const found = await this.#entryView(table, slot, pinned);
      if (found === null) continue;
      const { kind, host: target, bytes } = codec.decode(found.view, found.slot);
      const fits = isPacked ? kind === Kind.compressed && bytes === move.bytes : hasPlace(kind);
      if (fits && target === host) owners.push({ table, slot });
    }
    return isPacked || owners.length === move.owners.length ? owners : [];
  }

  /** The table, or the sector of it, that has the entry; null where the image has that table no more. */
  async #entryView(
    id: number,
    slot: number,
    pinned: Map<number, Table>,
  ): Promise<{ view: DataView; slot: number } | null> {
    const { file, mapping } = this.#image;
    const index = this.#map.activeIndex[id];
    const offset = this.#map.offsets[id];
    if (index >= 0 && mapping.l1.target(index) === offset) {
      return { view: (await this.#pin(id, index, pinned)).view, slot };
    }
    if (index < -1 || !this.#map.isInactive(id)) return null;
    const perSector = SECTOR / mapping.codec.entryBytes;
    const sector = new Uint8Array(SECTOR);
    await file.read(offset + Math.floor(slot / perSector) * SECTOR, sector);
    return { view: new DataView(sector.buffer), slot: slot % perSector };
  }

  async #pin(id: number, index: number, pinned: Map<number, Table>): Promise<Table> {
    const { mapping } = this.#image;
    const known = pinned.get(id);
    if (known !== undefined) return known;
    let table = mapping.tableSync(index);
    while (!table) {
      await mapping.loadTable(index);
      table = mapping.tableSync(index);
    }
    table.pins++;
    pinned.set(id, table);
    return table;
  }

  async #changeEntries({ move, owners }: EntryMove, pinned: ReadonlyMap<number, Table>): Promise<void> {
    const image = this.#image;
    const { cache, codec } = image.mapping;
    const host = (move.kind === 'packed' ? move.to : move.to * image.geometry.clusterSize) as HostOffset;
    for (const { table: id, slot } of owners) {
      const at = slot * codec.entryBytes;
      const table = pinned.get(id);
      if (table === undefined) {
        await patchSector(image, this.#map.offsets[id] + at, (view) => codec.relocate(view, 0, host));
        continue;
      }
      codec.relocate(table.view, slot, host);
      cache.markDirty(table, at, at + codec.entryBytes);
    }
  }

  // ---- preparing ----------------------------------------------------------------------------------------------

  /** Takes the new places, copies, and makes both durable. After a failure the places are free again, and holes in the file. */
  async #prepare(added: ReadonlyMap<number, number>, copy: () => Promise<void>): Promise<void> {
    const image = this.#image;
    const done: ClusterIndex[] = [];
    try {
      for (const [cluster, count] of added) {
        await addReferences(image, cluster as ClusterIndex, count, () => done.push(cluster as ClusterIndex));
      }
      await copy();
      await image.commit();
    } catch (error) {
      for (const cluster of done) image.allocation.release(cluster, 1);
      await this.#giveBack(done).catch(bestEffort('places of a copy'));
      throw error;
    }
  }

  /** Discards those of the clusters that are free now: what was copied there would keep the space that was too little for it. */
  async #giveBack(clusters: readonly ClusterIndex[]): Promise<void> {
    const { frees, refcounts } = this.#image;
    const free: ClusterIndex[] = [];
    for (const cluster of new Set(clusters)) if ((await refcounts.get(cluster)) === 0) free.push(cluster);
    await frees.discard(free.sort((a, b) => a - b));
  }

  /** Copies; neighbours that stay neighbours at once. */
  async #copy(moves: readonly Move[]): Promise<void> {
    const { clusterSize } = this.#image.geometry;
    const unit = (move: Move): number => (move.kind === 'packed' ? 1 : clusterSize);
    const pieces: { from: number; to: number; length: number }[] = [];
    for (const move of moves) {
      const [from, to] = [move.from * unit(move), move.to * unit(move)];
      const length = move.kind === 'packed' ? move.bytes : clusterSize;
      const last = pieces[pieces.length - 1];
      const isNext = last !== undefined && from <= last.from + last.length && from - last.from === to - last.to;
      if (isNext && from >= last.from && from + length - last.from <= PIECE_BYTES) {
        last.length = Math.max(last.length, from + length - last.from);
      } else pieces.push({ from, to, length });
    }
    const raw = moves[0].kind !== 'data';
    for (let i = 0; i < pieces.length; i += PIECES_AT_ONCE) {
      await settleAll(
        pieces.slice(i, i + PIECES_AT_ONCE).map(({ from, to, length }) => this.#copyPiece(from, to, length, raw)),
        null,
      );
    }
  }

  async #copyPiece(from: number, to: number, length: number, raw: boolean): Promise<void> {
    const { data, file, memory } = this.#image;
    const buffer = memory.allocate(length);
    try {
      if (raw) {
        await file.read(from, buffer);
        await file.write(to, buffer);
      } else {
        await data.readToMove(from as HostOffset, buffer);
        await data.writeMoved(to as HostOffset, buffer);
      }
    } finally {
      memory.free(buffer);
    }
  }

  // ---- metadata -----------------------------------------------------------------------------------------------

  /**
   * Moves metadata. `changes` says what changes the pointers to a cluster, with what is in memory; null: it stays. The pointers change after the cluster was copied, and a
   * commit makes that durable. Without `copies`, that commit writes the cluster at its new place.
   */
  async #each(
    moves: readonly ClusterMove[],
    copies: boolean,
    changes: (move: ClusterMove) => Promise<(() => Promise<void>) | null>,
  ): Promise<number> {
    const image = this.#image;
    const { clusterSize } = image.geometry;
    const found: { move: ClusterMove; change: () => Promise<void>; references: number }[] = [];
    const added = new Map<number, number>();
    for (const move of (await this.#placeable(moves)) as ClusterMove[]) {
      const change = await changes(move);
      if (change === null) continue;
      const references = await image.refcounts.get(move.from as ClusterIndex);
      found.push({ move, change, references });
      added.set(move.to, references);
    }
    if (found.length === 0) return 0;
    await this.#prepare(added, async () => {
      for (const { move } of found) await image.file.reserve(move.to * clusterSize, clusterSize);
      if (copies) await this.#copy(found.map(({ move }) => move));
    });
    for (const { change } of found) await change();
    await image.commit();
    for (const { move, references } of found) {
      for (let i = 0; i < references; i++) image.frees.add(move.from as ClusterIndex, 1, true);
    }
    return found.length * clusterSize;
  }

  /** All L1 entries that point to a table. */
  async #pointersOf(move: ClusterMove): Promise<(() => Promise<void>) | null> {
    const image = this.#image;
    const { file, geometry, mapping, metadata, refcounts } = image;
    const id = this.#map.tableAt(move.from);
    if (id < 0 || this.#map.activeIndex[id] < -1) return null;
    const [from, to] = [hostOf(move.from as ClusterIndex, geometry), hostOf(move.to as ClusterIndex, geometry)];
    const pointers = this.#map.pointersTo(id);
    for (const { l1, index } of pointers) {
      const entry = new Uint8Array(POINTER_BYTES);
      if (l1 > 0) await file.read(l1EntryAt(image, l1, index), entry);
      const target = l1 === 0 ? mapping.l1.target(index) : pointerTarget(new DataView(entry.buffer), 0);
      if (target !== from) return null;
    }
    if ((await refcounts.get(move.from as ClusterIndex)) !== pointers.length) return null;
    return async () => {
      for (const { l1, index } of pointers) {
        if (l1 > 0) {
          await patchSector(image, l1EntryAt(image, l1, index), (view) =>
            putPointer(view, 0, to, pointerCopied(view, 0)),
          );
          metadata.remove('inactive-l2', from);
          metadata.add('inactive-l2', to);
          continue;
        }
        await reserveEntry(image, mapping.l1, 'active-l1', index);
        const table = mapping.cache.get(index);
        if (table !== undefined) {
          table.offset = to;
          table.reserved = true;
        }
        mapping.l1.set(index, to, mapping.l1.copied(index));
        metadata.remove('active-l2', from);
        metadata.add('active-l2', to);
      }
      this.#map.offsets[id] = to;
    };
  }

  /** The entry of the refcount table. The block is written anew, as its own refcounts change with its place. */
  async #blockOf(move: ClusterMove): Promise<(() => Promise<void>) | null> {
    const image = this.#image;
    const { geometry, metadata, refcounts } = image;
    const index = this.#map.blocks.get(move.from);
    const from = hostOf(move.from as ClusterIndex, geometry);
    const to = hostOf(move.to as ClusterIndex, geometry);
    if (index === undefined || refcounts.table.target(index) !== from) return null;
    if ((await refcounts.get(move.from as ClusterIndex)) !== 1) return null;
    return async () => {
      await reserveEntry(image, refcounts.table, 'refcount-table', index);
      await refcounts.loadBlock(index, true);
      const block = refcounts.blockSync(index)!;
      refcounts.blocks.renew(block, to);
      refcounts.table.set(index, to, false);
      metadata.remove('refcount-block', from);
      metadata.add('refcount-block', to);
    };
  }

  /** The entry of a bitmap's table. */
  async #bitsOf(move: ClusterMove): Promise<(() => Promise<void>) | null> {
    const { geometry, refcounts } = this.#image;
    const from = hostOf(move.from as ClusterIndex, geometry);
    if (!this.#bitmaps.holdsBits(from) || (await refcounts.get(move.from as ClusterIndex)) !== 1) return null;
    return () => this.#bitmaps.moveBits(from, hostOf(move.to as ClusterIndex, geometry));
  }
}

/** There is no space for a copy; nothing has changed. */
class NoRoom {
  readonly reason: BlockError;

  constructor(reason: BlockError) {
    this.reason = reason;
  }
}

function asNoRoom(error: unknown): never {
  throw error instanceof BlockError && error.code === 'no-space' ? new NoRoom(error) : error;
}
