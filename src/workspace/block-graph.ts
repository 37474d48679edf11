// The whole graph, as `x-debug-query-block-graph` tells it: nodes, who uses them, and the links.

import { Device } from '../block/device.js';
import type { Graph } from '../block/graph.js';
import { BlockNode } from '../block/node/node.js';
import { Perm } from '../block/types.js';
import { Job } from '../jobs/job.js';
import type { BlockPermission, XDbgBlockGraph, XDbgBlockGraphNode } from '../schema/generated/types.js';

const PERMISSIONS: readonly [number, BlockPermission][] = [
  [Perm.RESIZE, 'resize'],
  [Perm.WRITE_UNCHANGED, 'write-unchanged'],
  [Perm.WRITE, 'write'],
  [Perm.CONSISTENT_READ, 'consistent-read'],
];

/** The newest node first. A hold that only keeps a node open is no link. */
export function describeGraph(graph: Graph): XDbgBlockGraph {
  const numbers = new Map<object, number>();
  const nodes: XDbgBlockGraphNode[] = [];
  const numberOf = (user: object): number => {
    const known = numbers.get(user);
    if (known !== undefined) return known;
    const id = numbers.size + 1;
    numbers.set(user, id);
    nodes.unshift({ id, ...kindOf(graph, user) });
    return id;
  };
  const edges: XDbgBlockGraph['edges'] = [];
  for (const node of graph.nodes.values()) {
    numberOf(node);
    for (const link of node.parents) {
      const { user, name, role, perm, shared } = link;
      if (role.keepsOnly) continue;
      edges.unshift({
        parent: numberOf(role.unnamed ? link : user),
        child: numberOf(node),
        name,
        perm: permissions(perm),
        'shared-perm': permissions(shared),
      });
    }
  }
  return { nodes, edges };
}

function kindOf(graph: Graph, user: object): Omit<XDbgBlockGraphNode, 'id'> {
  if (user instanceof BlockNode) return { type: 'block-driver', name: user.nodeName };
  if (user instanceof Job) return { type: 'block-job', name: user.id };
  // The device of an export has no name that a command could find it by.
  const named = user instanceof Device && graph.devices.get(user.name)?.user === user;
  return { type: 'block-backend', name: named ? user.name : '' };
}

function permissions(bits: number): BlockPermission[] {
  return PERMISSIONS.filter(([bit]) => (bits & bit) !== 0).map(([, name]) => name);
}
