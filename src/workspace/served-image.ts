// What may lie between a device that is served and the image:
//
//   device --> [raw window] --> [temporary overlay] --> the image and its chain

import { createImage } from '../block/create.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { type OpenOptions, openNode } from '../block/open.js';
import { validate } from '../schema/validate.js';

/** Makes an overlay of `image` in `filename` that takes what is written, and nothing of it is made durable. Rejects as `createImage`, `openNode`. */
export async function addTemporaryOverlay(
  graph: Graph,
  image: BlockNode,
  filename: string,
  { cache, ...how }: Pick<OpenOptions, 'discard' | 'detectZeroes' | 'cache'>,
): Promise<BlockNode> {
  await createImage(graph, filename, { driver: 'qcow2', size: image.length });
  const options = { driver: 'qcow2', file: { driver: 'file', filename }, backing: image.nodeName };
  return openNode(graph, validate('BlockdevOptions', options), {
    ...how,
    cache: { direct: cache?.direct, noFlush: true },
  });
}

/** The bytes of `content` from `offset` on. */
export function addWindow(graph: Graph, content: BlockNode, offset: number): Promise<BlockNode> {
  const options = { driver: 'raw', offset, file: content.nodeName };
  return openNode(graph, validate('BlockdevOptions', options), { readOnly: content.readOnly, discard: 'unmap' });
}
