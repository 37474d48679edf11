// What the requests of a block format know of its disk: its tables and its space.

import type { ZeroFlags } from '../../../block/types.js';
import type { Memory } from '../../../host/host.js';
import type { ImageFile } from '../../image-file.js';
import type { NewBlock } from './space.js';

/** The block has no place. */
export const HOLE = -1;
/** The block reads as zeroes, whatever lies below. */
export const ZERO = -2;
/** The block is compressed, which its entry says more of (`BlockDisk.compressed`): what is written to it gives it a place. */
export const COMPRESSED = -3;

/** The tables of an image. */
export interface BlockTables {
  /** The place of block `index`: an offset in the file, HOLE, ZERO, COMPRESSED; undefined where the table is not in memory. Throws `corrupt-image`. */
  place(index: number): number | undefined;
  /** Reads the table that `place` needs. Rejects with `io`, `corrupt-image`. */
  load(index: number): Promise<void>;
  /**
   * Makes all ready for `set` of these blocks, so that it cannot fail: their tables are in memory, and have space in the file, until what this resolves with is
   * called. Rejects with `no-space`, `io`, `corrupt-image`.
   */
  prepare(first: number, last: number): Promise<() => void>;
  /** The block lies at `place` from now on, or is ZERO where the format has that. */
  set(index: number, place: number): void;
  /** Bytes of tables that were changed, and are not written. */
  readonly changedBytes: number;
}

/** New blocks of an image. */
export interface BlockSource {
  take(): Promise<NewBlock>;
  giveBack(block: NewBlock): void;
}

/** What holes are filled with: the same part of the backing node. */
export interface Below {
  /** Bytes; zeroes are read beyond. */
  readonly length: number;
  read(offset: number, buffer: Uint8Array): Promise<void>;
}

/** Changed tables of so many bytes are written before more is written to the disk. */
export const MAX_CHANGED_BYTES = 16 << 20;

/** Fills `buffer` with what lies below a hole at `offset`, up to its end; zeroes beyond. `file`: of the image that the hole is in. Rejects as reads do. */
export async function readBelow(
  file: ImageFile,
  below: Below | null,
  offset: number,
  buffer: Uint8Array,
): Promise<void> {
  const inside = below === null ? 0 : Math.max(0, Math.min(buffer.length, below.length - offset));
  if (inside < buffer.length) buffer.fill(0, inside);
  if (inside === 0) return;
  const stop = file.raise('read_backing_aio');
  if (stop !== undefined) await stop;
  await below!.read(offset, buffer.subarray(0, inside));
}

/** How far a run of holes at `offset` has one status: up to the end of what lies below, and zeroes beyond it. */
export function holeRun(below: Below | null, offset: number, length: number): { length: number; zero: boolean } {
  const left = (below?.length ?? 0) - offset;
  return left <= 0 ? { length, zero: true } : { length: Math.min(length, left), zero: false };
}

/** The content of blocks that are COMPRESSED. */
export interface CompressedBlocks {
  /**
   * Reads from `offset` of the disk on, of blocks that were all COMPRESSED when their places were last asked for. Null: one of them is not any more, or its table is not in memory. Where
   * their places are is found before this returns, so that they may be written meanwhile. Rejects with `corrupt-image`, `invalid-image`, `io`.
   */
  read(offset: number, buffer: Uint8Array): Promise<void> | null;
}

/** How what a block holds lies at its place. `offset`: of the disk, where `buffer`, whole sectors, begins. */
export interface BlockCoding {
  read(place: number, offset: number, buffer: Uint8Array): Promise<void>;
  /** `buffer` stays as it is. */
  write(place: number, offset: number, buffer: Uint8Array): Promise<void>;
}

/** A disk in blocks, or a part of one that has tables of its own. Offsets count from its beginning. */
export interface BlockDisk {
  readonly blockBytes: number;
  /** Bytes. */
  readonly length: number;
  readonly file: ImageFile;
  readonly tables: BlockTables;
  readonly space: BlockSource;
  readonly memory: Memory;
  /** Null: holes read as zeroes. */
  readonly below: Below | null;
  /** A block can be ZERO. */
  readonly hasZeroBlocks: boolean;
  /** Block status calls a hole of an image that has nothing below it allocated, as QEMU does for the format. */
  readonly holesAreAllocated: boolean;
  /** Block status asks the file, too, where blocks are holes of it: all blocks were allocated when the image was made. */
  readonly looksIntoFile: boolean;
  /** Of a format that has compressed blocks. */
  readonly compressed?: CompressedBlocks;
  /** What is at the place of a block is not what the disk has, as it is encrypted. Requests are whole sectors then. */
  readonly coding?: BlockCoding;
  /** Makes durable what was answered. */
  commit(): Promise<void>;
  /** Writes zeroes as data, or refuses to (`noFallback`). */
  writeData(offset: number, length: number, flags: ZeroFlags): Promise<void>;
}

/** Takes `count` blocks. Who takes blocks at the same time does not come between: where the source gives neighbours, they are neighbours. Rejects as `take`; then none is taken. */
export async function takeAll(source: BlockSource, count: number): Promise<NewBlock[]> {
  const taking = Array.from({ length: count }, () => source.take());
  const ends = await Promise.allSettled(taking);
  const blocks = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed === undefined) return blocks;
  for (const block of blocks.reverse()) source.giveBack(block);
  throw failed.reason;
}
