// Finds an image of a backing chain by its file name, and finds the name by which one image's header can refer to another.

import { backingNameFor } from '../block/backing-name.js';
import { overlayOf } from '../block/chain.js';
import { openingName } from '../block/filename.js';
import { findLayer } from '../block/find-layer.js';
import { backingFileOf } from '../block/node/format.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockError } from '../util/errors.js';

/** The image below `top` whose file name is `name` (see `findLayer`). Rejects with `not-found`. */
export async function findBelow(top: BlockNode, name: string): Promise<BlockNode> {
  const found = await findLayer(top, name);
  if (found !== null) return found;
  throw new BlockError('not-found', `Did not find '${name}' in the backing chain of '${top.filename}'`, {
    path: top.filename,
  });
}

/**
 * The name for `base` as backing file in the header of `overlay`, which is above it: the name that the header directly above `base` has, if it
 * means the same file from `overlay`'s folder; otherwise another one.
 */
export function nameInHeader(overlay: BlockNode, base: BlockNode): Promise<string> {
  const above = overlayOf(overlay, base);
  return backingNameFor(openingName(overlay), base, { recorded: above === null ? null : backingFileOf(above) });
}
