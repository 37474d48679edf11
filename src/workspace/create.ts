// Making an image, and looking at the backing file that it is to have before anything is made.

import { referrerToBe } from '../block/backing-name.js';
import { fileOf } from '../block/chain.js';
import { checkBackingFile, createImage, type ImageCreateOptions, type MadeImage } from '../block/create.js';
import { resolveBackingName } from '../block/filename.js';
import type { Referrer } from '../block/gate.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { probeFormat, readHead } from '../block/probe.js';
import { orElse } from '../util/best-effort.js';
import { releaseImage } from './open.js';

/**
 * Makes the image `filename` once its backing file has turned out to open, with its chain. `sized`: the size was given; otherwise it is the
 * backing file's. Rejects as `createImage`, and for the backing file as `openNode`.
 */
export async function makeImage(
  graph: Graph,
  filename: string,
  options: ImageCreateOptions,
  sized = true,
): Promise<MadeImage> {
  const below = await checkBackingFile(graph, filename, options);
  return createImage(graph, filename, sized || below === null ? options : { ...options, size: below });
}

/** What was found out about the backing file of an image that is to be made. */
export interface BackingFacts {
  /** Size, bytes. */
  size: number;
  /** The format that was found where none was named; null where one was. */
  detected: string | null;
  /** It is the very file that is to be made. */
  isTarget: boolean;
}

/**
 * Looks at the image `backing`, as the header of `filename` would name it. `open` opens it to be looked at while others may write to it; it is
 * closed again.
 */
export async function lookAtBacking(
  graph: Graph,
  filename: string,
  backing: { name: string; format?: string },
  open: (name: string, referrer: Referrer) => Promise<BlockNode>,
): Promise<BackingFacts> {
  const full = resolveBackingName(filename, backing.name);
  // As whoever opens the overlay will: what an image may not name is not written into it.
  const node = await open(full, await referrerToBe(graph.host, filename));
  try {
    const file = backing.format === undefined ? fileOf(node) : null;
    const detected = file === null ? null : probeFormat(await readHead(file), full);
    const own = await graph.host.stat(filename).catch(orElse('create', null));
    const below = await node.hostFile()?.info();
    return { size: node.length, detected, isTarget: own !== null && own.id === below?.id };
  } finally {
    await releaseImage(graph, node);
  }
}
