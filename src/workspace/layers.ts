// Finding an image of a chain by the name that a person has for it, and naming one image in another's header.

import { backingNameFor } from '../block/backing-name.js';
import { overlayOf } from '../block/chain.js';
import { openingName } from '../block/filename.js';
import { findLayer } from '../block/find-layer.js';
import { backingFileOf } from '../block/node/format.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockError } from '../util/errors.js';

/** The image below `top` that is called `name`, as `findLayer` finds it. Rejects with `not-found`. */
export async function findBelow(top: BlockNode, name: string): Promise<BlockNode> {
  const found = await findLayer(top, name);
  if (found !== null) return found;
  throw new BlockError('not-found', `Did not find '${name}' in the backing chain of '${top.filename}'`, {
    path: top.filename,
  });
}

/** How the header of `overlay` can name `base`, which lies below it: as the header above `base` does, where that holds for `overlay` too. */
export function nameInHeader(overlay: BlockNode, base: BlockNode): Promise<string> {
  const above = overlayOf(overlay, base);
  return backingNameFor(openingName(overlay), base, { recorded: above === null ? null : backingFileOf(above) });
}
