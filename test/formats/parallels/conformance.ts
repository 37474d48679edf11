// parallels in the conformance suite: clusters of 64 KiB, and of 63 sectors, as an early version made them.

import { createImage } from '../../../src/block/create.js';
import { type DriverEntry, entry, plainFile } from '../../conformance/entry.js';

const SIZE = 3 * (64 << 10) + 1536;

function parallels(name: string, clusterSize: number): DriverEntry {
  return entry(
    `parallels, ${name}`,
    SIZE,
    // A cluster that holds zeroes is data, as for QEMU.
    { zeroStatus: false, opensUnclosed: false },
    async (place, graph) => {
      await createImage(graph, place.path('a'), { driver: 'parallels', size: SIZE, 'cluster-size': clusterSize });
      return new Uint8Array(SIZE);
    },
    (place) => ({ driver: 'parallels', file: plainFile(place) }),
  );
}

export const PARALLELS_ENTRIES: readonly DriverEntry[] = [
  parallels('64 KiB', 64 << 10),
  parallels('63 sectors', 63 * 512),
];
