// Dirty bitmaps of an open image, by name.

import { DEFAULT_GRANULARITY, DirtyBitmap } from '../block/bitmap.js';
import { bitmapOf } from '../block/find-bitmap.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockError } from '../util/errors.js';

/** The default of a node with clusters is a cluster, and no less than this. */
const LEAST_DEFAULT_GRANULARITY = 4096;

export interface NewBitmap {
  /** Bytes. Default: the node's cluster, at least 4 KiB; 64 KiB where it has none. */
  granularity?: number;
  /** It is to be stored in the image. */
  persistent?: boolean;
  /** Whether it records from the beginning on. Default: true. */
  enabled?: boolean;
}

/** Adds a bitmap to `node`. Throws `exists`, `invalid-argument`, `unsupported`. */
export function addBitmap(node: BlockNode, name: string, options: NewBitmap = {}): DirtyBitmap {
  const { bitmaps, length, clusterBytes } = node;
  const byCluster = clusterBytes === 0 ? DEFAULT_GRANULARITY : Math.max(LEAST_DEFAULT_GRANULARITY, clusterBytes);
  const { granularity = byCluster, enabled, persistent } = options;
  const bitmap = new DirtyBitmap({ name, size: length, granularity, enabled });
  if (persistent) throw notStored(node);
  if (bitmaps.has(name)) throw new BlockError('exists', `Bitmap already exists: ${name}`);
  bitmaps.set(name, bitmap);
  return bitmap;
}

/** No driver stores bitmaps that a running program has. */
function notStored({ filename: path, nodeName }: BlockNode): BlockError {
  return new BlockError('unsupported', `Can't store persistent bitmaps to ${nodeName}: Operation not supported`, {
    path,
  });
}

/** Removes a bitmap. Throws `not-found`, and `busy` where a job or an export uses it. */
export function removeBitmap(node: BlockNode, name: string): void {
  bitmapOf(node, name).checkFree();
  node.bitmaps.delete(name);
}

/** Adds `sources` to `target`: all, or none. Throws `busy`, `bad-state` (inconsistent), `invalid-argument` (of another size), `limit`. */
export function mergeBitmaps(target: DirtyBitmap, sources: readonly DirtyBitmap[]): void {
  target.checkUsable();
  const all = new DirtyBitmap({ size: target.size, granularity: target.granularity, enabled: false });
  for (const source of sources) all.merge(source);
  target.merge(all);
}
