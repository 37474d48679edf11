// Amends an image that is open: what it says of itself, and its size.

import { skipFilters } from '../block/chain.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockError } from '../util/errors.js';
import { resizeNode } from './resize.js';

/** What is to be changed, by the names of QAPI; each format has its own. */
export interface AmendOptions {
  /** Bytes. */
  size?: number;
  [name: string]: unknown;
}

export interface AmendSettings {
  /** Gets how much is done. */
  progress?: (done: number, total: number) => void;
  /** Sets the size, for a user who does not let others do that. */
  resize?: (size: number) => Promise<void>;
}

/**
 * Changes what the image `root` says of itself. All options are checked before anything is touched. Rejects with
 * `unsupported` where the format has nothing to amend, `invalid-argument`, `busy` where a job works on the image, `read-only`, `no-space`, `io`: then the image
 * is as before, or some of the changes are made.
 */
export async function amendImage(
  root: BlockNode,
  options: AmendOptions,
  { progress = () => undefined, resize = (size) => resizeNode(root, size) }: AmendSettings = {},
): Promise<void> {
  const node = skipFilters(root);
  const { graph, driver, filename } = node;
  const { amend } = node.abilities;
  if (amend === undefined) {
    throw BlockError.at(filename, 'unsupported', `Format driver '${driver}' does not support option amendment`, {
      operation: 'amend',
    });
  }
  node.checkBlockers();
  const prepared = await graph.drained([node], async () => {
    const plan = await amend.prepare(options);
    await plan.before(progress);
    return plan;
  });
  if (options.size !== undefined && options.size !== node.length) await resize(options.size);
  await graph.drained([node], () => prepared.after(progress));
}
