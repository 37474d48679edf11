// qcow2 in the conformance suite: each version, with clusters of every kind of size, alone and over other images.

import { createImage } from '../../../src/block/create.js';
import { type DriverEntry, entry, makeBacking, plainFile } from '../../conformance/entry.js';

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

const CLUSTER_SIZES = [512, 4096, 65536, 2 << 20];

export const QCOW2_ENTRIES: readonly DriverEntry[] = [
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
