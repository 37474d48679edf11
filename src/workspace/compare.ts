// Compares two images by their names: opens both, compares their content, closes them.

import { type CompareOptions, type CompareResult, compareNodes } from '../block/compare.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import type { OpenOptions } from '../block/open.js';
import { type ImageOpener, type ImageSource, reader, releaseImage } from './open.js';

export interface ComparedImage {
  image: ImageSource;
  options?: OpenOptions;
}

export interface CompareWatch {
  /** Called when both images are open; `total` bytes are to be compared. */
  onOpen?: (total: number) => void;
  /** Called before a read error is thrown, with the name of the file that could not be read. */
  onFault?: (filename: string) => void;
}

/** Compares the content of two images, as a guest reads it. Rejects as `openToRead` and `compareNodes`. */
export async function compareImages(
  graph: Graph,
  first: ComparedImage,
  second: ComparedImage,
  options: CompareOptions,
  watch: CompareWatch = {},
  open: ImageOpener = reader(graph),
): Promise<CompareResult> {
  const opened: BlockNode[] = [];
  try {
    for (const { image, options: how = {} } of [first, second]) opened.push(await open(image, how));
    const [a, b] = opened;
    watch.onOpen?.(Math.max(a.length, b.length));
    return await compareNodes(a, b, options, ({ filename }) => watch.onFault?.(filename));
  } finally {
    for (const node of opened) await releaseImage(graph, node);
  }
}
