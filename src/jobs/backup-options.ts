// What a backup is told, and what it refuses: numbers out of bounds, and targets that the source cannot be copied to.

import { MIN_CLUSTER_BYTES } from '../block/keeper.js';
import type { BlockNode } from '../block/node/node.js';
import type { BitmapSyncMode, MirrorSyncMode, OnCbwError } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { roundDown } from '../util/numbers.js';
import { CHUNK_BYTES, WORKERS } from './copy-engine.js';
import type { FilterPlan } from './job-filter.js';
import { refuseOtherSize, refuseReadOnly } from './resources.js';

export interface BackupOptions {
  source: BlockNode;
  /** Writable, as long as the source; for `sync: top`, `incremental` and `bitmap` its backing node holds the rest. */
  target: BlockNode;
  sync: MirrorSyncMode;
  bitmap?: string;
  bitmapMode?: BitmapSyncMode;
  /** Store as compressed clusters. */
  compress?: boolean;
  /** Default: `break-guest-write`. */
  onCbwError?: OnCbwError;
  /** The target reads as zeroes. Default: its block status says. */
  targetIsZero?: boolean;
  /** Requests of the background copy in flight, and bytes of each. */
  /** The target may share blocks with the source, where the file system can; data is not looked through for zeroes then. */
  copyRange?: boolean;
  maxWorkers?: number;
  maxChunk?: number;
  /** The filter node that the job puts above the source. Default: it puts none there. */
  filter?: FilterPlan | null;
}

const INT_MAX = 2 ** 31 - 1;
/** More requests in flight, or larger ones, than these would only take memory. */
export const MAX_WORKERS = 64;
const MAX_CHUNK_BYTES = 64 * 1024 * 1024;

/** Refuses a target that `source` cannot be copied to. Throws `invalid-argument`, `read-only`. */
export function checkTarget(source: BlockNode, target: BlockNode): void {
  refuseOtherSize(source, target);
  refuseReadOnly(target);
}

/** `clusterBytes` is the target's. Throws `invalid-argument`. */
export function checkPerformance(options: Pick<BackupOptions, 'maxWorkers' | 'maxChunk'>, clusterBytes: number): void {
  const { maxWorkers = WORKERS, maxChunk = 0 } = options;
  const granularity = Math.max(MIN_CLUSTER_BYTES, clusterBytes);
  if (!Number.isSafeInteger(maxWorkers) || maxWorkers < 1 || maxWorkers > INT_MAX) {
    throw new BlockError('invalid-argument', `max-workers must be between 1 and ${INT_MAX}`);
  }
  if (!Number.isSafeInteger(maxChunk) || maxChunk < 0) {
    throw new BlockError('invalid-argument', 'max-chunk must be zero (which means no limit) or positive');
  }
  if (maxChunk > 0 && maxChunk < granularity) {
    throw new BlockError(
      'invalid-argument',
      `Required max-chunk (${maxChunk}) is less than backup cluster size (${granularity})`,
    );
  }
}

/** Whole clusters, as many as the limit allows. */
export function chunkBytesOf(maxChunk: number | undefined, granularity: number): number {
  if (!maxChunk) return Math.max(CHUNK_BYTES, granularity);
  return roundDown(Math.min(maxChunk, MAX_CHUNK_BYTES), granularity);
}
