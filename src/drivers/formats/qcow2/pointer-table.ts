// A table of 64-bit pointers that is kept in memory as a whole: the L1 table and the refcount table. It is raw bytes, decoded on look-up; changes are
// noted by sector. Before an entry is changed, its place in the file must be reserved (`reserve`).

import type { ImageFile } from '../../image-file.js';
import { POINTER_BYTES, pointerCopied, pointerTarget, putPointer } from './pointer-codec.js';
import type { TableMath } from './table-math.js';
import { type HostOffset, SECTOR } from './types.js';

/** A table is reserved in pieces of so many bytes. */
const PIECE = 4096;

export class PointerTable {
  /** Host offset of the table. */
  offset: HostOffset;
  /** Number of entries. */
  entries: number;
  /** Padded to whole sectors. */
  bytes: Uint8Array;
  view: DataView;
  readonly dirtySectors = new Set<number>();
  /** Pieces that are reserved (null), or being reserved (a promise); null instead of the map: all are reserved. */
  #reserved: Map<number, Promise<void> | null> | null = new Map();

  constructor(offset: HostOffset, entries: number) {
    this.offset = offset;
    this.entries = entries;
    this.bytes = new Uint8Array(Math.ceil((entries * POINTER_BYTES) / SECTOR) * SECTOR);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Offset that entry `index` holds; 0 for none. Not checked: may be misaligned, or beyond what a number holds exactly. */
  target(index: number): HostOffset {
    return pointerTarget(this.view, index);
  }

  /** All offsets that its entries hold. */
  targets(math: TableMath): Float64Array<ArrayBuffer> {
    let count = 0;
    for (let i = this.#used(math, 0); i < this.entries; i = this.#used(math, i + 1)) if (this.target(i) !== 0) count++;
    const offsets = new Float64Array(count);
    for (let i = this.#used(math, 0); count > 0; i = this.#used(math, i + 1)) {
      if (this.target(i) !== 0) offsets[--count] = this.target(i);
    }
    return offsets;
  }

  /** Index of the first entry that is not zero, from `from` on; `entries` where there is none. */
  #used(math: TableMath, from: number): number {
    return from + math.zeroes(this.view, from * POINTER_BYTES, this.entries - from);
  }

  /** The COPIED flag (bit 63) of entry `index`. */
  copied(index: number): boolean {
    return pointerCopied(this.view, index);
  }

  set(index: number, target: HostOffset, copied: boolean): void {
    putPointer(this.view, index, target, copied);
    this.dirtySectors.add(Math.floor((index * POINTER_BYTES) / SECTOR));
  }

  /** Allocates the place of entry `index` in `file`, so that it can be written later; null: it is allocated already. Rejects with `no-space`, `io`. */
  reserve(file: ImageFile, index: number): Promise<void> | null {
    const pieces = this.#reserved;
    if (pieces === null) return null;
    const piece = Math.floor((index * POINTER_BYTES) / PIECE);
    const known = pieces.get(piece);
    if (known !== undefined) return known;
    const reserving = this.#reserve(file, piece).then(
      () => {
        pieces.set(piece, null);
      },
      (error: unknown) => {
        pieces.delete(piece);
        throw error;
      },
    );
    pieces.set(piece, reserving);
    return reserving;
  }

  async #reserve(file: ImageFile, piece: number): Promise<void> {
    const from = this.offset + piece * PIECE;
    const length = Math.min(PIECE, this.bytes.length - piece * PIECE);
    await file.ensureLength(from + length);
    await file.reserve(from, length);
  }

  /**
   * Moves the table to another place, where all of it was written, and changes its size; entries beyond the new size are dropped. The change itself is
   * synchronous. When the result resolves, no reservation of the old place is under way any more: only then may that be freed.
   */
  resize(offset: HostOffset, entries: number): Promise<unknown> {
    const bytes = new Uint8Array(Math.ceil((entries * POINTER_BYTES) / SECTOR) * SECTOR);
    const kept = Math.min(this.entries, entries) * POINTER_BYTES;
    bytes.set(this.bytes.subarray(0, kept));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
    this.offset = offset;
    this.entries = entries;
    const reserving = [...(this.#reserved?.values() ?? [])];
    this.#reserved = null;
    return Promise.allSettled(reserving);
  }

  /** Takes another content, which was written at `offset` as a whole. Nothing of the table may be dirty or being reserved. */
  replace(offset: HostOffset, content: Uint8Array, entries: number): void {
    const bytes = new Uint8Array(Math.ceil((entries * POINTER_BYTES) / SECTOR) * SECTOR);
    bytes.set(content.subarray(0, entries * POINTER_BYTES));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
    this.offset = offset;
    this.entries = entries;
    this.#reserved = null;
  }
}
