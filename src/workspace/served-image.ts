// The nodes that may be put between a served device and its image:
//
//   device --> [raw window] --> [temporary overlay] --> the image and its chain

import { createImage, type ImageCreateOptions } from '../block/create.js';
import { parseProtocolName } from '../block/filename.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { type OpenOptions, openNode } from '../block/open.js';
import { defaultDriver } from '../block/registry.js';
import { validate } from '../schema/validate.js';

/** Creates an overlay of `image` in `folder`, for writes that are to be thrown away: nothing is flushed. Rejects as `createImage`, `openNode`. */
export async function addTemporaryOverlay(
  graph: Graph,
  image: BlockNode,
  folder: string,
  { cache, ...how }: Pick<OpenOptions, 'discard' | 'detectZeroes' | 'cache' | 'readOnly'>,
): Promise<BlockNode> {
  const driver = defaultDriver('overlay').name;
  const filename = `${folder}/overlay.${driver}`;
  await createImage(graph, filename, { driver, size: image.length } as ImageCreateOptions);
  const options = { driver, file: parseProtocolName(filename), backing: image.nodeName };
  return openNode(graph, validate('BlockdevOptions', options), {
    ...how,
    cache: { direct: cache?.direct, noFlush: true },
  });
}

/** Opens a node that has the bytes of `content` from `offset` on. Rejects as `openNode`. */
export function addWindow(graph: Graph, content: BlockNode, offset: number): Promise<BlockNode> {
  const options = { driver: defaultDriver('window').name, offset, file: content.nodeName };
  return openNode(graph, validate('BlockdevOptions', options), {
    readOnly: content.readOnly,
    discard: 'unmap',
  });
}
