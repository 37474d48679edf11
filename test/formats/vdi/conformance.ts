// vdi in the conformance suite: dynamic, and static.

import { createImage } from '../../../src/block/create.js';
import { type DriverEntry, entry, plainFile } from '../../conformance/entry.js';

/** Three blocks of 1 MiB, and a part of one. */
const SIZE = (3 << 20) + 1536;

function vdi(kind: string, preallocation: 'off' | 'metadata'): DriverEntry {
  return entry(
    `vdi, ${kind}`,
    SIZE,
    // A block that holds zeroes is data, as for QEMU.
    { zeroStatus: false },
    async (place, graph) => {
      await createImage(graph, place.path('a'), { driver: 'vdi', size: SIZE, preallocation });
      return new Uint8Array(SIZE);
    },
    (place) => ({ driver: 'vdi', file: plainFile(place) }),
  );
}

export const VDI_ENTRIES: readonly DriverEntry[] = [vdi('dynamic', 'off'), vdi('static', 'metadata')];
