// What is told of nodes: a node may be closed, or lose a layer, while it is looked at.

import { toBlockError } from '../util/errors.js';
import type { BlockNode } from './node/node.js';

/** What `ask` says of each of the nodes; those that were closed before it had an answer are left out. All are asked at once. Rejects as `ask`. */
export async function ofOpenNodes<T>(nodes: Iterable<BlockNode>, ask: (node: BlockNode) => Promise<T>): Promise<T[]> {
  const answers = await Promise.all([...nodes].map((node) => ofOpenNode(node, ask)));
  return answers.filter((answer): answer is Awaited<T> => answer !== null);
}

/** The same of one node; null where it was closed. */
export async function ofOpenNode<T>(node: BlockNode, ask: (node: BlockNode) => Promise<T>): Promise<T | null> {
  while (!node.closed) {
    try {
      return await ask(node);
    } catch (error) {
      // A layer below it was closed by a job meanwhile: the chain is another one now.
      if (toBlockError(error).code !== 'closed') throw error;
    }
  }
  return null;
}
