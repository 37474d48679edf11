// Starting a stream job by the names that a person has for the images of a chain.

import { backingOf, chainOf } from '../block/chain.js';
import { findLayer } from '../block/find-layer.js';
import type { BlockNode } from '../block/node/node.js';
import type { Job } from '../jobs/job.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import { startJob } from '../jobs/start.js';
import { streamJob } from '../jobs/stream.js';
import type { BlockStreamArguments } from '../schema/generated/types.js';
import { findBelow, nameInHeader } from './layers.js';

/** As in `block-stream`, but that `bottom` names a file as `base` does, and `bottom-node` a node as `base-node` does. */
export interface StreamRequest extends Omit<BlockStreamArguments, 'device'> {
  'bottom-node'?: string;
}

/**
 * Starts to pull what the layers below `top` hold into it. Its header gets a name for the base that holds where `top` lies, unless one is given.
 * Rejects with `not-found` for a layer that is not below, `busy`, `invalid-argument`, ...
 */
export async function startStream(env: JobEnvironment, top: BlockNode, request: StreamRequest): Promise<Job> {
  const { base: file, 'base-node': node, bottom: bottomFile, 'bottom-node': bottomNode, ...others } = request;
  const named = [file, node, bottomFile, bottomNode].filter((name) => name !== undefined).length;
  const bottom = bottomFile === undefined ? layerOfNode(top, bottomNode) : await findBelow(top, bottomFile);
  const base =
    bottom !== null ? backingOf(bottom) : file === undefined ? layerOfNode(top, node) : await findLayer(top, file);
  const device = top.nodeName;
  if (base === null || named > 1) {
    // What was not found, and what excludes each other, the job itself refuses.
    return startJob(env, streamJob, {
      ...others,
      device,
      base: file,
      'base-node': node,
      bottom: bottom?.nodeName ?? bottomNode,
    });
  }
  const backingFile = request['backing-file'] ?? (await nameInHeader(top, base));
  return startJob(env, streamJob, { ...others, device, 'base-node': base.nodeName, 'backing-file': backingFile });
}

function layerOfNode(top: BlockNode, name: string | undefined): BlockNode | null {
  return chainOf(top).find((layer, depth) => depth > 0 && layer.nodeName === name) ?? null;
}
