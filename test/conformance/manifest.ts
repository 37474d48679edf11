// The drivers that the suite runs over, and what each claims. A new driver is one more entry.

import { createImage, createNode } from '../../src/block/create.js';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { type OpenOptions, openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import type { BlockdevOptions } from '../../src/schema/generated/types.js';
import { BlockError } from '../../src/util/errors.js';
import { serveDevice } from '../../src/workspace/serve.js';
import { used } from '../drivers/support.js';
import type { Place } from './place.js';

export interface Capabilities {
  /** Files that each have the whole content. */
  copies: number;
  /** What is written can be read back. Without it, reads give zeroes. */
  keeps: boolean;
  /** Bytes that a size is a multiple of; 0 where the size cannot be changed. */
  truncate: number;
  backing: boolean;
  /** Tells zeroes that were written from data (where the disk below does). */
  zeroStatus: boolean;
  locate: boolean;
  /** Cluster size of compressed writes; 0 where there are none. */
  compressed: number;
  reopen: boolean;
  /** Can be opened read-only. */
  readOnly: boolean;
  /** All content of the layer can be dropped. */
  makeEmpty: boolean;
}

/** An image that is open. */
export interface Subject {
  graph: Graph;
  node: BlockNode;
  /** What a guest sees of the image when it is new. */
  fresh: Uint8Array;
  /** What comes from below where this layer has nothing; all zeroes without a backing node. */
  below: Uint8Array;
}

export interface DriverEntry {
  name: string;
  capabilities: Capabilities;
  /** Virtual size that suits it, bytes. */
  size: number;
  /** Also run on the real host. */
  real: boolean;
  /** Run on the simulated host, which has no sockets. */
  simulated: boolean;
  /** What it claims otherwise where its file is a block device; null where that cannot be, as a device has a size of its own. */
  onDevice: Partial<Capabilities> | null;
  /** Makes the image and opens it for reading and writing. */
  make(place: Place): Promise<Subject>;
  /** Opens what `make` made once more, on `place`. */
  open(place: Place, options?: OpenOptions): Promise<BlockNode>;
}

const NOTHING: Capabilities = {
  copies: 1,
  keeps: true,
  truncate: 0,
  backing: false,
  zeroStatus: true,
  locate: true,
  compressed: 0,
  reopen: true,
  readOnly: true,
  makeEmpty: false,
};

/** Bytes of the backing image: data, a hole, data; never zero where they are data. */
function backingContent(size: number): Uint8Array {
  const known = backingContents.get(size);
  if (known !== undefined) return known.slice();
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) {
    if (i < size / 3 || i > (2 * size) / 3) bytes[i] = 1 + ((i * 11 + (i >> 9)) % 255);
  }
  backingContents.set(size, bytes);
  return bytes.slice();
}

/** By size. Thousands of tests use the same few. */
const backingContents = new Map<number, Uint8Array>();

function opener(optionsOf: (place: Place) => BlockdevOptions): DriverEntry['open'] {
  return (place, options = {}) => {
    registerDrivers();
    return used(openNode(new Graph(place.host), optionsOf(place), { discard: 'unmap', ...options }));
  };
}

export function entry(
  name: string,
  size: number,
  capabilities: Partial<Capabilities>,
  create: (place: Place, graph: Graph) => Promise<Uint8Array>,
  optionsOf: (place: Place) => BlockdevOptions,
  real = true,
): DriverEntry {
  const open = opener(optionsOf);
  return {
    name,
    size,
    real,
    simulated: true,
    onDevice: {},
    capabilities: { ...NOTHING, ...capabilities },
    async make(place) {
      registerDrivers();
      const below = await create(place, new Graph(place.host));
      const node = await open(place);
      return { graph: node.graph, node, fresh: below.slice(), below };
    },
    open,
  };
}

export const plainFile = (place: Place): BlockdevOptions => ({ driver: place.disk, filename: place.path('a') });

async function makePlain(place: Place, graph: Graph, size: number): Promise<void> {
  // A device is there.
  if (place.disk === 'host_device') return;
  await createNode(graph, { driver: 'file', filename: place.path('a'), size });
}

const SIZE = 256 * 1024 + 512;

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

const raw = entry(
  'raw',
  SIZE,
  { truncate: 512 },
  async (place, graph) => {
    await makePlain(place, graph, SIZE);
    return new Uint8Array(SIZE);
  },
  (place) => ({ driver: 'raw', file: plainFile(place) }),
);

const WINDOW_OFFSET = 1536;

