// Whether the image below a copy's target is one that lies below its source: only then reads as the source what the copy leaves out.
//
//   top <- a <- root          the target's backing node is the same image as `a`, over the same `root`:
//   target <- a' <- root'     what `top` does not hold itself need not be copied

import { isJsonFilename } from '../schema/options.js';
import { chainOf } from './chain.js';
import { fileId } from './identity.js';
import type { BlockNode } from './node/node.js';

/**
 * The node below `top` that is the same image as `backing`: the same node, or one in the same file (by device and inode), of the same format
 * and with the same options, over a chain that is the same again. Null where there is none.
 */
export async function sameBelow(top: BlockNode, backing: BlockNode): Promise<BlockNode | null> {
  const wanted = await identities(chainOf(backing));
  const below = chainOf(top).slice(1);
  const known = await identities(below);
  const at = below.length - wanted.length;
  return at >= 0 && wanted.every((id, i) => id === known[at + i]) ? below[at] : null;
}

/** `node` holds nothing of its own: all of it is read from below. */
export async function holdsNothing(node: BlockNode): Promise<boolean> {
  for (let at = 0; at < node.length; ) {
    const status = await node.blockStatus(at, node.length - at);
    if (status.allocated) return false;
    at += status.length;
  }
  return true;
}

/** What tells an image from others; a node that lies in no file is like itself alone. */
function identities(nodes: readonly BlockNode[]): Promise<(string | BlockNode)[]> {
  return Promise.all(
    nodes.map(async (node) => {
      const id = await fileId(node);
      if (id === null) return node;
      // The name of the node has the options that change the content.
      const options = isJsonFilename(node.filename) ? node.filename : '';
      return [node.driver, id, node.length, options].join('\n');
    }),
  );
}
