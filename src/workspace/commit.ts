// Starts a commit job. Images of the chain are named by their file names.

import { backingOf } from '../block/chain.js';
import type { BlockNode } from '../block/node/node.js';
import { type CommitArguments, commitJob } from '../jobs/commit.js';
import type { Job } from '../jobs/job.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import { startJob } from '../jobs/start.js';
import { BlockError } from '../util/errors.js';
import { findBelow } from './layers.js';

export type CommitRequest = Omit<CommitArguments, 'device'>;

/**
 * Starts to write the data of `root`, or of the layers from `top` down to above `base`, into `base`. Rejects with `not-found` for a layer that is
 * not in the chain, with `busy`, `invalid-argument`, ...
 */
export function startCommit(env: JobEnvironment, root: BlockNode, request: CommitRequest): Promise<Job> {
  return startJob(env, commitJob, { ...request, device: root.nodeName });
}

/** The node that `qemu-img commit` writes to: the image called `name` (its `-b`), or the backing file. Rejects with `not-found`, `invalid-argument`. */
export async function commitTarget(top: BlockNode, name: string | undefined): Promise<BlockNode> {
  if (name !== undefined) return findBelow(top, name);
  const below = backingOf(top);
  if (below === null) throw new BlockError('invalid-argument', 'Image does not have a backing file');
  return below;
}
