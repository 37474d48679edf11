// A table of 64-bit pointers that is held in memory as a whole: the L1 table and the refcount table. Raw bytes, decoded on look-up;
// changes are remembered by sector. Before an entry is changed, its place in the file is made sure of (`reserve`).

import type { ImageFile } from './image-file.js';
import { SECTOR } from './types.js';

/** Bits 9 to 55 of a pointer, high word. */
const OFFSET_HIGH = 0x00ff_ffff;
const COPIED_HIGH = 0x8000_0000;
/** A table is reserved by pieces of so many bytes. */
const PIECE = 4096;

export class PointerTable {
  /** Host offset of the table. */
  offset: number;
  /** Number of entries. */
  entries: number;
  /** Padded to whole sectors. */
  bytes: Uint8Array;
  view: DataView;
  readonly dirtySectors = new Set<number>();
  /** Pieces that are allocated on the file system, or being so; null: all are. */
  #solid: Map<number, Promise<void> | null> | null = new Map();

  constructor(offset: number, entries: number) {
    this.offset = offset;
    this.entries = entries;
    this.bytes = new Uint8Array(Math.ceil((entries * 8) / SECTOR) * SECTOR);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Offset that entry `index` holds; 0 for none. Not checked: may be misaligned, or beyond what a number holds exactly. */
  target(index: number): number {
    return (this.view.getUint32(index * 8) & OFFSET_HIGH) * 0x1_0000_0000 + lowBits(this.view.getUint32(index * 8 + 4));
  }

  /** The COPIED flag (bit 63) of entry `index`. */
  copied(index: number): boolean {
    return (this.view.getUint32(index * 8) & COPIED_HIGH) !== 0;
  }

  set(index: number, target: number, copied: boolean): void {
    const high = Math.floor(target / 0x1_0000_0000) | (copied ? COPIED_HIGH : 0);
    this.view.setUint32(index * 8, high >>> 0);
    this.view.setUint32(index * 8 + 4, target % 0x1_0000_0000);
    this.dirtySectors.add(Math.floor((index * 8) / SECTOR));
  }

  /** Entry `index` can be written later: its place in `file` is allocated when this resolves; null: it is already. Rejects with `no-space`, `io`. */
  reserve(file: ImageFile, index: number): Promise<void> | null {
    const pieces = this.#solid;
    if (pieces === null) return null;
    const piece = Math.floor((index * 8) / PIECE);
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
   * The table gets another place, where all of it was written, and another size; entries are kept, those beyond the new size dropped. All
   * that is done at once. When the result resolves, nobody reserves the old place any more: only then may others have it.
   */
  resize(offset: number, entries: number): Promise<unknown> {
    const bytes = new Uint8Array(Math.ceil((entries * 8) / SECTOR) * SECTOR);
    const kept = Math.min(this.entries, entries) * 8;
    bytes.set(this.bytes.subarray(0, kept));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
    this.offset = offset;
    this.entries = entries;
    const reserving = [...(this.#solid?.values() ?? [])];
    this.#solid = null;
    return Promise.allSettled(reserving);
  }
}

/** Bits 9 to 31: the rest is reserved. */
function lowBits(word: number): number {
  return (word & 0xffff_fe00) >>> 0;
}
