// How large an image would become: an empty one of a size, or the copy of another.

import type { DirtyBitmap } from '../block/bitmap.js';
import type { ImageCreateOptions } from '../block/create.js';
import type { Graph } from '../block/graph.js';
import { clustersWithData } from '../block/measure.js';
import type { BlockNode } from '../block/node/node.js';
import { findDriver } from '../block/registry.js';
import type { BlockMeasureInfo } from '../schema/generated/types.js';
import { refuseAborted } from '../util/abort.js';
import { BlockError } from '../util/errors.js';
import { storedBitmaps } from './bitmap-copy.js';

/** An image that is measured. */
export interface Measured {
  node: BlockNode;
  /** `copiedBitmaps` of it. */
  bitmaps: readonly DirtyBitmap[] | null;
}

/** How the walk over a source is followed, and ended. */
export interface MeasureWatch {
  signal?: AbortSignal;
  /** Bytes of the source's disk that are looked at, and all of them. */
  onProgress?: (current: number, total: number) => void;
}

/**
 * The bitmaps that a copy of `node` can take over; null where it can have none. It is asked before a snapshot is shown in place of the disk: as in qemu-img, the
 * bitmaps are those of the disk also then.
 */
export function copiedBitmaps(node: BlockNode): readonly DirtyBitmap[] | null {
  if (node.abilities.bitmaps?.storable !== true) return null;
  return storedBitmaps(node).filter(({ inconsistent }) => !inconsistent);
}

/**
 * The size of an empty image that is made with `options`, or with `source`, of a copy of it: then the size among `options` is the source's. Nothing is made, and
 * files that the options name are not looked at. Rejects with `unsupported` for a format that cannot say so, with `invalid-argument`, `not-found`, `limit`,
 * `cancelled` after an abort, and as the block status of the source.
 */
export async function measureImage(
  graph: Graph,
  options: ImageCreateOptions,
  source: Measured | null,
  { signal, onProgress }: MeasureWatch = {},
): Promise<BlockMeasureInfo> {
  const { measure } = findDriver(options.driver);
  if (measure === undefined) {
    throw new BlockError('unsupported', `Block driver '${options.driver}' does not support size measurement`);
  }
  return measure({
    graph,
    options: { ...options, file: '' } as Parameters<typeof measure>[0]['options'],
    source: source && {
      clustersWithData: (clusterBytes) =>
        clustersWithData(source.node, clusterBytes, (bytes) => {
          refuseAborted(signal);
          onProgress?.(bytes, source.node.length);
        }),
      bitmaps: source.bitmaps,
    },
  });
}
