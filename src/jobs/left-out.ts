// What a copy may leave out: where the target reads the right thing without it. Each of these short cuts has a condition, and here it is looked
// after; where it does not hold, the copy writes, or compares.

import { backingOf } from '../block/chain.js';
import type { BlockNode } from '../block/node/node.js';
import { hasBackingFiles } from '../block/registry.js';
import { holdsNothing, sameBelow } from '../block/same-below.js';
import { firstNonZero } from './copy-plan.js';

/**
 * The node below `source` from which on the target has the same images below it, and nothing of its own above them: what the layers of the source
 * down to it do not hold may be left out. Null: all of it must be written, or compared.
 */
export async function restOf(source: BlockNode, target: BlockNode): Promise<BlockNode | null> {
  const below = backingOf(target);
  if (below === null) return null;
  const base = await sameBelow(source, below);
  return base !== null && (await holdsNothing(target)) ? base : null;
}

/** The target waits for a backing file: it may have one, has none yet, and holds nothing. */
export async function awaitsBacking(target: BlockNode): Promise<boolean> {
  return backingOf(target) === null && hasBackingFiles(target.driver) && (await holdsNothing(target));
}

/** The target reads as zeroes, and not only because its backing file does: that may be another one day. */
export async function zeroByItself(target: BlockNode): Promise<boolean> {
  return backingOf(target) === null && (await firstNonZero(target, 0, target.length)) < 0;
}
