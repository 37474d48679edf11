// Filters for the suite: what holds for the node below holds through them.

import { createImage, createNode } from '../../src/block/create.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import type { BlockdevOptions, ThrottleLimits } from '../../src/schema/generated/types.js';
import { used } from '../drivers/support.js';
import { type Capabilities, type DriverEntry, entry, makeBacking, plainFile } from './entry.js';
import type { Place } from './place.js';

const SIZE = 256 * 1024 + 512;
const CLUSTER_SIZE = 4096;

async function makePlain(place: Place, graph: Graph): Promise<Uint8Array> {
  await createNode(graph, { driver: 'file', filename: place.path('a'), size: SIZE });
  return new Uint8Array(SIZE);
}

/** An overlay of which the first third is another image's, and the last. */
async function makeOverlay(place: Place, graph: Graph): Promise<Uint8Array> {
  const content = new Uint8Array(SIZE);
  content.set(await makeBacking(place, graph, SIZE, { format: 'raw', percent: 60 }));
  await createImage(graph, place.path('a'), {
    driver: 'qcow2',
    size: SIZE,
    'cluster-size': CLUSTER_SIZE,
    'backing-file': 'base',
    'backing-fmt': 'raw',
  });
  return content;
}

async function makeQcow2(place: Place, graph: Graph): Promise<Uint8Array> {
  await createImage(graph, place.path('a'), { driver: 'qcow2', size: SIZE, 'cluster-size': CLUSTER_SIZE });
  return new Uint8Array(SIZE);
}

const qcow2 = (place: Place): BlockdevOptions => ({ driver: 'qcow2', file: plainFile(place) });

/** A throttle filter over a raw image, whose group has `limits`. */
function throttle(name: string, limits: ThrottleLimits, capabilities: Partial<Capabilities>): DriverEntry {
  const options = (place: Place): BlockdevOptions => ({
    driver: 'throttle',
    'throttle-group': 'g',
    file: { driver: 'raw', file: plainFile(place) },
  });
  const made = entry(name, SIZE, { truncate: 512, ...capabilities }, makePlain, options);
  const open: DriverEntry['open'] = async (place, how = {}) => {
    registerDrivers();
    const graph = new Graph(place.host);
    await graph.objects.add({ 'qom-type': 'throttle-group', id: 'g', limits });
    return used(openNode(graph, options(place), { discard: 'unmap', ...how }));
  };
  return {
    ...made,
    open,
    async make(place) {
      registerDrivers();
      const below = await makePlain(place, new Graph(place.host));
      const node = await open(place);
      return { graph: node.graph, node, fresh: below.slice(), below };
    },
  };
}

const nullAio = entry(
  'null-aio',
  SIZE,
  { keeps: false, locate: false },
  async () => new Uint8Array(SIZE),
  () => ({ driver: 'null-aio', size: SIZE, 'read-zeroes': true }),
);

const copyOnRead = entry(
  'copy-on-read over qcow2 over raw',
  SIZE,
  { truncate: 512, backing: true, compressed: CLUSTER_SIZE, reopen: false, readOnly: false, makeEmpty: true },
  makeOverlay,
  (place) => ({ driver: 'copy-on-read', file: qcow2(place) }),
);

const compress = entry(
  'compress over qcow2',
  SIZE,
  { truncate: 512, compressed: CLUSTER_SIZE, locate: false, reopen: false, makeEmpty: true },
  makeQcow2,
  (place) => ({ driver: 'compress', file: qcow2(place) }),
);

const preallocate = entry('preallocate over raw', SIZE, { truncate: 512 }, makePlain, (place) => ({
  driver: 'preallocate',
  'prealloc-size': 1 << 20,
  file: { driver: 'raw', file: plainFile(place) },
}));

const qcow2OverPreallocate = entry(
  'qcow2 over preallocate',
  SIZE,
  { truncate: 512, compressed: CLUSTER_SIZE, makeEmpty: true },
  makeQcow2,
  (place) => ({ driver: 'qcow2', file: { driver: 'preallocate', 'prealloc-size': 1 << 20, file: plainFile(place) } }),
);

export const FILTERS: readonly DriverEntry[] = [
  nullAio,
  throttle('throttle without limits over raw', {}, {}),
  throttle('throttle over raw', { 'iops-total': 1e6, 'bps-write': 1e12 }, { locate: false }),
  copyOnRead,
  compress,
  preallocate,
  qcow2OverPreallocate,
].map((filter) => ({ ...filter, onDevice: null }));
