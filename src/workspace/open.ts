// Opening an image for a purpose: an image that is only read is held meanwhile, so that others see its use and know what they may do; one that
// is written to by a copy may have been made for it, and is removed again where it cannot be opened.

import type { Child } from '../block/child.js';
import type { Graph } from '../block/graph.js';
import { type HoldKind, hold } from '../block/hold.js';
import { type NewFile, undoCreation } from '../block/new-file.js';
import type { BlockNode } from '../block/node/node.js';
import { type InnerOpenOptions, type OpenOptions, openNode } from '../block/open.js';
import type { LooseOptions } from '../schema/loose-options.js';
import type { ImageOptions } from '../schema/options.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';

export type ImageSource = string | ImageOptions | LooseOptions;

/** Opens an image as `openNode` and `openToRead` do. A face may have words of its own for what goes wrong. */
export type ImageOpener = (image: ImageSource, options: OpenOptions & InnerOpenOptions) => Promise<BlockNode>;

/** As `openToRead` does it, to look at the image. */
export function reader(graph: Graph): ImageOpener {
  return (image, options) => openToRead(graph, image, options);
}

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

/**
 * Opens the target of a copy of `source` for writing, by `open` or as `openNode`. Where that fails, the file that was made for it is removed, as
 * `undoCreation` does it.
 */
export async function openTargetOf(
  source: BlockNode,
  { image, newFile, open }: { image: ImageSource; newFile: NewFile | null; open?: ImageOpener },
  options: Pick<OpenOptions, 'format' | 'cache' | 'backing'>,
): Promise<BlockNode> {
  const { graph } = source;
  const how = { ...options, discard: 'unmap', apartFrom: [source] } as const;
  try {
    return await (open === undefined ? openNode(graph, image, how) : open(image, how));
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

/** The name of the file that an image is made in. Throws `invalid-argument` for options. */
export function newFileName(image: ImageSource): string {
  if (typeof image === 'string') return image;
  throw new BlockError('invalid-argument', 'an image is made by its file name, not by options');
}
