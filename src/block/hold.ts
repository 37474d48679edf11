// A hold on an image that a command reads, without a device or a job: it shows its use to others, and says what they may do meanwhile.

import type { Child, NodeUser } from './child.js';
import type { BlockNode } from './node/node.js';
import { PERM_ALL, Perm } from './types.js';

/** `copy`: the image must not change while it is copied. `look`: others may go on writing to it. */
export type HoldKind = 'copy' | 'look';

/** Takes `node` for writing, as the target of a copy that is no job. Others may write there too, as the real tool has it. Throws as `hold`. */
export function holdTarget(node: BlockNode): Child {
  return node.attach(new Holder(), 'target', Perm.CONSISTENT_READ | Perm.WRITE, PERM_ALL);
}

class Holder implements NodeUser {
  readonly userName = 'the command';
}

/**
 * Takes `node` for reading until `BlockNode.detach`. `copy`: nobody else may write to it or change its size, unless `forceShare`. Throws
 * `permission`, and `locked` where another process does so.
 */
export function hold(node: BlockNode, kind: HoldKind, forceShare = false): Child {
  const shared = kind === 'copy' && !forceShare ? PERM_ALL & ~(Perm.WRITE | Perm.RESIZE) : PERM_ALL;
  // The role of a job's source: where another node is put in this one's place, a source stays with what it reads.
  return node.attach(new Holder(), 'source', Perm.CONSISTENT_READ, shared);
}
