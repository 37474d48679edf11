// Repairs L1 and L2 tables: entries that are wrong by themselves, and "copied" flags.
//
// An L2 table is changed where it lies only if nothing else is there. Its cluster may be guest data, or a refcount block, and the L1 entry the one that is
// wrong: so a table that shares its cluster is written to a new place, changed, and the L1 entry points there. In the same way, guest data gets a place of
// its own where a cluster has more references than a refcount can say.

import type { CheckState, L1Table } from './check-state.js';
import { type TablePointer, visitTables } from './check-tables.js';
import { CRYPT_LUKS } from './crypt.js';
import { hostIn, isCompressed, isCopied, setCopied } from './l2-codec.js';
import { hasReservedPointerBits, POINTER_BYTES, putPointer } from './pointer-codec.js';
import { readPadded } from './refcount-tally.js';
import { EntryMender, type MendingRules } from './repair-entries.js';
import type { RepairSpace } from './repair-space.js';
import { type ClusterIndex, type HostOffset, NO_HOST, SECTOR } from './types.js';

/** An entry whose data gets a place of its own. */
interface Move {
  /** Byte position in the table. */
  position: number;
  host: HostOffset;
  bytes: number;
  compressed: boolean;
}

/** What is to be done to an L2 table. Its bytes are changed already, in memory. */
interface TableChange {
  pointer: TablePointer;
  table: DataView<ArrayBuffer>;
  /** The changed bytes. */
  from: number;
  to: number;
  moves: Move[];
  /** To be written to a new place. */
  relocates: boolean;
}

/**
 * Mends all entries of the L2 tables that lie in the window, and of the L1 tables. Resolves with true where something got a new place: then another round
 * may find more to do.
 */
export function mendTables(state: CheckState, space: RepairSpace, rules: MendingRules): Promise<boolean> {
  return new TableMender(state, space, rules).run();
}

class TableMender {
  readonly #state: CheckState;
  readonly #space: RepairSpace;
  readonly #rules: MendingRules;
  readonly #entries: EntryMender;
  /** How many references of the clusters with too many were met already. */
  readonly #met = new Map<ClusterIndex, number>();
  #round: TableChange[] = [];
  #newTables: TablePointer[] = [];
  #l1Sectors = new Set<number>();
  #written = false;
  #moved = false;

  constructor(state: CheckState, space: RepairSpace, rules: MendingRules) {
    this.#state = state;
    this.#space = space;
    this.#rules = rules;
    this.#entries = new EntryMender(state, rules);
  }

