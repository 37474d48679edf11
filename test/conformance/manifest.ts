// The drivers that the suite runs over: those of the formats come from their own folders (test/formats), the others are listed here.

import { createNode } from '../../src/block/create.js';
import { Device } from '../../src/block/device.js';
import type { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import type { BlockdevOptions } from '../../src/schema/generated/types.js';
import { serveDevice } from '../../src/workspace/serve.js';
import { FORMATS } from '../formats/index.js';
import { type DriverEntry, entry, makePlain, plainFile, SIZE } from './entry.js';
import type { Place } from './place.js';

const file = entry(
  'file',
  SIZE,
  { truncate: 512 },
  async (place, graph) => {
    await makePlain(place, graph, SIZE);
    return new Uint8Array(SIZE);
  },
  plainFile,
);

const nothing = entry(
  'null-co',
  SIZE,
  { keeps: false, locate: false },
  async () => new Uint8Array(SIZE),
  () => ({ driver: 'null-co', size: SIZE, 'read-zeroes': true }),
);

const keeping = entry(
  'copy-before-write over raw',
  SIZE,
  { truncate: 512, reopen: false },
  async (place, graph) => {
    await makePlain(place, graph, SIZE);
    return new Uint8Array(SIZE);
  },
  (place) => ({
    driver: 'copy-before-write',
    file: { driver: 'raw', file: plainFile(place) },
    target: { driver: 'null-co', size: SIZE, 'read-only': false },
  }),
);

const limited = entry(
  'blkdebug with limits over raw',
  SIZE,
  { truncate: 512, locate: false },
  async (place, graph) => {
    await makePlain(place, graph, SIZE);
    return new Uint8Array(SIZE);
  },
  (place) => ({
    driver: 'blkdebug',
    align: 512,
    'max-transfer': 8192,
    'max-write-zero': 65536,
    'max-discard': 65536,
    image: { driver: 'raw', file: plainFile(place) },
  }),
);

const mirrored = (name: string, optionsOf: (first: BlockdevOptions, second: BlockdevOptions) => BlockdevOptions) =>
  entry(
    name,
    SIZE,
    { copies: 2, locate: false, reopen: false, zeroStatus: name === 'quorum of two files' },
    async (place, graph) => {
      await makePlain(place, graph, SIZE);
      await createNode(graph, { driver: 'file', filename: place.path('b'), size: SIZE });
      return new Uint8Array(SIZE);
    },
    (place) => optionsOf(plainFile(place), { driver: 'file', filename: place.path('b') }),
  );

const quorum = mirrored('quorum of two files', (one, other) => ({
  driver: 'quorum',
  children: [one, other],
  'vote-threshold': 2,
}));

const verified = mirrored('blkverify', (test, raw) => ({ driver: 'blkverify', test, raw }));

const logged = entry(
  'blklogwrites over raw',
  SIZE,
  { truncate: 512, locate: false, reopen: false },
  async (place, graph) => {
    await makePlain(place, graph, SIZE);
    await createNode(graph, { driver: 'file', filename: place.path('log'), size: 0 });
    return new Uint8Array(SIZE);
  },
  (place) => ({
    driver: 'blklogwrites',
    file: { driver: 'raw', file: plainFile(place) },
    log: { driver: 'file', filename: place.path('log') },
  }),
);

/** Over our own server in the same process, which serves a raw image. */
const nbd: DriverEntry = {
  ...entry(
    'nbd',
    SIZE,
    { locate: false },
    async (place, graph) => {
      await makePlain(place, graph, SIZE);
      const served = await openNode(graph, { driver: 'raw', file: plainFile(place) }, { discard: 'unmap' });
      await serve(place, graph, served);
      return new Uint8Array(SIZE);
    },
    (place) => ({ driver: 'nbd', server: { type: 'unix', path: place.path('socket') } }),
  ),
  simulated: false,
  onDevice: null,
};

/** An NBD server for `node` on the socket of the place; it ends with the place. */
export async function serve(place: Place, graph: Graph, node: BlockNode): Promise<void> {
  const device = new Device(node, { name: 'served', writable: true });
  const address = { type: 'unix', path: place.path('socket') } as const;
  const service = await serveDevice(place.host, device, { address, server: {}, export: {} });
  place.endings.push(async () => {
    await service.server.close();
    await device.close();
    await graph.closeAll();
  });
}

export const DRIVERS: readonly DriverEntry[] = [
  ...[file, nothing, keeping, limited, quorum, verified, logged].map((driver) => ({ ...driver, onDevice: null })),
  nbd,
  ...FORMATS.flatMap(({ conformance }) => conformance),
];
