// vhdx in the conformance suite: dynamic, with blocks that are marked as zeroes or absent, and fixed.

import { createImage } from '../../../src/block/create.js';
import { type DriverEntry, entry, plainFile } from '../../conformance/entry.js';

/** Three blocks of 1 MiB, and a part of one. */
const SIZE = (3 << 20) + 1536;

function vhdx(kind: string, own: object): DriverEntry {
  return entry(
    `vhdx, ${kind}`,
    SIZE,
    // A block that holds zeroes is data.
    { zeroStatus: false },
    async (place, graph) => {
      await createImage(graph, place.path('a'), { driver: 'vhdx', size: SIZE, 'block-size': 1 << 20, ...own });
      return new Uint8Array(SIZE);
    },
    (place) => ({ driver: 'vhdx', file: plainFile(place) }),
  );
}

export const VHDX_ENTRIES: readonly DriverEntry[] = [
  vhdx('dynamic', {}),
  vhdx('dynamic, blocks are absent', { 'block-state-zero': false }),
  vhdx('fixed', { subformat: 'fixed' }),
];
