// Children of a node that come and go while it is open (`x-blockdev-change`).

import type { Graph } from '../block/graph.js';
import { ROLES } from '../block/roles.js';
import { BlockError } from '../util/errors.js';

/**
 * Adds the node `add` to the children of `parent`, or removes the child `remove`. Rejects with `not-found`, `invalid-argument`, with `unsupported`
 * where the node takes no such change, `busy`, `permission`, `loop`.
 */
export async function changeChildren(
  graph: Graph,
  parent: string,
  { remove, add }: { remove?: string; add?: string },
): Promise<void> {
  const node = graph.lookUp(parent);
  if (node === undefined) {
    throw new BlockError('not-found', `Cannot find device='${parent}' nor node-name='${parent}'`);
  }
  const { children } = node.abilities;
  const unsupported = (what: string) =>
    new BlockError('unsupported', `The node ${parent} does not support ${what} a child`, { path: node.filename });
  if (remove !== undefined) {
    if (add !== undefined) throw new BlockError('invalid-argument', 'The parameters child and node are in conflict');
    if (!node.children.has(remove)) {
      throw new BlockError('not-found', `Node '${parent}' does not have child '${remove}'`);
    }
    if (children === undefined) throw unsupported('removing');
    return graph.drained([node], () => children.remove(remove));
  }
  if (add === undefined) throw new BlockError('invalid-argument', 'Either child or node must be specified');
  const added = graph.nodes.get(add);
  if (added === undefined) throw new BlockError('not-found', `Node '${add}' not found`);
  if (children === undefined) throw unsupported('adding');
  await graph.drained([node], async () => {
    const isUsed = [...added.parents].some(({ role }) => role !== ROLES.monitor);
    if (isUsed) throw new BlockError('busy', `The node ${add} already has a parent`, { path: added.filename });
    children.add(added);
  });
}
