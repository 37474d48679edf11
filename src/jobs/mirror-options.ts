// What a mirror is told, and the bounds of its numbers.

import type { BlockNode } from '../block/node/node.js';
import type { BitmapSyncMode, MirrorCopyMode, MirrorSyncMode } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { isPowerOfTwo } from '../util/numbers.js';
import type { FilterPlan } from './job-filter.js';

export interface MirrorOptions {
  source: BlockNode;
  target: BlockNode;
  sync: MirrorSyncMode;
  /** `sync: incremental` or `bitmap`: a bitmap of the source. */
  bitmap?: string;
  bitmapMode?: BitmapSyncMode;
  /** Bytes of one bit of the dirty bitmap; default: the target's cluster, 4 KiB to 64 KiB. */
  granularity?: number;
  /** Bytes in flight at most. */
  bufSize?: number;
  /** Zeroes may become holes on the target. Default: true. */
  unmap?: boolean;
  /** Each write to the target is durable when it is answered. Default: all is flushed at the end. */
  fua?: boolean;
  copyMode?: MirrorCopyMode;
  /** Node whose users get the target at the end; default: the source. */
  replaces?: BlockNode;
  /** The target reads as zeroes. Default: its block status says. */
  targetIsZero?: boolean;
  /**
   * The target keeps the backing node that it has, or none. Default: where `sync` is `top` or `none` and it has none, it gets the source's at the
   * pivot (`none`: the source itself).
   */
  keepsBacking?: true;
  /** The filter node that the job puts above the source. Default: it puts none there. */
  filter?: FilterPlan | null;
}

const MIN_GRANULARITY = 512;
const MAX_GRANULARITY = 64 * 1024 * 1024;
const DEFAULT_GRANULARITY = 65536;
/** QEMU's default of `buf-size`. */
export const DEFAULT_BUF_BYTES = 10 * 1024 * 1024;

/** Throws `invalid-argument`, in QEMU's words. */
export function checkGranularity(granularity: number | undefined): void {
  if (granularity === undefined) return;
  if (!(granularity >= MIN_GRANULARITY && granularity <= MAX_GRANULARITY)) {
    throw new BlockError('invalid-argument', `Parameter 'granularity' expects a value in range [512B, 64MB]`);
  }
  if (!isPowerOfTwo(granularity)) {
    throw new BlockError('invalid-argument', `Parameter 'granularity' expects a power of 2`);
  }
}

/** Throws `invalid-argument`, in QEMU's words. */
export function checkMirrorOptions({ granularity, bufSize }: Pick<MirrorOptions, 'granularity' | 'bufSize'>): void {
  checkGranularity(granularity);
  if (bufSize !== undefined && !(Number.isSafeInteger(bufSize) && bufSize >= 0)) {
    throw new BlockError('invalid-argument', "Invalid parameter 'buf-size'");
  }
}

/** QEMU's default: the target's cluster size where it is from 4 KiB to 64 KiB, else 64 KiB. */
export function granularityFor(clusterBytes: number): number {
  return clusterBytes >= 4096 && clusterBytes <= DEFAULT_GRANULARITY ? clusterBytes : DEFAULT_GRANULARITY;
}
