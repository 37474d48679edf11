// Those who read a node through others that lie over it: where old content is saved to such an overlay, who has seen that nothing was saved yet may still
// be on the way to the node itself.
//
//   target --> ... --> overlay --> source      requests are counted at each of them above the source: one may begin at any

import type { BlockNode } from './node/node.js';

export class OverlayReaders {
  readonly #nodes: readonly BlockNode[];

  /** Counts the requests of `target`, which is not `source`, and of what lies between them, from now on. Null where `target` does not lie over `source`. */
  static of(target: BlockNode, source: BlockNode): OverlayReaders | null {
    return target.reaches(source) ? new OverlayReaders(between(target, source)) : null;
  }

  private constructor(nodes: ReadonlySet<BlockNode>) {
    this.#nodes = [...nodes];
    for (const node of this.#nodes) node.countsAll++;
  }

  /** Resolves when all requests have ended that were under way at the call. */
  async passed(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.passed()));
  }

  /** They are not counted any more. */
  end(): void {
    for (const node of this.#nodes) node.countsAll--;
  }
}

/** The nodes on all ways from `target` down to `source`, without it. */
function between(target: BlockNode, source: BlockNode, found: Set<BlockNode> = new Set()): Set<BlockNode> {
  if (found.has(target) || target === source || !target.reaches(source)) return found;
  found.add(target);
  for (const { node } of target.children.values()) between(node, source, found);
  return found;
}
