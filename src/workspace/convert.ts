// Converts an image into a new one, or into an existing one:
//
//   size -> create (with its backing file) -> open -> copy -> bitmaps -> close
//
// Each step is reported as it begins, so that a face can say in its own words which step has failed.

import type { DirtyBitmap } from '../block/bitmap.js';
import { backingOf } from '../block/chain.js';
import type { Child } from '../block/child.js';
import { checkCompresses } from '../block/compression.js';
import {
  checkBackingFile,
  checkCreateOptions,
  createImage,
  type ImageCreateOptions,
  type MadeImage,
  type NewFileOptions,
  readsAsZeroes,
} from '../block/create.js';
import type { Graph } from '../block/graph.js';
import { holdTarget } from '../block/hold.js';
import type { BlockNode } from '../block/node/node.js';
import type { OpenOptions } from '../block/open.js';
import { findDriver } from '../block/registry.js';
import { type ConvertOptions, checkConvertSizes, convert } from '../jobs/convert.js';
import type { BlockdevCreateOptions } from '../schema/generated/types.js';
import { refuseAborted } from '../util/abort.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { addCopies, bitmapsUnsupported, checkCopies, checkTakesBitmaps } from './bitmap-copy.js';
import { type ImageOpener, type ImageSource, newFileName, openTargetOf } from './open.js';

/** `bitmaps`: it is checked whether the target can have them; `backing`: the new image's backing file is checked; `hold`: permissions are taken on the target; `zeroes`: `targetIsZero` is checked. */
export type ConvertStage =
  | 'options'
  | 'size'
  | 'backing'
  | 'create'
  | 'open'
  | 'hold'
  | 'zeroes'
  | 'bitmaps'
  | 'copy'
  | 'close';

export interface ConvertPlan extends Omit<ConvertOptions, 'source' | 'target' | 'overlay' | 'targetIsZero'> {
  /** An image that is open and held for a copy. */
  source: BlockNode;
  target: ImageSource;
  /** Returns the options of the image to be created, for the source's size in bytes; null: the target exists. */
  create: ((size: number) => ImageCreateOptions) | null;
  /** How the files of a new target are made. */
  fileOptions?: NewFileOptions;
  format?: string;
  cache?: OpenOptions['cache'];
  /** Bitmaps of the source that the target gets (`bitmap-copy.ts`). Default: none. */
  bitmaps?: readonly DirtyBitmap[];
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
  const { source, target, create, format, cache, targetIsZero, open, bitmaps, onStage, ...options } = plan;
  const made = create === null ? null : await makeTarget(graph, plan, create);
  onStage?.('open');
  const node = await openTargetOf(graph, source, { image: target, made, open }, { format, cache });
  let held: Child | null = null;
  try {
    onStage?.('hold');
    held = holdTarget(node);
    onStage?.('zeroes');
    if (targetIsZero && backingOf(node) !== null) {
      throw new BlockError('invalid-argument', 'a target with a backing file cannot be taken for empty');
    }
    onStage?.('bitmaps');
    if (bitmaps !== undefined) checkTakesBitmaps(node);
    onStage?.('size');
    checkConvertSizes({ sourceLength: source.length, targetLength: node.length, target: node.filename });
    onStage?.('bitmaps');
    if (bitmaps !== undefined) checkCopies(node, bitmaps);
    onStage?.('copy');
    const empty = targetIsZero ?? (create !== null && readsAsZeroes(node));
    await convert({ ...options, source, target: node, targetIsZero: empty || undefined, overlay: create !== null });
    if (bitmaps !== undefined) addCopies(node, bitmaps);
  } catch (error) {
    if (held !== null) node.detach(held);
    await graph.release(node).catch(bestEffort('closing after a failure'));
    throw error;
  }
  onStage?.('close');
  node.detach(held);
  await graph.release(node);
}

/** Throws `unsupported` where an image that is made like this can have no bitmaps. */
function refuseBitmaps(options: ImageCreateOptions): void {
  const definition = findDriver(options.driver);
  if (definition.storesBitmaps?.({ ...options, file: '' } as BlockdevCreateOptions) !== true) {
    throw bitmapsUnsupported(definition.name);
  }
}

async function makeTarget(
  graph: Graph,
  { source, target: image, fileOptions, bitmaps, compress, signal, onStage }: ConvertPlan,
  create: (size: number) => ImageCreateOptions,
): Promise<MadeImage> {
  const target = newFileName(image);
  onStage?.('options');
  const options = checkCreateOptions(create(source.length), target, graph);
  if (compress) checkCompresses(findDriver(options.driver), options);
  onStage?.('bitmaps');
  if (bitmaps !== undefined) refuseBitmaps(options);
  onStage?.('size');
  checkConvertSizes({ sourceLength: source.length, targetLength: options.size, target });
  onStage?.('backing');
  await checkBackingFile(graph, target, options);
  // From here on an existing target is replaced.
  refuseAborted(signal);
  onStage?.('create');
  return createImage(graph, target, options, fileOptions);
}
