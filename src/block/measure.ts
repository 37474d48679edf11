// How large an image will be: what a format is told of the source to say so, and the walk over the source's block status that counts what it holds.

import type { BlockdevCreateOptions, BlockdevDriver } from '../schema/generated/types.js';
import type { DirtyBitmap } from './bitmap.js';
import { chainStatus, chainStatusSync } from './chain.js';
import type { Graph } from './graph.js';
import type { BlockNode } from './node/node.js';

/** What `measure` of a driver gets. */
export interface MeasureRequest<D extends BlockdevDriver = BlockdevDriver> {
  graph: Graph;
  /** Those of the image, its size among them; `file` means nothing. */
  options: Extract<BlockdevCreateOptions, { driver: D }>;
  /** What is copied into the image; null: nothing. */
  source: MeasuredSource | null;
}

export interface MeasuredSource {
  /** Clusters of so many bytes that hold anything but zeroes, their number. Rejects as `BlockNode.blockStatus`. */
  clustersWithData(clusterBytes: number): Promise<number>;
  /** Those that a copy can take over; null where the source can have none. */
  bitmaps: readonly DirtyBitmap[] | null;
}

/**
 * Clusters of the disk of `top`, with all that lies below it, that do not read as zeroes by their block status. Work and memory follow from the tables, not from the size.
 * `passed` is called with the bytes that are counted; what it throws ends the walk.
 */
export async function clustersWithData(
  top: BlockNode,
  clusterBytes: number,
  passed: (bytes: number) => void = () => undefined,
): Promise<number> {
  const { length } = top;
  let count = 0;
  // Clusters before this one are counted, or hold zeroes alone.
  let next = 0;
  for (let at = 0; at < length; ) {
    const status = chainStatusSync(top, null, at, length - at) ?? (await chainStatus(top, null, at, length - at));
    const end = at + status.length;
    if (!status.zero) {
      const first = Math.max(next, Math.floor(at / clusterBytes));
      next = Math.ceil(end / clusterBytes);
      count += next - first;
    }
    at = end;
    passed(end);
  }
  return count;
}
