// Nodes and devices by the names in arguments of commands.

import { BlockNode } from '../block/node/node.js';
import { Job } from '../jobs/job.js';
import { BlockError } from '../util/errors.js';
import type { QmpContext } from './context.js';

/** The node that one argument names, a device's or a node's name. Throws `not-found`. */
export function findNode(context: QmpContext, name: string): BlockNode {
  const found = context.graph.lookUp(name);
  if (found !== undefined) return found;
  throw new BlockError('not-found', `Cannot find device='${name}' nor node-name='${name}'`);
}

/** As `findNode`, of a node that neither another node nor a job uses. Throws `not-found`, `invalid-argument`. */
export function findRootNode(context: QmpContext, name: string): BlockNode {
  const found = findNode(context, name);
  for (const { user } of found.parents) {
    if (user instanceof BlockNode || user instanceof Job)
      throw new BlockError('invalid-argument', 'Need a root block node');
  }
  return found;
}

/** The node that one of two arguments names: the root of a device, or a node by its own name. Throws `not-found`. */
export function findNodeOf({ graph }: QmpContext, device: string | undefined, nodeName: string | undefined): BlockNode {
  const found = graph.devices.get(device ?? '')?.node ?? graph.nodes.get(nodeName ?? '');
  if (found !== undefined) return found;
  throw new BlockError('not-found', `Cannot find device='${device ?? ''}' nor node-name='${nodeName ?? ''}'`);
}
