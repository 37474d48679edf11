// Dirty bitmaps of nodes.

import type { DirtyBitmap } from '../../block/bitmap.js';
import type { BlockNode } from '../../block/node/node.js';
import type { BlockDirtyBitmap } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import { addBitmap, bitmapOf, mergeBitmaps, removeBitmap } from '../../workspace/bitmap.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';
import { findNode } from '../find.js';

/** Throws `not-found`, in the words that commands on bitmaps have. */
function nodeOf({ graph }: QmpContext, name: string): BlockNode {
  const found = graph.nodes.get(name);
  if (found === undefined) throw new BlockError('not-found', `Node '${name}' not found`);
  return found;
}

function named(context: QmpContext, { node, name }: BlockDirtyBitmap): DirtyBitmap {
  return bitmapOf(nodeOf(context, node), name);
}

export const BITMAP_COMMANDS = {
  'block-dirty-bitmap-add'(context, { node: nodeName, name, granularity, persistent = false, disabled = false }) {
    const node = findNode(context, nodeName);
    if (persistent) throw new BlockError('unsupported', 'Persistent bitmaps are not supported yet');
    addBitmap(node, name, { granularity, enabled: !disabled });
  },

  'block-dirty-bitmap-remove': (context, { node, name }) => removeBitmap(nodeOf(context, node), name),
  'block-dirty-bitmap-clear': (context, bitmap) => named(context, bitmap).clear(),
  'block-dirty-bitmap-enable': (context, bitmap) => named(context, bitmap).enable(),
  'block-dirty-bitmap-disable': (context, bitmap) => named(context, bitmap).disable(),

  'block-dirty-bitmap-merge'(context, { node, target, bitmaps }) {
    const sources = bitmaps.map((one) => (typeof one === 'string' ? { node, name: one } : one));
    mergeBitmaps(
      named(context, { node, name: target }),
      sources.map((source) => named(context, source)),
    );
  },
} satisfies Partial<CommandTable>;
