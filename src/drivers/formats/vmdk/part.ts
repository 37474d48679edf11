// A part of the disk: an extent. Offsets count from its beginning; requests lie within it.

import type { RepairKind } from '../../../block/abilities.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { BlockStatus, Compression, Extent, Located, MovePlace, ZeroFlags } from '../../../block/types.js';
import type { VmdkExtentInfo } from '../../../schema/generated/types.js';

/** Where an extent is in the image. */
export interface ExtentPlace {
  /** First byte on the disk. */
  start: number;
  /** The name of its file, by which findings tell it from others; undefined where there are no others. */
  extent: string | undefined;
}

export interface Part {
  /** Bytes. */
  readonly length: number;
  /** Bytes of a grain; 0 where there are none. */
  readonly grainBytes: number;
  readonly info: VmdkExtentInfo;
  /** What it does with compressed writes. */
  readonly compression: Compression;
  /** Why it is never written to; null: it is a `WritablePart`, and its own rules say how far. */
  readonly onlyRead: string | null;
  locate(offset: number, length: number, write: boolean, into: Located): boolean;
  read(offset: number, buffer: Uint8Array): Promise<void>;
  statusSync(offset: number, length: number): BlockStatus | null;
  status(offset: number, length: number): Promise<BlockStatus>;
  /** Looks at all its tables. Each finding is one call of `report`, with `repairs` where `kind` is for it. Resolves with their number. Rejects with `io`. Left out: it has none. */
  check?(place: ExtentPlace, report: (finding: CheckFinding) => void, kind?: RepairKind): Promise<number>;
  /** Forgets what is in memory. */
  clear(): void;
}

/** A part that can be written to, as far as its own rules allow. */
export interface WritablePart extends Part {
  write(offset: number, buffer: Uint8Array): Promise<void>;
  writeZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void>;
  discard(offset: number, length: number): Promise<void>;
  prepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null>;
  /** So many bytes are about to be written. */
  expect?(bytes: number): void;
  /** Makes holes of all grains; who reads them meanwhile may still do so. Left out: that is done by writes. */
  makeEmpty?(): Promise<void>;
  /** Makes durable what was answered. */
  commit(): Promise<void>;
  /** Cuts what the file has beyond its use. */
  trim(): Promise<void>;
  /** Gives back what `makeEmpty`, or a copy, has dropped. Only when the image is closed: before that, a read that was located may still go there. */
  dropUnused?(): Promise<void>;
  /** Repairs all that `check` finds. Rejects with `io`. */
  repair?(): Promise<void>;
}

/** Whether there are calls that write to it. */
export function isWritable(part: Part): part is WritablePart {
  return 'write' in part;
}
