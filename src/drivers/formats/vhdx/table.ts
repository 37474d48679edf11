// The block allocation table (BAT), as the places of the disk's blocks. An entry has 64 bits: the state in the lowest three, and the place in MiB from bit 20 on. Behind the entries of so many
// blocks as a block of the sector bitmap describes, there is one for that:
//
//   | block 0 | block 1 | ... | block r-1 | bitmap 0 | block r | ...

import { HIGH_WORD } from '../../../util/bytes.js';
import type { ImageFile } from '../../image-file.js';
import { LinearTable } from '../blocks/linear-table.js';
import { badEntry, type Pages } from '../blocks/pages.js';
import { type BlockTables, HOLE, ZERO } from '../blocks/places.js';
import { FIRST_REGION_OFFSET, MAX_FILE_BYTES, type Range } from './header.js';
import { LOG_SECTOR_BYTES } from './log-entry.js';
import { chunkRatio, entryCount, entryOf, type Parameters } from './metadata.js';
import type { Regions } from './regions.js';

export const ENTRY_BYTES = 8;
export const State = { notPresent: 0, undefined: 1, zero: 2, unmapped: 3, full: 6, partial: 7 } as const;
/** Of one block of the sector bitmap. */
export const BITMAP_BYTES = 1 << 20;
const STATE_MASK = 7;
const PLACE_MASK = 0xfff0_0000;

/** The table and its region, whose form is known. */
export interface TableShape {
  readonly offset: number;
  readonly entries: number;
  readonly ratio: number;
  readonly blockBytes: number;
  /** Number of the disk's blocks. */
  readonly blocks: number;
  /** Bytes of the last block that the disk has: QEMU's fixed images end there. */
  readonly lastBytes: number;
  /** A block may have a part of its sectors, by its bits in a block of the sector bitmap. */
  readonly hasParent: boolean;
  readonly regions: Regions;
}

export function shapeOf(parameters: Parameters, regions: Regions): TableShape {
  const blocks = Math.ceil(parameters.size / parameters.blockBytes);
  return {
    offset: regions.bat[0],
    entries: entryCount(parameters),
    ratio: chunkRatio(parameters),
    blockBytes: parameters.blockBytes,
    blocks,
    lastBytes: parameters.size - (blocks - 1) * parameters.blockBytes,
    hasParent: parameters.hasParent,
    regions,
  };
}

export interface Entry {
  state: number;
  /** Offset in the file. */
  place: number;
}

export function entryAt(low: number, high: number): Entry {
  return { state: low & STATE_MASK, place: high * HIGH_WORD + ((low & PLACE_MASK) >>> 0) };
}

/** The two words of an entry, the lower one first. */
export function wordsOf({ state, place }: Entry): readonly [number, number] {
  return [((place % HIGH_WORD) + state) >>> 0, Math.floor(place / HIGH_WORD)];
}

/** The region that [start, end) lies on; undefined: on none. */
export function regionUnder({ regions }: TableShape, start: number, end: number): Range | undefined {
  if (start >= regions.all.at(-1)![1]) return undefined;
  return regions.all.find(([from, to]) => start < to && from < end);
}

/** Bytes of block `index` that the file has to have. */
export function neededBytes({ blocks, blockBytes, lastBytes }: TableShape, index: number): number {
  return index === blocks - 1 ? lastBytes : blockBytes;
}

/** Whether block `index` may lie there: in the file of `fileBytes`, on nothing else. */
export function isPlace(shape: TableShape, index: number, place: number, fileBytes: number): boolean {
  return place + neededBytes(shape, index) <= fileBytes && isOutside(shape, place, shape.blockBytes);
}

/** Whether block `index` may lie there but for its end, which the file of `fileBytes` does not have. */
export function isCutOff(shape: TableShape, index: number, place: number, fileBytes: number): boolean {
  return place < fileBytes && !isPlace(shape, index, place, fileBytes) && isOutside(shape, place, shape.blockBytes);
}

