// A link of the graph: who uses a node, as what, and with which permissions.
//
//   Device / job / export / parent node  --Child-->  node

import { BlockError } from '../util/errors.js';
import type { BlockNode } from './node.js';
import { permNames } from './types.js';

/** Whoever holds nodes: a node, a device, a job, an export. */
export interface NodeUser {
  /** As it is named in messages: `node 'top'`, `device 'drive0'`, `job 'job0'`. */
  readonly userName: string;
  /** Stop to send new requests to the node (called again for nested sections). */
  drainBegin?(): void;
  /** Resolves when nothing that this user sent is under way. */
  drained?(): Promise<void>;
  drainEnd?(): void;
}

export type ChildRole = 'file' | 'backing' | 'data-file' | 'root' | 'source' | 'target';

export class Child {
  readonly role: ChildRole;
  readonly user: NodeUser;
  node: BlockNode;
  /** Permissions in use, and those left to others: bits of `Perm`. */
  perm: number;
  shared: number;

  constructor(user: NodeUser, role: ChildRole, node: BlockNode, perm: number, shared: number) {
    this.user = user;
    this.role = role;
    this.node = node;
    this.perm = perm;
    this.shared = shared;
  }
}

/** What somebody wants to be to a node; a `Child` is one. */
export type Use = Pick<Child, 'role' | 'user' | 'perm' | 'shared'>;

/** Refuses with `permission` when `use` of `node` would conflict with one of its other users. `except` is the link that is being changed. */
export function checkPermissions(node: BlockNode, { role, user, perm, shared }: Use, except?: Child): void {
  for (const other of node.parents) {
    if (other === except) continue;
    const wanted = perm & ~other.shared;
    const held = other.perm & ~shared;
    if (wanted === 0 && held === 0) continue;
    const mine = `${user.userName} (uses node '${node.nodeName}' as '${role}' child)`;
    const theirs = `${other.user.userName} (uses node '${node.nodeName}' as '${other.role}' child)`;
    const [needs, refuses] = wanted !== 0 ? [mine, theirs] : [theirs, mine];
    throw new BlockError(
      'permission',
      `Permission conflict on node '${node.nodeName}': permissions '${permNames(wanted !== 0 ? wanted : held)}' are both required by ${needs} and unshared by ${refuses}.`,
      { path: node.filename, operation: 'attach' },
    );
  }
}
