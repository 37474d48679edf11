// Another size for an image that nobody else uses.

import { withLink } from '../block/child.js';
import type { BlockNode } from '../block/node/node.js';
import { PERM_ALL, Perm, type TruncateOptions } from '../block/types.js';

/** Sets the size of `node`, bytes. Rejects as `BlockNode.truncate`, and with `permission` where another user does not let it change. */
export function resizeNode(node: BlockNode, size: number, options: TruncateOptions = {}): Promise<void> {
  const use = {
    user: { userName: 'a resize' },
    role: 'root',
    perm: Perm.CONSISTENT_READ | Perm.WRITE | Perm.RESIZE,
    shared: PERM_ALL,
  } as const;
  return withLink(node, use, (link) => link.truncate(size, options));
}
