// Dirty bitmaps of an open image, by name.

import { DEFAULT_GRANULARITY, DirtyBitmap } from '../block/bitmap.js';
import type { BlockNode } from '../block/node/node.js';
import type { BlockDirtyBitmapOrStr } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';

/** The default of a node with clusters is a cluster, and no less than this. */
const LEAST_DEFAULT_GRANULARITY = 4096;

export interface NewBitmap {
  /** Bytes. Default: the node's cluster, at least 4 KiB; 64 KiB where it has none. */
  granularity?: number;
  /** Whether it records from the beginning on. Default: true. */
  enabled?: boolean;
}

/** Adds a bitmap to `node`. Throws `exists`, `invalid-argument`. */
export function addBitmap(node: BlockNode, name: string, options: NewBitmap = {}): DirtyBitmap {
  const { bitmaps, length, clusterBytes } = node;
  if (bitmaps.has(name)) throw new BlockError('exists', `Bitmap already exists: ${name}`);
  const byCluster = clusterBytes === 0 ? DEFAULT_GRANULARITY : Math.max(LEAST_DEFAULT_GRANULARITY, clusterBytes);
  const { granularity = byCluster, enabled } = options;
  const bitmap = new DirtyBitmap({ name, size: length, granularity, enabled });
  bitmaps.set(name, bitmap);
  return bitmap;
}

/** The bitmap of `node` by its name. Throws `not-found`. */
export function bitmapOf({ bitmaps }: BlockNode, name: string): DirtyBitmap {
  const bitmap = bitmaps.get(name);
  if (bitmap === undefined) throw new BlockError('not-found', `Dirty bitmap '${name}' not found`);
  return bitmap;
}

/** Removes a bitmap. Throws `not-found`, and `busy` where a job or an export uses it. */
export function removeBitmap(node: BlockNode, name: string): void {
  const bitmap = bitmapOf(node, name);
  if (bitmap.busy) throw new BlockError('busy', `Bitmap '${name}' is currently in use by another operation`);
  node.bitmaps.delete(name);
}

/**
 * Adds `sources` to the bitmap `target` of `node`: all, or none. A source is named alone where it is of the same node. Throws `not-found`, `busy`,
 * `bad-state` (inconsistent), `invalid-argument` (of another size), `limit`.
 */
export function mergeBitmaps(node: BlockNode, target: string, sources: readonly BlockDirtyBitmapOrStr[]): void {
  const into = bitmapOf(node, target);
  into.checkUsable();
  const all = new DirtyBitmap({ size: into.size, granularity: into.granularity, enabled: false });
  for (const source of sources) {
    const from =
      typeof source === 'string' ? bitmapOf(node, source) : bitmapOf(node.graph.find(source.node), source.name);
    from.checkUsable();
    all.merge(from);
  }
  into.merge(all);
}
