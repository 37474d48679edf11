// Dirty bitmaps of nodes.

import type { DirtyBitmap } from '../../block/bitmap.js';
import type { BlockDirtyBitmap } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import { addBitmap, bitmapOf, mergeBitmaps, removeBitmap } from '../../workspace/bitmap.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';
import { findNode } from '../find.js';

function named(context: QmpContext, { node, name }: BlockDirtyBitmap): DirtyBitmap {
  return bitmapOf(findNode(context, node), name);
}

export const BITMAP_COMMANDS = {
  'block-dirty-bitmap-add'(context, { node: nodeName, name, granularity, persistent = false, disabled = false }) {
    const node = findNode(context, nodeName);
    if (persistent) throw new BlockError('unsupported', 'Persistent bitmaps are not supported yet');
    addBitmap(node, name, { granularity, enabled: !disabled });
  },

  'block-dirty-bitmap-remove': (context, { node, name }) => removeBitmap(findNode(context, node), name),
  'block-dirty-bitmap-clear': (context, bitmap) => named(context, bitmap).clear(),
  'block-dirty-bitmap-enable': (context, bitmap) => named(context, bitmap).enable(),
  'block-dirty-bitmap-disable': (context, bitmap) => named(context, bitmap).disable(),

  'block-dirty-bitmap-merge': (context, { node, target, bitmaps }) =>
    mergeBitmaps(findNode(context, node), target, bitmaps),
} satisfies Partial<CommandTable>;