/** Whether a block of the sector bitmap may lie there. */
export function isBitmapPlace(shape: TableShape, place: number, fileBytes: number): boolean {
  return place + BITMAP_BYTES <= fileBytes && isOutside(shape, place, BITMAP_BYTES);
}

function isOutside(shape: TableShape, place: number, bytes: number): boolean {
  const end = place + bytes;
  return end <= MAX_FILE_BYTES && place >= FIRST_REGION_OFFSET && regionUnder(shape, place, end) === undefined;
}

export class BlockAllocationTable implements BlockTables {
  readonly #path: string;
  readonly #words: LinearTable;
  readonly #shape: TableShape;
  readonly #fileBytes: () => number;

  /** `fileBytes`: length of the file as it is at the moment. */
  constructor(file: ImageFile, shape: TableShape, fileBytes: () => number) {
    this.#path = file.path;
    this.#shape = shape;
    this.#fileBytes = fileBytes;
    // What is changed goes through the log, in sectors of that.
    this.#words = new LinearTable(file, {
      offset: shape.offset,
      entries: shape.entries * 2,
      littleEndian: true,
      unitBytes: LOG_SECTOR_BYTES,
    });
  }

  get pages(): Pages {
    return this.#words.pages;
  }

  get changedBytes(): number {
    return this.#words.pages.changedBytes;
  }

  /** The entry of block `index`; undefined where it is not in memory. */
  entry(index: number): Entry | undefined {
    const number = 2 * entryOf(index, this.#shape.ratio);
    const low = this.#words.get(number);
    return low === undefined ? undefined : entryAt(low, this.#words.get(number + 1)!);
  }

  place(index: number): number | undefined {
    const number = 2 * entryOf(index, this.#shape.ratio);
    const low = this.#words.get(number);
    if (low === undefined) return undefined;
    const state = low & STATE_MASK;
    if (state === State.zero) return ZERO;
    if (state <= State.unmapped) return HOLE;
    const place = this.#words.get(number + 1)! * HIGH_WORD + ((low & PLACE_MASK) >>> 0);
    if (state !== State.full) {
      throw badEntry(this.#path, `VHDX BAT entry ${index} has the state ${state}, which is not valid`, place);
    }
    if (isPlace(this.#shape, index, place, this.#fileBytes())) return place;
    throw badEntry(this.#path, `VHDX BAT entry ${index} points to no place of a block: ${place}`, place);
  }

  /** The entry of block `chunk` of the sector bitmap; undefined where it is not in memory. */
  bitmapEntry(chunk: number): Entry | undefined {
    const number = 2 * this.#bitmapNumber(chunk);
    const low = this.#words.get(number);
    return low === undefined ? undefined : entryAt(low, this.#words.get(number + 1)!);
  }

  /** Reads what `bitmapEntry` needs. Rejects with `io`. */
  loadBitmapEntry(chunk: number): Promise<void> {
    return this.#words.load(2 * this.#bitmapNumber(chunk));
  }

  #bitmapNumber(chunk: number): number {
    return chunk * (this.#shape.ratio + 1) + this.#shape.ratio;
  }

  load(index: number): Promise<void> {
    return this.#words.load(2 * entryOf(index, this.#shape.ratio));
  }

  prepare(first: number, last: number): Promise<() => void> {
    const { ratio } = this.#shape;
    return this.#words.prepare(2 * entryOf(first, ratio), 2 * entryOf(last, ratio) + 1);
  }

  set(index: number, place: number): void {
    if (place === HOLE) this.#put(index, { state: State.notPresent, place: 0 });
    else if (place === ZERO) this.#put(index, { state: State.zero, place: 0 });
    else this.#put(index, { state: State.full, place });
  }

  #put(index: number, entry: Entry): void {
    const number = 2 * entryOf(index, this.#shape.ratio);
    const [low, high] = wordsOf(entry);
    this.#words.set(number, low);
    this.#words.set(number + 1, high);
  }
}
