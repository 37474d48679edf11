// cow in the conformance suite: alone, and over raw images that are shorter and longer.

import { createImage } from '../../../src/block/create.js';
import { type DriverEntry, entry, makeBacking, plainFile } from '../../conformance/entry.js';

/** Several sectors of the bitmap; a multiple of a sector, as all disks of this kind are. */
const SIZE = 300 * 4096 + 1536;

function cow(percent: number | null): DriverEntry {
  const below = percent === null ? '' : ` over ${percent} % of raw`;
  return entry(
    `cow${below}`,
    SIZE,
    // A sector of zeroes is data, and what is below, or that there is nothing, shows through every other one. QEMU has no such format, so that nobody renames.
    { backing: percent !== null, zeroStatus: false, renamesBacking: false, makeEmpty: true },
    async (place, graph) => {
      const content = new Uint8Array(SIZE);
      if (percent !== null) content.set(await makeBacking(place, graph, SIZE, { format: 'raw', percent }));
      await createImage(graph, place.path('a'), {
        driver: 'cow',
        size: SIZE,
        ...(percent !== null && { 'backing-file': 'base', 'backing-fmt': 'raw' }),
      });
      return content;
    },
    (place) => ({ driver: 'cow', file: plainFile(place) }),
  );
}

export const COW_ENTRIES: readonly DriverEntry[] = [cow(null), cow(60), cow(130)];
