// Finding an image of a chain by the name that a person has for it, and naming one image in another's header.

import { relative } from 'node:path';
import { overlayOf } from '../block/chain.js';
import { findLayer } from '../block/find-layer.js';
import type { BlockNode } from '../block/node.js';
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
export function nameInHeader(overlay: BlockNode, base: BlockNode): string {
  const recorded = overlayOf(overlay, base);
  const known = recorded?.backingFile ?? null;
  if (known !== null && (known.startsWith('/') || folderOf(recorded!.filename) === folderOf(overlay.filename))) {
    return known;
  }
  return nameFrom(overlay.filename, base);
}

/** The name of `base` as it counts from the folder of the image `filename`. */
export function nameFrom(filename: string, base: BlockNode): string {
  if (base.filename.startsWith('/') || base.filename.startsWith('json:')) return base.filename;
  return relative(folderOf(filename) || '.', base.filename);
}

function folderOf(filename: string): string {
  return filename.slice(0, filename.lastIndexOf('/') + 1);
}
