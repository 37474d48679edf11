// Nodes over nodes for the suite: what one layer says of itself must hold through those above it.

import { createImage, createNode } from '../../src/block/create.js';
import type { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import type { BlockdevOptions } from '../../src/schema/generated/types.js';
import { type DriverEntry, entry, makeBacking, plainFile } from './entry.js';
import { serve } from './manifest.js';
import type { Place } from './place.js';

const SIZE = 256 * 1024 + 1536;
const CLUSTER_SIZE = 4096;
const OFFSET = 5 * CLUSTER_SIZE + 512;

/** `a` over `mid` over `base`, each shorter than the layer above by a part: data, holes and zeroes. Resolves with what a guest of `a` sees. */
async function makeChain(place: Place, graph: Graph, size: number): Promise<Uint8Array> {
  const content = new Uint8Array(size);
  const base = await makeBacking(place, graph, size, { format: 'qcow2', percent: 60 });
  content.set(base);
  const middle = Math.floor((size * 0.8) / 512) * 512;
  const shape = { driver: 'qcow2', version: 'v3', 'cluster-size': CLUSTER_SIZE, 'backing-fmt': 'qcow2' } as const;
  await createImage(graph, place.path('mid'), { ...shape, size: middle, 'backing-file': 'base' });
  await createImage(graph, place.path('a'), { ...shape, size, 'backing-file': 'mid' });
  for (const [name, at, value] of [
    ['mid', 0.05, 0],
    ['mid', 0.7, 9],
    ['a', 0.1, 8],
    ['a', 0.5, 0],
  ] as const) {
    const node = await openNode(graph, place.path(name), { format: 'qcow2' });
    const offset = Math.floor((size * at) / CLUSTER_SIZE) * CLUSTER_SIZE;
    const bytes = new Uint8Array(2 * CLUSTER_SIZE).fill(value);
    await (value === 0 ? node.writeZeroes(offset, bytes.length) : node.write(offset, bytes));
    content.set(bytes, offset);
    await graph.closeAll();
  }
  return content;
}

const chain = (place: Place): BlockdevOptions => ({ driver: 'qcow2', file: plainFile(place) });

const CLAIMS = { backing: false, zeroStatus: true, reopen: true } as const;

const rawOverChain = entry(
  'raw over a chain with short layers',
  SIZE,
  { ...CLAIMS, truncate: 512 },
  (place, graph) => makeChain(place, graph, SIZE),
  (place) => ({ driver: 'raw', file: chain(place) }),
);

const windowOverChain = entry(
  'a window of a chain with short layers',
  SIZE - 3 * OFFSET,
  CLAIMS,
  async (place, graph) => (await makeChain(place, graph, SIZE)).slice(OFFSET, SIZE - 2 * OFFSET),
  (place) => ({ driver: 'raw', offset: OFFSET, size: SIZE - 3 * OFFSET, file: chain(place) }),
);

const rawOverRaw = entry(
  'raw over a window of a chain',
  SIZE - OFFSET,
  { ...CLAIMS, truncate: 512 },
  async (place, graph) => (await makeChain(place, graph, SIZE)).slice(OFFSET),
  (place) => ({ driver: 'raw', file: { driver: 'raw', offset: OFFSET, file: chain(place) } }),
);

const imageInImage = entry(
  'qcow2 in qcow2',
  SIZE,
  { ...CLAIMS, truncate: 512, locate: false, compressed: CLUSTER_SIZE, makeEmpty: true },
  async (place, graph) => {
    const shape = { driver: 'qcow2', 'cluster-size': CLUSTER_SIZE } as const;
    await createImage(graph, place.path('a'), { ...shape, size: SIZE });
    await createNode(graph, { ...shape, size: SIZE, file: chain(place) });
    return new Uint8Array(SIZE);
  },
  (place) => ({ driver: 'qcow2', file: chain(place) }),
);

const overNothing = entry(
  'raw over qcow2 over null-co',
  SIZE,
  { ...CLAIMS, truncate: 512 },
  async (place, graph) => {
    await createImage(graph, place.path('a'), { driver: 'qcow2', 'cluster-size': CLUSTER_SIZE, size: SIZE });
    return new Uint8Array(SIZE);
  },
  (place) => {
    const backing = { driver: 'null-co', size: SIZE / 2, 'read-zeroes': true } as const;
    return { driver: 'raw', file: { driver: 'qcow2', file: plainFile(place), backing } };
  },
);

/** Over our own server in the same process, which serves a window of a chain. */
const exportOfChain: DriverEntry = {
  ...entry(
    'nbd over an export of a window of a chain',
    SIZE - OFFSET,
    { ...CLAIMS, locate: false },
    async (place, graph) => {
      const content = await makeChain(place, graph, SIZE);
      const options = { driver: 'raw', offset: OFFSET, file: chain(place) } as const;
      await serve(place, graph, await openNode(graph, options, { discard: 'unmap' }));
      return content.slice(OFFSET);
    },
    (place) => ({ driver: 'nbd', server: { type: 'unix', path: place.path('socket') } }),
  ),
  simulated: false,
};

/** On real disks only what a disk changes: the window (below it raw's own holes) and the export, which needs sockets. */
const SIMULATED = [rawOverChain, rawOverRaw, imageInImage, overNothing].map((stack) => ({ ...stack, real: false }));

export const STACKS: readonly DriverEntry[] = [...SIMULATED, windowOverChain, exportOfChain];
