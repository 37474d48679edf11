// raw in the conformance suite: a whole file, and a window of one.

import { entry, makePlain, plainFile, SIZE } from '../../conformance/entry.js';

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

export const RAW_ENTRIES = [
  { ...raw, onDevice: null },
  // A device does not say where it has holes.
  { ...window, onDevice: { zeroStatus: false } },
];
