// Dirty bitmaps by their names, with QEMU's words for those that are not there.

import { BlockError } from '../util/errors.js';
import type { DirtyBitmap } from './bitmap.js';
import type { Graph } from './graph.js';
import type { BlockNode } from './node/node.js';

/** The node of that name, or the root node of the device of that name. Throws `not-found`. */
export function bitmapNode(graph: Graph, name: string): BlockNode {
  const found = graph.lookUp(name);
  if (found === undefined) throw new BlockError('not-found', `Node '${name}' not found`);
  return found;
}

/** The bitmap of `node` by its name. Throws `not-found`. */
export function bitmapOf({ bitmaps }: BlockNode, name: string): DirtyBitmap {
  const bitmap = bitmaps.get(name);
  if (bitmap === undefined) throw new BlockError('not-found', `Dirty bitmap '${name}' not found`);
  return bitmap;
}
