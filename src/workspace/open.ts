// Opens images for reading and as targets of a copy. An image that is read is held by a link of its own meanwhile, with permissions that other
// users of the image must respect. The target of a copy may just have been created; then it is removed again where it cannot be opened.

import type { Child } from '../block/child.js';
import type { MadeImage } from '../block/create.js';
import type { Graph } from '../block/graph.js';
import { type HoldKind, hold } from '../block/hold.js';
import { type NewFile, undoCreation } from '../block/new-file.js';
import type { BlockNode } from '../block/node/node.js';
import { type InnerOpenOptions, type OpenOptions, openNode } from '../block/open.js';
import { openUnchanged } from '../block/stale.js';
import type { LooseOptions } from '../schema/loose-options.js';
import type { ImageOptions } from '../schema/options.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';

export type ImageSource = string | ImageOptions | LooseOptions;

/** Opens an image as `openNode` and `openToRead` do. A face passes one of its own to put errors in its own words. */
export type ImageOpener = (image: ImageSource, options: OpenOptions & InnerOpenOptions) => Promise<BlockNode>;

/** An opener that calls `openToRead`, for inspection of the image. */
export function reader(graph: Graph): ImageOpener {
  return (image, options) => openToRead(graph, image, options);
}

/** The links that hold the images that are only read. */
const holds = new WeakMap<BlockNode, Child>();

/**
 * Opens an image for reading, until `releaseImage`. With `purpose` `copy`, nobody may write to it meanwhile, unless `forceShare` is set; with
 * `look`, others may. Rejects as `openNode`, and with `permission` or `locked` where another user has the image open for writing.
 */
export async function openToRead(
  graph: Graph,
  image: ImageSource,
  options: OpenOptions & InnerOpenOptions = {},
  purpose: HoldKind = 'look',
): Promise<BlockNode> {
  return openUnchanged(() => openToReadOnce(graph, image, options, purpose));
}

async function openToReadOnce(
  graph: Graph,
  image: ImageSource,
  options: OpenOptions & InnerOpenOptions,
  purpose: HoldKind,
): Promise<BlockNode> {
  const node = await openNode(graph, image, { ...options, readOnly: true });
  try {
    holds.set(node, hold(node, purpose, options.forceShare));
    return node;
  } catch (error) {
    await graph.release(node).catch(bestEffort('closing after a failure'));
    throw error;
  }
}

/** Closes an image that was opened here. Rejects where the last flush of an image that was written fails. */
export async function releaseImage(graph: Graph, node: BlockNode): Promise<void> {
  const held = holds.get(node);
  if (held !== undefined) node.detach(held);
  holds.delete(node);
  await graph.release(node);
}

/** Opens an image for reading (see `openToRead`), runs `action` on it, and closes it, also where `action` fails. */
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
 * Opens an image for writing, runs `action` on it, and closes it. Rejects as `openNode`, as `action`, and where the last flush fails; after a failure of `action` that of
 * closing counts for nothing.
 */
export async function withWritable(
  graph: Graph,
  image: ImageSource,
  options: OpenOptions,
  action: (node: BlockNode) => Promise<void>,
): Promise<void> {
  const node = await openNode(graph, image, { ...options, readOnly: false });
  try {
    await action(node);
  } catch (error) {
    await graph.release(node).catch(bestEffort('closing after a failure'));
    throw error;
  }
  await graph.release(node);
}

/**
 * Opens the target of a copy of `source` (null: of bytes that come in order) for writing, with `open` or `openNode`. Where that fails, the file that was created for it is removed
 * (see `undoCreation`).
 */
export async function openTargetOf(
  graph: Graph,
  source: BlockNode | null,
  { image, made, open }: { image: ImageSource; made: MadeImage | null; open?: ImageOpener },
  options: Pick<OpenOptions, 'format' | 'cache' | 'backing' | 'nodeName'>,
): Promise<BlockNode> {
  const apartFrom = source === null ? [] : [source];
  const how = { ...options, discard: 'unmap', apartFrom, defaults: made?.openWith } as const;
  try {
    return await (open === undefined ? openNode(graph, image, how) : open(image, how));
  } catch (error) {
    await undoCreation(graph.host, made?.newFile ?? null, error);
    throw error;
  }
}

/** Runs `action`; where it fails, releases the nodes and removes the files that were created for them. */
export async function orRelease<T>(
  graph: Graph,
  opened: readonly { node: BlockNode; newFile: NewFile | null }[],
  action: () => Promise<T>,
): Promise<T> {
  try {
    return await action();
  } catch (error) {
    await undoOpening(graph, opened, error);
    throw error;
  }
}

/** Releases the nodes and removes the files that were created for them, after `error`. */
export async function undoOpening(
  graph: Graph,
  opened: readonly { node: BlockNode; newFile: NewFile | null }[],
  error: unknown,
): Promise<void> {
  for (const { node, newFile } of opened) {
    await graph.release(node).catch(bestEffort('closing after a failure'));
    await undoCreation(graph.host, newFile, error);
  }
}

/** The name of the file for a new image. Throws `invalid-argument` where `image` is options. */
export function newFileName(image: ImageSource): string {
  if (typeof image === 'string') return image;
  throw new BlockError('invalid-argument', 'an image is created by its file name, not by options');
}
