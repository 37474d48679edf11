// Creates an image. Its backing file is checked before anything is created.

import { referrerToBe } from '../block/backing-name.js';
import { fileOf } from '../block/chain.js';
import { checkBackingFile, createImage, type ImageCreateOptions, type MadeImage } from '../block/create.js';
import { resolveBackingName } from '../block/filename.js';
import type { Referrer } from '../block/gate.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { probeFormat, readFirstSector } from '../block/probe.js';
import { orElse } from '../util/best-effort.js';
import { releaseImage } from './open.js';

/**
 * Creates the image `filename`, after a check that its backing file and the chain below it can be opened. `sized`: `options` have the size;
 * otherwise the image gets the size of its backing file. Rejects as `createImage`, and for the backing file as `openNode`.
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

/** What was found out about the backing file of an image that is to be created. */
export interface BackingFacts {
  /** Size, bytes. */
  size: number;
  /** The format that was probed; null where the caller named the format. */
  detected: string | null;
  /** The backing file is the file that is to be created. */
  isTarget: boolean;
}

/**
 * Inspects the image `backing`, by the name that the header of `filename` would have. `open` opens it for inspection only (others may write to
 * it meanwhile); it is closed again. Rejects as `open`.
 */
export async function inspectBacking(
  graph: Graph,
  filename: string,
  backing: { name: string; format?: string },
  open: (name: string, referrer: Referrer) => Promise<BlockNode>,
): Promise<BackingFacts> {
  const full = resolveBackingName(filename, backing.name);
  // It is opened through the gate, as it will be when the overlay is opened: a name that the gate refuses must not get into a header.
  const node = await open(full, await referrerToBe(graph.host, filename));
  try {
    const file = backing.format === undefined ? fileOf(node) : null;
    const detected = file === null ? null : probeFormat(await readFirstSector(file), full);
    const own = await graph.host.stat(filename).catch(orElse('create', null));
    const below = await node.hostFile()?.info();
    return { size: node.length, detected, isTarget: own !== null && own.id === below?.id };
  } finally {
    await releaseImage(graph, node);
  }
}
