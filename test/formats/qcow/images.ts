// Images of shapes that no program of today makes.

import type { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { used } from '../../drivers/support.js';

/** Gives an image that has no content other sizes of clusters and of L2 tables: its L1 table is empty whatever they are. All is closed then. */
export async function reshape(
  graph: Graph,
  file: BlockdevOptions,
  [clusterBits, tableBits]: readonly [number, number],
): Promise<void> {
  const node = await used(openNode(graph, file));
  await node.write(32, Uint8Array.of(clusterBits, tableBits));
  await graph.closeAll();
}
