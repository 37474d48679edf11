// A part of the disk: an extent. Offsets count from its beginning; requests lie within it.

import type { BlockStatus, Extent, Located, MovePlace, ZeroFlags } from '../../../block/types.js';
import type { VmdkExtentInfo } from '../../../schema/generated/types.js';

export interface Part {
  /** Bytes. */
  readonly length: number;
  /** Bytes of a grain; 0 where there are none. */
  readonly grainBytes: number;
  readonly info: VmdkExtentInfo;
  locate(offset: number, length: number, write: boolean, into: Located): boolean;
  read(offset: number, buffer: Uint8Array): Promise<void>;
  statusSync(offset: number, length: number): BlockStatus | null;
  status(offset: number, length: number): Promise<BlockStatus>;
  /** Forgets what is in memory. */
  clear(): void;
}

/** A part that can be written to, as far as its own rules allow. */
export interface WritablePart extends Part {
  write(offset: number, buffer: Uint8Array): Promise<void>;
  writeZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void>;
  discard(offset: number, length: number): Promise<void>;
  prepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null>;
  /** Makes durable what was answered. */
  commit(): Promise<void>;
  /** Cuts what the file has beyond its use. */
  trim(): Promise<void>;
}
