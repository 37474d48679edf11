// vmdk in the conformance suite: sparse, with and without grains that can be zero, over a backing file, flat, and with its extents apart.

import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevVmdkSubformat } from '../../../src/schema/generated/types.js';
import { type DriverEntry, entry, plainFile } from '../../conformance/entry.js';
import { used } from '../../drivers/support.js';

/** Three grains of 64 KiB, and a part of one. */
const SIZE = 3 * 65536 + 1536;
const BELOW = 2 * 65536 + 512;

interface Shape {
  subformat: BlockdevVmdkSubformat;
  zeroGrains?: boolean;
  backing?: boolean;
  /** Name of the file of the extent, where it has one. */
  content?: string;
}

function vmdk({ subformat, zeroGrains = false, backing = false, content }: Shape): DriverEntry {
  const made = entry(
    `vmdk, ${subformat}${zeroGrains ? ', zeroed grains' : ''}${backing ? ', over another' : ''}`,
    SIZE,
    // A grain keeps its place, and what lies in a flat extent is data, as for QEMU. QEMU changes no name of a backing file, either.
    {
      backing,
      zeroStatus: false,
      renamesBacking: false,
      makeEmpty: subformat.endsWith('Sparse'),
      compressedPlain: subformat.endsWith('Sparse'),
    },
    async (place, graph) => {
      const below = new Uint8Array(SIZE);
      if (backing) {
        await createImage(graph, place.path('base'), { driver: 'vmdk', size: BELOW });
        const node = await used(openNode(graph, place.path('base'), { format: 'vmdk' }));
        below.fill(7, 0, 65536 + 100 * 512);
        await node.write(0, below.subarray(0, 65536 + 100 * 512));
        await graph.closeAll();
      }
      await createImage(graph, place.path('a'), {
        driver: 'vmdk',
        size: SIZE,
        subformat,
        'zeroed-grain': zeroGrains,
        ...(backing && { 'backing-file': 'base' }),
      });
      return below;
    },
    (place) => ({ driver: 'vmdk', file: plainFile(place) }),
  );
  // A device has room for a descriptor alone, and its extents need names.
  return content === undefined ? made : { ...made, content, onDevice: null };
}

export const VMDK_ENTRIES: readonly DriverEntry[] = [
  vmdk({ subformat: 'monolithicSparse' }),
  vmdk({ subformat: 'monolithicSparse', zeroGrains: true }),
  vmdk({ subformat: 'monolithicSparse', backing: true }),
  vmdk({ subformat: 'monolithicSparse', zeroGrains: true, backing: true }),
  vmdk({ subformat: 'twoGbMaxExtentSparse', content: 'a-s001' }),
  vmdk({ subformat: 'monolithicFlat', content: 'a-flat' }),
  vmdk({ subformat: 'twoGbMaxExtentFlat', content: 'a-f001' }),
];
