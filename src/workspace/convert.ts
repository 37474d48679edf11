// Converts an image into a new one, or into an existing one:
//
//   size -> create (with its backing file) -> open -> copy -> close
//
// Each step is reported as it begins, so that a face can say in its own words which step has failed.

import { backingOf } from '../block/chain.js';
import type { Child } from '../block/child.js';
import {
  checkBackingFile,
  checkCreateOptions,
  createImage,
  type ImageCreateOptions,
  type MadeImage,
  readsAsZeroes,
} from '../block/create.js';
import type { Graph } from '../block/graph.js';
import { holdTarget } from '../block/hold.js';
import type { BlockNode } from '../block/node/node.js';
import type { OpenOptions } from '../block/open.js';
import { type ConvertOptions, checkConvertSizes, convert } from '../jobs/convert.js';
import { refuseAborted } from '../util/abort.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { type ImageOpener, type ImageSource, newFileName, openTargetOf } from './open.js';

/** `backing`: the new image's backing file is checked; `hold`: permissions are taken on the target; `zeroes`: `targetIsZero` is checked. */
export type ConvertStage = 'options' | 'size' | 'backing' | 'create' | 'open' | 'hold' | 'zeroes' | 'copy' | 'close';

export interface ConvertPlan extends Omit<ConvertOptions, 'source' | 'target' | 'overlay' | 'targetIsZero'> {
  /** An image that is open and held for a copy. */
  source: BlockNode;
  target: ImageSource;
  /** Returns the options of the image to be created, for the source's size in bytes; null: the target exists. */
  create: ((size: number) => ImageCreateOptions) | null;
  format?: string;
  cache?: OpenOptions['cache'];
  /** The existing target reads as zeroes, so zeroes need not be written. */
  targetIsZero?: boolean;
  /** Default: `openNode`. */
  open?: ImageOpener;
  onStage?: (stage: ConvertStage) => void;
}

/**
 * Creates the target (if `create` is not null), copies the content and closes the target. Rejects with `cancelled` after an abort, and with the
 * error of the step that failed; the target is incomplete where the copy failed.
 */
export async function convertImage(graph: Graph, plan: ConvertPlan): Promise<void> {
  const { source, target, create, format, cache, targetIsZero, open, onStage, ...options } = plan;
  const made = create === null ? null : await makeTarget(graph, plan, create);
  onStage?.('open');
  const node = await openTargetOf(source, { image: target, made, open }, { format, cache });
  let held: Child | null = null;
  try {
    onStage?.('hold');
    held = holdTarget(node);
    onStage?.('zeroes');
    if (targetIsZero && backingOf(node) !== null) {
      throw new BlockError('invalid-argument', 'a target with a backing file cannot be taken for empty');
    }
    onStage?.('size');
    checkConvertSizes({ sourceLength: source.length, targetLength: node.length, target: node.filename });
    onStage?.('copy');
    const empty = targetIsZero ?? (create !== null && readsAsZeroes(node));
    await convert({ ...options, source, target: node, targetIsZero: empty || undefined, overlay: create !== null });
  } catch (error) {
    if (held !== null) node.detach(held);
    await graph.release(node).catch(bestEffort('closing after a failure'));
    throw error;
  }
  onStage?.('close');
  node.detach(held);
  await graph.release(node);
}

async function makeTarget(
  graph: Graph,
  { source, target: image, signal, onStage }: ConvertPlan,
  create: (size: number) => ImageCreateOptions,
): Promise<MadeImage> {
  const target = newFileName(image);
  onStage?.('options');
  const options = checkCreateOptions(create(source.length), target, graph);
  onStage?.('size');
  checkConvertSizes({ sourceLength: source.length, targetLength: options.size, target });
  onStage?.('backing');
  await checkBackingFile(graph, target, options);
  // From here on an existing target is replaced.
  refuseAborted(signal);
  onStage?.('create');
  return createImage(graph, target, options);
}
