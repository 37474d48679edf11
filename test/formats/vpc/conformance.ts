// vpc in the conformance suite: dynamic, and of fixed size.

import { createImage } from '../../../src/block/create.js';
import { type DriverEntry, entry, plainFile } from '../../conformance/entry.js';

/** One block of 2 MiB, and a part of one. */
const SIZE = (3 << 20) + 1536;

function vpc(subformat: 'dynamic' | 'fixed'): DriverEntry {
  return {
    ...entry(
      `vpc, ${subformat}`,
      SIZE,
      // A block that holds zeroes is data, as for QEMU.
      { zeroStatus: false },
      async (place, graph) => {
        await createImage(graph, place.path('a'), { driver: 'vpc', size: SIZE, subformat, 'force-size': true });
        return new Uint8Array(SIZE);
      },
      (place) => ({ driver: 'vpc', file: plainFile(place) }),
    ),
  };
}

export const VPC_ENTRIES: readonly DriverEntry[] = [vpc('dynamic'), vpc('fixed')];