  async run(): Promise<boolean> {
    const state = this.#state;
    if (state.overflowed.size > 0) this.#countFixed();
    for (const l1 of state.l1Tables) {
      this.#l1Sectors = new Set();
      await visitTables(
        state,
        l1,
        (pointer, table) => this.#visit(pointer, table),
        () => this.#applyRound(),
      );
      await this.#applyRound();
      await this.#writeL1(l1);
    }
    if (this.#entries.fileEnd > 0) await this.#space.grow(this.#entries.fileEnd);
    return this.#moved;
  }

  /** What cannot be moved has its references first. */
  #countFixed(): void {
    const { clusterBytes, l1Tables } = this.#state;
    const fixed = [{ offset: NO_HOST, length: clusterBytes }, ...this.#state.regions()];
    for (const { offset, view } of l1Tables) fixed.push({ offset, length: view.byteLength });
    for (const { offset, length } of fixed) {
      const end = Math.ceil((offset + length) / clusterBytes);
      for (let at = Math.floor(offset / clusterBytes); at < end; at++) this.#meets(at as ClusterIndex);
    }
  }

  /** One more reference to `cluster` is met; true where it is one too many. */
  #meets(cluster: ClusterIndex): boolean {
    if (!this.#state.overflowed.has(cluster)) return false;
    const met = (this.#met.get(cluster) ?? 0) + 1;
    this.#met.set(cluster, met);
    return met > this.#state.refcountMax;
  }

  #visit(pointer: TablePointer, table: DataView<ArrayBuffer> | null): void {
    const { l1, index, offset, high, low } = pointer;
    const { clusterBytes, tally, layout } = this.#state;
    if (offset % clusterBytes !== 0) {
      if (this.#rules.keepsUnreadable) return;
      // Nothing could be read here. It does not become what lies below.
      if (layout.version === 3 && this.#rules.hasBacking) this.#newTables.push(pointer);
      else this.#setL1(l1, index, NO_HOST, false);
      return;
    }
    // A table behind the end of the file reads as if it was not there.
    if (offset === 0 || table === null) {
      this.#setL1(l1, index, NO_HOST, false);
      return;
    }
    if (hasReservedPointerBits(high, low)) this.#setL1(l1, index, offset, isCopied(high));
    const cluster = (offset / clusterBytes) as ClusterIndex;
    const at = cluster - tally.start;
    if (at < 0 || at >= tally.size) return;
    const change = this.#changeOf(pointer, table);
    const isChanged = change.to > 0;
    const isShared = tally.references[at] > 1;
    change.relocates =
      this.#meets(cluster) || (isShared && (isChanged || (l1.snapshot === null && this.#hasWrongFlags(table))));
    if (isChanged || change.relocates) this.#round.push(change);
  }

  /** Changes the entries of `table`, in memory, that are wrong by themselves. */
  #changeOf(pointer: TablePointer, table: DataView<ArrayBuffer>): TableChange {
    const { codec, overflowed } = this.#state;
    const change: TableChange = { pointer, table, from: table.byteLength, to: 0, moves: [], relocates: false };
    const entries = this.#entries;
    for (let position = 0; position < table.byteLength; position += codec.entryBytes) {
      const isNone = table.getUint32(position) === 0 && table.getUint32(position + 4) === 0;
      if (isNone && !codec.hasWrongBitmap(table, position / codec.entryBytes)) continue;
      const mended = entries.mend(table, position, this.#state.guestOffset(pointer.index, position));
      if (mended !== 'right') includes(change, position, codec.entryBytes);
      if (overflowed.size > 0 || mended === 'moves') this.#noteMove(change, position, mended === 'moves');
    }
    return change;
  }

  /** Notes that the data of the entry at `position` needs a place of its own, if it does, or `must` get one. */
  #noteMove(change: TableChange, position: number, must: boolean): void {
    const { codec, clusterBytes, layout } = this.#state;
    // Host offsets of an external data file are no clusters of the image.
    if (layout.isExternal) return;
    const { table } = change;
    const high = table.getUint32(position);
    const low = table.getUint32(position + 4);
    const compressed = isCompressed(high);
    const host = compressed ? codec.compressedHost(high, low) : hostIn(high, low);
    if ((host === 0 && !compressed) || layout.cryptMethod === CRYPT_LUKS) return;
    const bytes = compressed ? codec.compressedBytes(high, low) : clusterBytes;
    let moves = must;
    const last = Math.floor((host + bytes - 1) / clusterBytes);
    for (let at = Math.floor(host / clusterBytes); at <= last; at++) {
      if (this.#meets(at as ClusterIndex)) moves = true;
    }
    if (!moves) return;
    includes(change, position, codec.entryBytes);
    const slot = position / codec.entryBytes;
    if (!compressed && codec.saysZeroes(table, slot)) codec.putZero(table, slot);
    else change.moves.push({ position, host, bytes, compressed });
  }

  /** True where a "copied" flag of the table is not what the references say. */
  #hasWrongFlags(table: DataView): boolean {
    const { codec } = this.#state;
    for (let position = 0; position < table.byteLength; position += codec.entryBytes) {
      if (wrongFlag(this.#state, table, position)) return true;
    }
    return false;
  }

  #setL1(l1: L1Table, index: number, target: HostOffset, copied: boolean): void {
    putPointer(l1.view, index, target, copied);
    this.#l1Sectors.add(Math.floor((index * POINTER_BYTES) / SECTOR));
  }

  /** Writes what was visited: first what gets a new place, then the tables. */
  async #applyRound(): Promise<void> {
    const { state, space } = { state: this.#state, space: this.#space };
    const { file, clusterBytes, codec } = state;
    let placed = false;
    for (const { l1, index } of this.#newTables.splice(0)) {
      const table = new DataView(new ArrayBuffer(clusterBytes));
      for (let slot = 0; slot * codec.entryBytes < clusterBytes; slot++) codec.putZero(table, slot);
      this.#setL1(l1, index, await this.#place(table), true);
      placed = true;
    }
    const round = this.#round.splice(0);
    for (const { table, moves } of round) {
      for (const move of moves) await this.#move(table, move);
      if (moves.length > 0) placed = true;
    }
    for (const { pointer, table, relocates } of round) {
      if (!relocates) continue;
      for (let position = 0; position < clusterBytes; position += codec.entryBytes) {
        if (wrongFlag(state, table, position)) setCopied(table, position, !isCopied(table.getUint32(position)));
      }
      this.#setL1(pointer.l1, pointer.index, await this.#place(table), true);
      placed = true;
    }
    if (placed) {
      await space.settle();
      this.#moved = true;
    }
    for (const { pointer, table, from, to, relocates } of round) {
      if (relocates) continue;
      const start = from - (from % SECTOR);
      const bytes = new Uint8Array(
        table.buffer,
        start,
        Math.min(clusterBytes, Math.ceil(to / SECTOR) * SECTOR) - start,
      );
      await space.grow(pointer.offset + start + bytes.length);
      await file.write(pointer.offset + start, bytes);
      this.#written = true;
    }
  }

  /** Writes a table to a new place; resolves with that. */
  async #place(table: DataView<ArrayBuffer>): Promise<HostOffset> {
    const { file, clusterBytes } = this.#state;
    const offset = ((await this.#space.take()) * clusterBytes) as HostOffset;
    await file.write(offset, new Uint8Array(table.buffer));
    return offset;
  }

  /** Copies the data of an entry to a new place, and points the entry there, in memory. */
  async #move(table: DataView, { position, host, bytes, compressed }: Move): Promise<void> {
    const { file, clusterBytes, codec } = this.#state;
    // Compressed data keeps its place within a sector, and so its length in sectors.
    const lead = compressed ? host % SECTOR : 0;
    const start = (await this.#space.take(Math.ceil((lead + bytes) / clusterBytes))) * clusterBytes;
    const buffer = new Uint8Array(bytes);
    await readPadded(file, host, buffer);
    await file.write(start + lead, buffer);
    if (compressed) codec.putCompressed(table, position / codec.entryBytes, (start + lead) as HostOffset, bytes);
    else codec.moveNormal(table, position / codec.entryBytes, start as HostOffset);
  }

  async #writeL1({ offset, view }: L1Table): Promise<void> {
    if (this.#written) await this.#state.file.flush();
    this.#written = false;
    await writeL1Sectors(this.#state, this.#space, { offset, view }, this.#l1Sectors);
  }
}

function includes(change: TableChange, position: number, bytes: number): void {
  change.from = Math.min(change.from, position);
  change.to = Math.max(change.to, position + bytes);
}

/** True where the L2 entry at `position` has a "copied" flag that is not what the references say, which are counted in the window. */
function wrongFlag(state: CheckState, table: DataView, position: number): boolean {
  if (!state.layout.isExternal) return !isCompressed(table.getUint32(position)) && contradicts(state, table, position);
  // Nobody else ever refers to a cluster of an external data file.
  const high = table.getUint32(position);
  return !isCopied(high) && hostIn(high, table.getUint32(position + 4)) !== 0;
}

/** True where the flag of an L1 or L2 entry is not what the references to its cluster say. */
function contradicts({ tally, clusterBytes }: CheckState, table: DataView, position: number): boolean {
  const high = table.getUint32(position);
  const host = hostIn(high, table.getUint32(position + 4));
  const index = host / clusterBytes - tally.start;
  if (host === 0 || index < 0 || index >= tally.size) return false;
  return (tally.references[index] === 1) !== isCopied(high);
}

/**
 * Corrects the "copied" flags of the active tables, of entries that point into the window; flushes. Tables in clusters of `shared` are left out. With `onlySet`,
 * flags are only set, where the refcount is one. Resolves with the number of flags that were left out.
 */
export async function mendFlags(
  state: CheckState,
  space: RepairSpace,
  shared: ReadonlySet<ClusterIndex>,
  { onlySet = false } = {},
): Promise<number> {
  const { file, tally, clusterBytes, codec } = state;
  const [l1] = state.l1Tables;
  const l1Sectors = new Set<number>();
  const writes: { at: HostOffset; bytes: Uint8Array }[] = [];
  let left = 0;
  let written = false;
  const mayChange = (table: DataView, position: number): boolean => {
    if (!onlySet) return true;
    const index = hostIn(table.getUint32(position), table.getUint32(position + 4)) / clusterBytes - tally.start;
    return tally.references[index] === 1 && tally.stored[index] === 1;
  };
  const write = async (): Promise<void> => {
    for (const { at, bytes } of writes.splice(0)) {
      await space.grow(at + bytes.length);
      await file.write(at, bytes);
      written = true;
    }
  };
  await visitTables(
    state,
    l1,
    ({ index, offset }, table) => {
      if (contradicts(state, l1.view, index * POINTER_BYTES) && mayChange(l1.view, index * POINTER_BYTES)) {
        setCopied(l1.view, index * POINTER_BYTES, !isCopied(l1.view.getUint32(index * POINTER_BYTES)));
        l1Sectors.add(Math.floor((index * POINTER_BYTES) / SECTOR));
      }
      if (table === null || offset === 0 || offset % clusterBytes !== 0) return;
      const isShared = shared.has((offset / clusterBytes) as ClusterIndex);
      let from = clusterBytes;
      let to = 0;
      for (let position = 0; position < clusterBytes; position += codec.entryBytes) {
        if (!wrongFlag(state, table, position)) continue;
        if (!state.layout.isExternal && !mayChange(table, position)) continue;
        if (isShared) {
          left++;
          continue;
        }
        setCopied(table, position, !isCopied(table.getUint32(position)));
        from = Math.min(from, position);
        to = position + codec.entryBytes;
      }
      if (to === 0) return;
      from -= from % SECTOR;
      to = Math.min(clusterBytes, Math.ceil(to / SECTOR) * SECTOR);
      writes.push({ at: (offset + from) as HostOffset, bytes: new Uint8Array(table.buffer, from, to - from) });
    },
    write,
  );
  await write();
  await writeL1Sectors(state, space, l1, l1Sectors);
  if (written || l1Sectors.size > 0) await file.flush();
  return left;
}

/** Writes the changed sectors of an L1 table, and flushes where there are some. */
async function writeL1Sectors(
  { file }: CheckState,
  space: RepairSpace,
  { offset, view }: Pick<L1Table, 'offset' | 'view'>,
  sectors: ReadonlySet<number>,
): Promise<void> {
  if (sectors.size === 0) return;
  for (const sector of sectors) {
    const from = sector * SECTOR;
    const bytes = new Uint8Array(view.buffer, from, Math.min(SECTOR, view.byteLength - from));
    await space.grow(offset + from + bytes.length);
    await file.write(offset + from, bytes);
  }
  await file.flush();
}
