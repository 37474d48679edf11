// Starts a stream job. Images of the chain are named by their file names, or by the names of their nodes.

import { backingOf, chainOf } from '../block/chain.js';
import { findLayer } from '../block/find-layer.js';
import type { BlockNode } from '../block/node/node.js';
import type { Job } from '../jobs/job.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import { startJob } from '../jobs/start.js';
import { streamJob } from '../jobs/stream.js';
import type { BlockStreamArguments } from '../schema/generated/types.js';
import { findBelow, nameInHeader } from './layers.js';

/** As in `block-stream`, except that `bottom` names a file as `base` does, and `bottom-node` names a node as `base-node` does. */
export interface StreamRequest extends Omit<BlockStreamArguments, 'device'> {
  'bottom-node'?: string;
}

/**
 * Starts to copy the data of the layers between the base and `top` into `top`. Unless `backing-file` is given, `top`'s header gets a name for the
 * base that is valid from `top`'s folder. Rejects with `not-found` for a layer that is not below `top`, with `busy`, `invalid-argument`, ...
 */
export async function startStream(env: JobEnvironment, top: BlockNode, request: StreamRequest): Promise<Job> {
  const { base: file, 'base-node': node, bottom: bottomFile, 'bottom-node': bottomNode, ...others } = request;
  const named = [file, node, bottomFile, bottomNode].filter((name) => name !== undefined).length;
  const found = bottomFile === undefined ? layerOfNode(top, bottomNode) : await findBelow(top, bottomFile);
  const bottom = found?.kind === 'filter' ? null : found;
  const base =
    bottom !== null ? backingOf(bottom) : file === undefined ? layerOfNode(top, node) : await findLayer(top, file);
  const device = top.nodeName;
  if (base === null || named > 1) {
    // The job itself reports a layer that was not found, and options that exclude each other.
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
