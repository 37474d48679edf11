// qed in the conformance suite: small and large tables, alone and over other images.

import { createImage } from '../../../src/block/create.js';
import { type DriverEntry, entry, makeBacking, plainFile } from '../../conformance/entry.js';

interface QedShape {
  clusterSize: number;
  tableSize: number;
  /** Backing image: its size in percent of the overlay's. */
  backing: { format: 'raw' | 'qcow2'; percent: number } | null;
}

function qed({ clusterSize, tableSize, backing }: QedShape): DriverEntry {
  // More than one L2 table where the clusters are small.
  const size = Math.max(4 * clusterSize, 2_200_000 - (2_200_000 % 512)) + 1536;
  const below = backing === null ? '' : ` over ${backing.percent} % of ${backing.format}`;
  return entry(
    `qed, clusters of ${clusterSize}, tables of ${tableSize}${below}`,
    size,
    // A cluster that holds zeroes is data, as for QEMU; and so it refuses to grow before a longer backing file.
    { truncate: (backing?.percent ?? 0) > 100 ? 0 : 512, shrinks: false, backing: backing !== null, zeroStatus: false },
    async (place, graph) => {
      const content = new Uint8Array(size);
      if (backing !== null) content.set(await makeBacking(place, graph, size, backing));
      await createImage(graph, place.path('a'), {
        driver: 'qed',
        size,
        'cluster-size': clusterSize,
        'table-size': tableSize,
        ...(backing === null ? {} : { 'backing-file': 'base', 'backing-fmt': backing.format }),
      });
      return content;
    },
    (place) => ({ driver: 'qed', file: plainFile(place) }),
  );
}

export const QED_ENTRIES: readonly DriverEntry[] = [
  qed({ clusterSize: 4096, tableSize: 1, backing: null }),
  qed({ clusterSize: 65536, tableSize: 4, backing: null }),
  qed({ clusterSize: 4096, tableSize: 2, backing: { format: 'raw', percent: 60 } }),
  qed({ clusterSize: 16384, tableSize: 4, backing: { format: 'qcow2', percent: 130 } }),
  qed({ clusterSize: 2 << 20, tableSize: 1, backing: { format: 'qcow2', percent: 60 } }),
];
