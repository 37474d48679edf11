// Finding an image of a chain by the name that a person has for it, and naming one image in another's header.

import { relative } from 'node:path';
import { chainOf, overlayOf } from '../block/chain.js';
import type { BlockNode } from '../block/node.js';
import { orElse } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import type { Session } from './session.js';

/** The image below `top` that is called `name`: by path, or as the header above it has it. Rejects with `not-found`. */
export async function findBelow(session: Session, top: BlockNode, name: string): Promise<BlockNode> {
  const real = (path: string): Promise<string> => session.host.realPath(path).catch(orElse('chain', path));
  const wanted = await real(name);
  for (const node of chainOf(top).slice(1)) {
    const overlay = overlayOf(top, node)!;
    if (node.filename === name || overlay.backingFile === name || (await real(node.filename)) === wanted) return node;
  }
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
