// Maps an image by its name: opens it, lists its extents, closes it.

import type { Graph } from '../block/graph.js';
import { mapEntries } from '../block/map.js';
import type { OpenOptions } from '../block/open.js';
import type { MapEntry } from '../schema/generated/types.js';
import { type ImageOpener, type ImageSource, reader, releaseImage } from './open.js';

/** Part of an image, in bytes. Default: all of it. */
export interface MapRange {
  start?: number;
  length?: number;
}

/** The extents of an image (QAPI `MapEntry`) in order, each as long as possible. Rejects as `openToRead`, and with `io`, `corrupt-image`. */
export async function* mapImage(
  graph: Graph,
  image: ImageSource,
  options: OpenOptions,
  { start = 0, length }: MapRange = {},
  open: ImageOpener = reader(graph),
): AsyncGenerator<MapEntry> {
  const node = await open(image, options);
  try {
    yield* mapEntries(node, start, length === undefined ? node.length : Math.min(node.length, start + length));
  } finally {
    await releaseImage(graph, node);
  }
}
