// Opening an image for a purpose: an image that is only read is held meanwhile, so that others see its use and know what they may do.

import type { Child } from '../block/child.js';
import type { Graph } from '../block/graph.js';
import { type HoldKind, hold } from '../block/hold.js';
import { type NewFile, undoCreation } from '../block/new-file.js';
import type { BlockNode } from '../block/node/node.js';
import { type InnerOpenOptions, type OpenOptions, openNode } from '../block/open.js';
import type { LooseOptions } from '../schema/loose-options.js';
import type { ImageOptions } from '../schema/options.js';
import { bestEffort } from '../util/best-effort.js';

export type ImageSource = string | ImageOptions | LooseOptions;

/** Links of the images that are only read. */
const holds = new WeakMap<BlockNode, Child>();

/**
 * Opens an image that is only read, until `releaseImage`. `copy` keeps others from writing to it meanwhile, unless `forceShare`; `look` lets
 * them. Rejects as `openNode`, and with `permission` and `locked` where somebody writes to it.
 */
export async function openToRead(
  graph: Graph,
  image: ImageSource,
  options: OpenOptions & InnerOpenOptions = {},
  purpose: HoldKind = 'look',
): Promise<BlockNode> {
  const node = await openNode(graph, image, { ...options, readOnly: true, onlyLooks: purpose === 'look' });
  try {
    holds.set(node, hold(node, purpose, options.forceShare));
    return node;
  } catch (error) {
    await graph.release(node).catch(bestEffort('closing after a failure'));
    throw error;
  }
}

/** Closes an image, whatever it was opened for. Rejects where the last flush of one that was written to fails. */
export async function releaseImage(graph: Graph, node: BlockNode): Promise<void> {
  const held = holds.get(node);
  if (held !== undefined) node.detach(held);
  holds.delete(node);
  await graph.release(node);
}

/** Runs `action` on an image that is only read, and closes it whatever comes of that. */
export async function withImage<T>(
  graph: Graph,
  image: ImageSource,
  options: OpenOptions,
  action: (node: BlockNode) => Promise<T>,
  purpose: HoldKind = 'look',
): Promise<T> {
  const node = await openToRead(graph, image, options, purpose);
  try {
    return await action(node);
  } finally {
    await releaseImage(graph, node);
  }
}

/** Runs `action`; where it fails, the file that was made for it is removed, as `undoCreation` does it. */
export async function orRemove<T>(graph: Graph, newFile: NewFile | null, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    await undoCreation(graph.host, newFile, error);
    throw error;
  }
}

/** Runs `action`; where it fails, the nodes are released and the files that were made for them removed. */
export async function orRelease<T>(
  graph: Graph,
  opened: readonly { node: BlockNode; newFile: NewFile | null }[],
  action: () => Promise<T>,
): Promise<T> {
  try {
    return await action();
  } catch (error) {
    await giveBack(graph, opened, error);
    throw error;
  }
}

/** Releases the nodes and removes the files that were made for them, after `error`. */
export async function giveBack(
  graph: Graph,
  opened: readonly { node: BlockNode; newFile: NewFile | null }[],
  error: unknown,
): Promise<void> {
  for (const { node, newFile } of opened) {
    await graph.release(node).catch(bestEffort('closing after a failure'));
    await undoCreation(graph.host, newFile, error);
  }
}
