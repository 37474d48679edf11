// External snapshots: an overlay takes the place of a node for all who use it, and the node becomes its backing node, read-only.
//
//      device                 device
//         |          ->          |
//        top                  overlay --backing--> top
//
// Several are one transaction: all of one moment, and all or none.

import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { backingOf, overlaysOf } from './chain.js';
import type { Graph } from './graph.js';
import type { BlockNode } from './node/node.js';
import { hasBackingFiles } from './registry.js';
import { ROLES } from './roles.js';

/** A node, and what is to take its place. */
export interface OverlayPair {
  node: BlockNode;
  overlay: BlockNode;
}

/** Takes back what was done. */
export type Undo = () => Promise<void>;

/**
 * QMP's `blockdev-snapshot`, of several nodes at one moment: each `overlay` is a node that is at most held. Rejects with `busy`,
 * `invalid-argument`, `locked`, `io`: then every node is where it was. Resolves with what takes it back, to be called before anything else changes.
 */
export async function appendOverlays(graph: Graph, pairs: readonly OverlayPair[]): Promise<Undo> {
  const check = () => {
    for (const pair of pairs) checkPair(pair);
  };
  check();
  const undo: Undo[] = [];
  await graph.drained(
    pairs.map(({ node }) => node),
    async () => {
      try {
        check();
        // What is most likely to fail goes first.
        for (const { node } of pairs) await node.flush();
        for (const pair of pairs) {
          checkPair(pair);
          putInPlace(graph, pair, undo);
        }
        for (const { node } of pairs) await makeReadOnly(node, undo);
      } catch (error) {
        await takeBack(undo);
        throw error;
      }
    },
  );
  return () => takeBack(undo);
}

async function takeBack(steps: Undo[]): Promise<void> {
  for (const step of steps.reverse()) await step().catch(bestEffort('undoing a snapshot'));
}

/** Neither a job works on the node, nor is it another image's backing node. Throws `busy`. */
export function checkFree(node: BlockNode): void {
  node.checkBlockers();
  const [overlay] = overlaysOf(node);
  if (overlay === undefined) return;
  throw new BlockError('busy', `Node '${node.nodeName}' is busy: node is used as backing hd of '${overlay.nodeName}'`, {
    path: node.filename,
  });
}

function checkPair({ node, overlay }: OverlayPair): void {
  checkFree(node);
  const fail = (message: string): never => {
    throw new BlockError('invalid-argument', message, { path: overlay.filename });
  };
  // Whoever opened it beforehand may hold it, as long as nothing is read from it or written to it.
  const uses = [...overlay.parents].filter(({ perm }) => perm !== 0);
  if (uses.some(({ role }) => role !== ROLES.cow)) fail('The overlay is already in use');
  if (backingOf(overlay) !== null) fail('The overlay already has a backing image');
  if (!hasBackingFiles(overlay.driver)) {
    fail('The overlay does not support backing images');
  }
  if (overlay === node || uses.length > 0) fail('The overlay is already in use');
  if (overlay.length < node.length) {
    fail(`The overlay has ${overlay.length} bytes, but '${node.nodeName}' has ${node.length}`);
  }
}

/** Moves the links. Nothing runs between, so nobody sees the overlay without its backing node. */
function putInPlace(graph: Graph, { node, overlay }: OverlayPair, undo: Undo[]): void {
  graph.replaceNode(node, overlay);
  undo.push(async () => graph.replaceNode(overlay, node));
  overlay.setChild('backing', node, 'cow');
  undo.push(async () => overlay.removeChild('backing'));
}

/** Nobody writes to it any more; that it cannot be made read-only (a filter that writes what is read, or does not reopen) is no reason to refuse. */
async function makeReadOnly(node: BlockNode, undo: Undo[]): Promise<void> {
  if (node.readOnly || node.writesWhenRead) return;
  try {
    await node.reopen(true);
  } catch (error) {
    if (error instanceof BlockError && error.code === 'unsupported') return;
    throw error;
  }
  undo.push(() => node.reopen(false));
}
