// Changes of permissions, in two phases over the whole graph. What nodes that hand on requests need of their children follows from what their own
// users need, so that one change may concern every node below; and a file shows what is done with it to other processes, by image locks.
//
//   a link is added, removed, moved or changed, or a node becomes read-only or writable
//     plan     from the nodes concerned down: what their users need together  ->  what each needs of its children  ->  ...
//     check    every changed link: is its node read-only, does another user of it mind?
//     prepare  every node whose use changes: new image locks are taken, those of other processes looked for
//     commit   the links have their new permissions, old locks are dropped
//
// Until `commit`, which cannot fail, nothing is changed but locks, which are given back: where anything is refused, every link is as it was.

import { type Child, checkPermissions } from '../child.js';
import type { Permissions } from '../roles.js';
import { PERM_ALL } from '../types.js';
import type { BlockNode } from './node.js';

/** What a node has got ready for other permissions: one of the two is called, once. */
export interface PreparedPermissions {
  /** Cannot fail. */
  commit(): void;
  abort(): void;
}

/** The permissions that links are to have; those that are not in it keep theirs. */
export type PlannedPermissions = ReadonlyMap<Child, Permissions>;

/** What all users of `node` together do with it, and what all of them let others do: bits of `Perm`. */
export function usedPermissions(node: Pick<BlockNode, 'parents'>, planned?: PlannedPermissions): Permissions {
  let perm = 0;
  let shared: number = PERM_ALL;
  for (const parent of node.parents) {
    const use = planned?.get(parent) ?? parent;
    perm |= use.perm;
    shared &= use.shared;
  }
  return { perm, shared };
}

/** Whether nodes that are being reopened are to be read-only; those that are not in it stay as they are. */
export type PlannedReadOnly = ReadonlyMap<BlockNode, boolean>;

/**
 * Gives the links in `changes` other permissions, and all links below `nodes` those that follow. Users of `nodes` that are new must be among their
 * `parents` already, those that leave no longer. Throws `permission` on a conflict, `read-only`, `locked`; then no link has changed.
 */
export function applyPermissions(nodes: readonly BlockNode[], changes: PlannedPermissions = new Map()): void {
  preparePermissions(nodes, changes).commit();
}

/** The first phase of `applyPermissions`. Nobody may change permissions until one of the two functions of the result was called. */
export function preparePermissions(
  nodes: readonly BlockNode[],
  changes: PlannedPermissions,
  readOnly: PlannedReadOnly = new Map(),
): PreparedPermissions {
  const { order, planned } = planPermissions(nodes, changes, readOnly);
  const prepared = prepareAll(order, planned);
  return {
    commit() {
      for (const [link, { perm, shared }] of planned) {
        link.perm = perm;
        link.shared = shared;
      }
      for (const one of prepared) one.commit();
    },
    abort() {
      for (const one of prepared.reverse()) one.abort();
    },
  };
}

/** What links will have, checked but for the locks of other processes; `order` has each node before its children. Throws `permission`, `read-only`. */
export function planPermissions(
  nodes: readonly BlockNode[],
  changes: PlannedPermissions,
  readOnly: PlannedReadOnly,
): { order: BlockNode[]; planned: Map<Child, Permissions> } {
  const order = fromTheTop(nodes);
  const planned = new Map(changes);
  for (const node of order) plan(node, planned, readOnly.get(node) ?? node.readOnly);
  for (const [link, use] of planned) {
    if (!readOnly.has(link.node)) link.node.checkWriter(use.perm & ~link.perm);
    checkPermissions(link.node, { name: link.name, role: link.role, user: link.user, ...use }, link, planned);
  }
  for (const [node, becomes] of readOnly) node.checkUsers(usedPermissions(node, planned).perm, becomes);
  return { order, planned };
}

function plan(node: BlockNode, planned: Map<Child, Permissions>, readOnly: boolean): void {
  const { perm, shared } = usedPermissions(node, planned);
  for (const link of node.children.values()) {
    const needs = node.needsOf(link, perm, shared, readOnly);
    if (needs !== null && (needs.perm !== link.perm || needs.shared !== link.shared)) planned.set(link, needs);
  }
}

function prepareAll(order: readonly BlockNode[], planned: PlannedPermissions): PreparedPermissions[] {
  const prepared: PreparedPermissions[] = [];
  try {
    for (const node of order) {
      const { perm, shared } = usedPermissions(node, planned);
      const one = node.preparePermissions(perm, shared);
      if (one !== null) prepared.push(one);
    }
    return prepared;
  } catch (error) {
    for (const one of prepared.reverse()) one.abort();
    throw error;
  }
}

/** `nodes` and those below whose use follows from theirs, each before its children. */
function fromTheTop(nodes: readonly BlockNode[]): BlockNode[] {
  const seen = new Set<BlockNode>();
  const order: BlockNode[] = [];
  const visit = (node: BlockNode): void => {
    if (seen.has(node) || node.closed) return;
    seen.add(node);
    for (const link of node.children.values())
      if (node.needsOf(link, 0, PERM_ALL, node.readOnly) !== null) visit(link.node);
    order.push(node);
  };
  for (const node of nodes) visit(node);
  return order.reverse();
}
