// qcow in the conformance suite: as it is made, alone and over other images, encrypted, and with clusters and tables of other sizes, which only older programs have made.

import { createImage } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { type DriverEntry, entry, makeBacking, plainFile } from '../../conformance/entry.js';
import type { Place } from '../../conformance/place.js';
import { used } from '../../drivers/support.js';
import { reshape } from './images.js';

const SECRET = 's';

interface Shape {
  /** Bits of a cluster and of the index in an L2 table, where they are other ones than those of a new image. */
  bits?: readonly [cluster: number, table: number];
  /** Backing image: its size in percent of the overlay's. */
  backing?: { format: 'raw' | 'qcow2'; percent: number };
  encrypted?: boolean;
}

async function graphOf(place: Place): Promise<Graph> {
  registerDrivers();
  const graph = new Graph(place.host);
  await graph.objects.add({ 'qom-type': 'secret', id: SECRET, data: 'the password' });
  return graph;
}

function qcow({ bits, backing, encrypted = false }: Shape): DriverEntry {
  const clusterBits = bits?.[0] ?? (backing === undefined ? 12 : 9);
  const clusterBytes = 2 ** clusterBits;
  // More than one L2 table where the clusters are small.
  const size = clusterBits === 12 ? 2_200_000 - (2_200_000 % 512) + 1536 : Math.max(4 * clusterBytes, 81920) + 1536;
  const below = backing === undefined ? '' : ` over ${backing.percent} % of ${backing.format}`;
  const tables = bits === undefined ? '' : `, tables of ${2 ** bits[1]}`;
  const optionsOf = (place: Place): BlockdevOptions => ({
    driver: 'qcow',
    file: plainFile(place),
    ...(encrypted && { encrypt: { format: 'aes', 'key-secret': SECRET } }),
  });
  const create = async (place: Place, graph: Graph): Promise<Uint8Array> => {
    const content = new Uint8Array(size);
    if (backing !== undefined) content.set(await makeBacking(place, graph, size, backing));
    await createImage(graph, place.path('a'), {
      driver: 'qcow',
      size,
      ...(backing !== undefined && { 'backing-file': 'base', 'backing-fmt': backing.format }),
      ...(encrypted && { encrypt: { format: 'qcow', 'key-secret': SECRET } }),
    });
    if (bits !== undefined) await reshape(graph, plainFile(place), bits);
    return content;
  };
  const made = entry(
    `qcow, clusters of ${clusterBytes}${tables}${below}${encrypted ? ', encrypted' : ''}`,
    size,
    // A cluster that holds zeroes is data, as for QEMU, which changes neither the size nor the name of a backing file.
    {
      backing: backing !== undefined,
      renamesBacking: false,
      zeroStatus: false,
      makeEmpty: true,
      ...(encrypted ? { locate: false } : { compressed: clusterBytes }),
    },
    create,
    optionsOf,
  );
  if (!encrypted) return made;
  const open: DriverEntry['open'] = async (place, options = {}) =>
    used(openNode(await graphOf(place), optionsOf(place), { discard: 'unmap', ...options }));
  return {
    ...made,
    open,
    async make(place) {
      const content = await create(place, await graphOf(place));
      const node = await open(place);
      return { graph: node.graph, node, fresh: content.slice(), below: content };
    },
  };
}

export const QCOW_ENTRIES: readonly DriverEntry[] = [
  qcow({}),
  qcow({ backing: { format: 'raw', percent: 60 } }),
  qcow({ backing: { format: 'qcow2', percent: 130 } }),
  qcow({ bits: [9, 6] }),
  qcow({ bits: [16, 13] }),
  qcow({ bits: [16, 6], backing: { format: 'qcow2', percent: 60 } }),
  qcow({ bits: [12, 9], backing: { format: 'raw', percent: 130 } }),
  qcow({ encrypted: true }),
  qcow({ encrypted: true, backing: { format: 'raw', percent: 60 } }),
];
