// Nodes that the user of a daemon opened (`blockdev-add`, `--blockdev`), which stay open until they are closed by name.
//
//   blockdev-add --> node <--monitor link-- held here    the link stays at its node when another node takes that node's place
//   blockdev-del --> if there is no other link to the node, it is closed

import type { Child, NodeUser } from '../block/child.js';
import type { Graph } from '../block/graph.js';
import { BlockNode } from '../block/node/node.js';
import { openNode } from '../block/open.js';
import { checkFree } from '../block/snapshot.js';
import { PERM_ALL } from '../block/types.js';
import type { BlockdevOptions } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';

export class MonitorNodes {
  readonly #graph: Graph;
  readonly #holds = new Map<BlockNode, Child>();
  readonly #user: NodeUser = { userName: 'the monitor' };

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  /** Opens an image that has a node name. Rejects as `openNode`, and with `invalid-argument` where it has none. */
  async add(options: BlockdevOptions): Promise<BlockNode> {
    if (options['node-name'] === undefined) {
      throw new BlockError('invalid-argument', "'node-name' must be specified for the root node");
    }
    const node = await openNode(this.#graph, options);
    this.#hold(node);
    return node;
  }

  /** Keeps an open node open. */
  #hold(node: BlockNode): void {
    this.#holds.set(node, node.attach(this.#user, 'monitor', 0, PERM_ALL));
  }

  /** Closes a node that `add` opened. Rejects with `not-found`, with `busy` where the node is in use, and where its last flush fails. */
  async remove(nodeName: string): Promise<void> {
    const node = this.#graph.nodes.get(nodeName);
    if (node === undefined) throw new BlockError('not-found', `Failed to find node with node-name='${nodeName}'`);
    const held = this.#holds.get(node);
    checkNoRoot(node);
    checkFree(node);
    if (held === undefined) throw new BlockError('busy', `Node ${nodeName} is not owned by the monitor`);
    checkUnused(node, held);
    this.#holds.delete(node);
    node.detach(held);
    await this.#graph.release(node);
  }
}

/** Throws `busy`, in QEMU's words, where anybody but the monitor uses the node. */
function checkUnused(node: BlockNode, held: Child): void {
  const others = [...node.parents].filter((child) => child !== held);
  if (others.some(({ user }) => !(user instanceof BlockNode))) throw inUse(node);
  if (others.length > 0) throw new BlockError('busy', `Block device ${node.nodeName} is in use`);
}

/** Throws `busy` where it is the root of a device or an export. */
function checkNoRoot(node: BlockNode): void {
  if ([...node.parents].some(({ name }) => name === 'root')) throw inUse(node);
}

function inUse({ nodeName }: BlockNode): BlockError {
  return new BlockError('busy', `Node ${nodeName} is in use`);
}
