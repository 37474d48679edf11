// Transactions: several changes that are made as of one moment, all or none (QAPI's `transaction`).
//
//   drain the nodes of all actions
//     prepare 1 --> prepare 2 --> prepare 3       each makes its change, and says how it is taken back
//         |             |             X fails
//         |             |             |
//     undo 1  <---- undo 2  <---------+           in reverse order: every node, bit and file is as it was
//
//     prepare 1 --> ... --> prepare n
//     commit 1  --> ... --> commit n              what cannot be taken back: jobs begin to run, a bitmap goes for good
//   the nodes' users go on
//
// A later action sees what earlier ones have done: a bitmap that one adds is what the next one's backup copies by. Nobody writes to the nodes
// meanwhile, so that a backup and a bitmap that are made together are of the same content.

import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { bestEffort } from '../util/best-effort.js';

/** A change that was made. */
export interface Prepared {
  /** Takes it back. */
  undo?(): unknown;
  /** The last step, when all have been prepared. */
  commit?(): unknown;
}

export interface Action {
  /** The nodes that it is about, as far as they are there before it. */
  readonly nodes: readonly BlockNode[];
  /** Makes the change. A failure ends the transaction. */
  prepare(): Prepared | Promise<Prepared>;
}

/**
 * Makes all changes, in order, or none. Rejects with the error of the action that failed; of a last step (a node that cannot be closed), after
 * the others were taken.
 */
export async function runTransaction(graph: Graph, actions: readonly Action[]): Promise<void> {
  const nodes = new Set(actions.flatMap((action) => action.nodes));
  await graph.drained([...nodes], async () => {
    const prepared: Prepared[] = [];
    try {
      for (const action of actions) prepared.push(await action.prepare());
    } catch (error) {
      for (const change of prepared.reverse()) await takeBack(change);
      throw error;
    }
    await commit(prepared);
  });
}

async function takeBack(change: Prepared): Promise<void> {
  try {
    await change.undo?.();
  } catch (error) {
    // The caller has to get the error that ended the transaction.
    bestEffort('undoing a transaction')(error);
  }
}

async function commit(prepared: readonly Prepared[]): Promise<void> {
  const failures: unknown[] = [];
  for (const change of prepared) {
    try {
      await change.commit?.();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
