// Dirty bitmaps of nodes.

import type { DirtyBitmap } from '../../block/bitmap.js';
import { bitmapDigest } from '../../block/bitmap-digest.js';
import { bitmapNode, bitmapOf } from '../../block/find-bitmap.js';
import type { BlockDirtyBitmap, BlockDirtyBitmapAdd, BlockDirtyBitmapMerge } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import { addStoredBitmap, mergeBitmaps, type NewBitmap, removeStoredBitmap } from '../../workspace/bitmap.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';
import { findNode } from '../find.js';

/** Throws `not-found`. */
export function namedBitmap(context: QmpContext, { node, name }: BlockDirtyBitmap): DirtyBitmap {
  return bitmapOf(bitmapNode(context.graph, node), name);
}

/** What a new bitmap is to be like. */
export function newBitmapOf({ granularity, persistent, disabled = false }: BlockDirtyBitmapAdd): NewBitmap {
  return { granularity, persistent, enabled: !disabled };
}

/** The bitmaps that are added to another one. Throws `not-found`. */
export function mergeSources(context: QmpContext, { node, bitmaps }: BlockDirtyBitmapMerge): DirtyBitmap[] {
  return bitmaps.map((one) => namedBitmap(context, typeof one === 'string' ? { node, name: one } : one));
}

export const BITMAP_COMMANDS = {
  async 'block-dirty-bitmap-add'(context, options) {
    if (options.name === '') throw new BlockError('invalid-argument', 'Bitmap name cannot be empty');
    await addStoredBitmap(findNode(context, options.node), options.name, newBitmapOf(options));
  },

  'block-dirty-bitmap-remove': (context, { node, name }) => removeStoredBitmap(bitmapNode(context.graph, node), name),
  'block-dirty-bitmap-clear': (context, bitmap) => namedBitmap(context, bitmap).clear(),
  'block-dirty-bitmap-enable': (context, bitmap) => namedBitmap(context, bitmap).enable(),
  'block-dirty-bitmap-disable': (context, bitmap) => namedBitmap(context, bitmap).disable(),

  'x-debug-block-dirty-bitmap-sha256': (context, bitmap) => ({ sha256: bitmapDigest(namedBitmap(context, bitmap)) }),

  'block-dirty-bitmap-merge'(context, options) {
    const target = namedBitmap(context, { node: options.node, name: options.target });
    mergeBitmaps(target, mergeSources(context, options));
  },
} satisfies Partial<CommandTable>;