const window = entry(
  'raw with offset and size',
  SIZE,
  {},
  async (place, graph) => {
    await makePlain(place, graph, SIZE + 3 * WINDOW_OFFSET);
    return new Uint8Array(SIZE);
  },
  (place) => ({ driver: 'raw', offset: WINDOW_OFFSET, size: SIZE, file: plainFile(place) }),
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

interface Qcow2Shape {
  version: 'v2' | 'v3';
  clusterSize: number;
  /** L2 entries are extended. */
  extended?: boolean;
  /** Backing image: its size in percent of the overlay's. */
  backing: { format: 'raw' | 'qcow2'; percent: number } | null;
  real?: boolean;
}

function qcow2({ version, clusterSize, extended = false, backing, real = false }: Qcow2Shape): DriverEntry {
  const size = Math.max(4 * clusterSize, 192 * 1024) + 1536;
  const below = backing === null ? '' : ` over ${backing.percent} % of ${backing.format}`;
  return entry(
    `qcow2 ${version}, clusters of ${clusterSize}${extended ? ' with subclusters' : ''}${below}`,
    size,
    {
      truncate: 512,
      backing: backing !== null,
      // Version 2 has no zero clusters: with something below, zeroes are data.
      zeroStatus: version === 'v3' || backing === null,
      compressed: clusterSize,
      makeEmpty: true,
    },
    async (place, graph) => {
      const content = new Uint8Array(size);
      if (backing !== null) content.set(await makeBacking(place, graph, size, backing));
      await createImage(graph, place.path('a'), {
        driver: 'qcow2',
        size,
        version,
        'cluster-size': clusterSize,
        'extended-l2': extended,
        ...(backing === null ? {} : { 'backing-file': 'base', 'backing-fmt': backing.format }),
      });
      return content;
    },
    (place) => ({ driver: 'qcow2', file: plainFile(place) }),
    real,
  );
}

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

/** Resolves with what of it a guest of the overlay can see. */
export async function makeBacking(
  place: Place,
  graph: Graph,
  size: number,
  { format, percent }: { format: 'raw' | 'qcow2'; percent: number },
): Promise<Uint8Array> {
  const bytes = Math.floor((size * percent) / 100 / 512) * 512;
  const path = place.path('base');
  await createImage(graph, path, { driver: format, size: bytes });
  const node = await used(openNode(graph, path, { format }));
  const content = backingContent(bytes);
  const edges = [0, Math.floor(bytes / 3), Math.ceil((2 * bytes) / 3), bytes];
  await node.write(0, content.subarray(0, edges[1]));
  await node.write(edges[2], content.subarray(edges[2]));
  content.fill(0, edges[1], edges[2]);
  await graph.closeAll();
  return content.subarray(0, Math.min(size, bytes));
}

const CLUSTER_SIZES = [512, 4096, 65536, 2 << 20];

export const DRIVERS: readonly DriverEntry[] = [
  ...[file, raw, nothing, keeping, limited, quorum, verified, logged].map((driver) => ({ ...driver, onDevice: null })),
  // A device does not say where it has holes.
  { ...window, onDevice: { zeroStatus: false } },
  nbd,
  ...CLUSTER_SIZES.map((clusterSize) => qcow2({ version: 'v2', clusterSize, backing: null })),
  ...CLUSTER_SIZES.map((clusterSize) =>
    qcow2({ version: 'v3', clusterSize, backing: null, real: clusterSize === 65536 }),
  ),
  qcow2({ version: 'v2', clusterSize: 512, backing: { format: 'qcow2', percent: 130 } }),
  qcow2({ version: 'v2', clusterSize: 4096, backing: { format: 'raw', percent: 60 }, real: true }),
  qcow2({ version: 'v2', clusterSize: 65536, backing: { format: 'raw', percent: 130 } }),
  qcow2({ version: 'v2', clusterSize: 2 << 20, backing: { format: 'qcow2', percent: 60 } }),
  qcow2({ version: 'v3', clusterSize: 512, backing: { format: 'raw', percent: 60 }, real: true }),
  qcow2({ version: 'v3', clusterSize: 4096, backing: { format: 'qcow2', percent: 130 } }),
  qcow2({ version: 'v3', clusterSize: 65536, backing: { format: 'qcow2', percent: 60 }, real: true }),
  qcow2({ version: 'v3', clusterSize: 2 << 20, backing: { format: 'raw', percent: 130 } }),
  qcow2({ version: 'v3', clusterSize: 16384, extended: true, backing: null, real: true }),
  qcow2({ version: 'v3', clusterSize: 65536, extended: true, backing: { format: 'qcow2', percent: 60 }, real: true }),
];

/** The code of what `promise` rejects with; `resolved` where it does not. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof BlockError) return error.code;
    throw error;
  }
  return 'resolved';
}
