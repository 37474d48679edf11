// A table of 64-bit pointers that is held in memory as a whole: the L1 table and the refcount table. Raw bytes, decoded on look-up;
// changes are remembered by sector.

import { SECTOR } from './types.js';

/** Bits 9 to 55 of a pointer, high word. */
const OFFSET_HIGH = 0x00ff_ffff;
const COPIED_HIGH = 0x8000_0000;

export class PointerTable {
  /** Host offset of the table. */
  offset: number;
  /** Number of entries. */
  entries: number;
  /** Padded to whole sectors. */
  bytes: Uint8Array;
  view: DataView;
  readonly dirtySectors = new Set<number>();

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

  /** The table gets another place and size; entries are kept, those beyond the new size dropped. */
  resize(offset: number, entries: number): void {
    const bytes = new Uint8Array(Math.ceil((entries * 8) / SECTOR) * SECTOR);
    const kept = Math.min(this.entries, entries) * 8;
    bytes.set(this.bytes.subarray(0, kept));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
    this.offset = offset;
    this.entries = entries;
  }
}

/** Bits 9 to 31: the rest is reserved. */
function lowBits(word: number): number {
  return (word & 0xffff_fe00) >>> 0;
}
