// Those who read a node through others that lie over it: where old content is saved to such an overlay, who has seen that nothing was saved yet may still
// be on the way to the node itself.
//
//   target --> ... --> overlay --> source      requests are counted at each of them above the source: one may begin at any
//
// A target may come to lie over the source later, when it gets its backing node (`blockdev-reopen`), and then in another way: after each change of links
// it is looked up anew which nodes these are, before the first request can go the new way.
//
// A wait is as long as the longest request that was under way when it began, on any of these nodes: later ones do not prolong it, however many there are
// (see `NodeInFlight.passed`). A request that is never answered does; who cuts it off ends the wait, too.

import type { BlockNode } from './node/node.js';

export class OverlayReaders {
  readonly #target: BlockNode;
  readonly #source: BlockNode;
  #nodes: ReadonlySet<BlockNode> = new Set();
  readonly #forget: () => void;

  /** Counts the requests of `target`, which is not `source`, and of what lies between them, from now on; none while `target` does not lie over `source`. */
  constructor(target: BlockNode, source: BlockNode) {
    this.#target = target;
    this.#source = source;
    this.#forget = source.graph.quiescence.watch(() => this.#lookUp());
    this.#lookUp();
  }

  #lookUp(): void {
    const nodes = between(this.#target, this.#source);
    for (const node of nodes) if (!this.#nodes.has(node)) node.countsAll++;
    for (const node of this.#nodes) if (!nodes.has(node)) node.countsAll--;
    this.#nodes = nodes;
  }

  /** Resolves when all requests have ended that were under way at the call; undefined: there can be none. */
  passed(): Promise<unknown> | undefined {
    if (this.#nodes.size === 0) return undefined;
    return Promise.all([...this.#nodes].map((node) => node.passed()));
  }

  /** They are not counted any more. */
  end(): void {
    this.#forget();
    for (const node of this.#nodes) node.countsAll--;
    this.#nodes = new Set();
  }
}

/** The nodes on all ways from `target` down to `source`, without it. */
function between(target: BlockNode, source: BlockNode, found: Set<BlockNode> = new Set()): Set<BlockNode> {
  if (found.has(target) || target === source || !target.reaches(source)) return found;
  found.add(target);
  for (const { node } of target.children.values()) between(node, source, found);
  return found;
}
