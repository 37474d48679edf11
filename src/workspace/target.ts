// The target of a mirror or a backup, as QMP's drive-mirror and drive-backup make it: created like the source, or an existing image.
//
//   sync full   an image of the source's size
//   sync top    an overlay of the source's backing file
//   sync none   an overlay of the source itself

import { backingNameFor, idOfFile } from '../block/backing-name.js';
import { backingOf } from '../block/chain.js';
import { createImage, type ImageCreateOptions } from '../block/create.js';
import type { Graph } from '../block/graph.js';
import { refuseSourceFile } from '../block/identity.js';
import type { NewFile } from '../block/new-file.js';
import type { BlockNode } from '../block/node/node.js';
import { type InnerOpenOptions, type OpenOptions, openNode } from '../block/open.js';
import { hasBackingFiles } from '../block/registry.js';
import type { MirrorSyncMode } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { type ImageSource, orRemove } from './open.js';

/** What the job says of the image to be made: these members take precedence over those that were asked for. */
export interface TargetMembers {
  size: number;
  'backing-file'?: string;
  'backing-fmt'?: string;
}

export interface TargetPlan {
  image: ImageSource;
  /** Format of the target; left out: that of an existing one is found out. */
  format?: string;
  /** Options of the image to be made; null: it exists. */
  create: ((members: TargetMembers) => ImageCreateOptions) | null;
  cache?: OpenOptions['cache'];
  /** Opens the target for writing. A face may have words of its own for what goes wrong. */
  open?: (image: ImageSource, options: OpenOptions & InnerOpenOptions) => Promise<BlockNode>;
  /** Called as each step begins; the last call says what has failed where this fails. */
  onStage?: (stage: TargetStage) => void;
}

/** `overlay`: which backing file it gets; `create`: it is made; `open`: it is opened. */
export type TargetStage = 'overlay' | 'create' | 'open';

export interface OpenedTarget {
  node: BlockNode;
  /** The file that was made for it, which is removed again where the job cannot begin. */
  newFile: NewFile | null;
}

/**
 * Makes the target where that is wanted, and opens it for writing. Rejects with `locked` for a file of the source's own chain,
 * `invalid-argument` for a format that has no backing files where one is needed, and as `createImage` and `openNode`; then what was made is
 * gone.
 */
export async function openTarget(
  graph: Graph,
  source: BlockNode,
  plan: TargetPlan,
  sync: MirrorSyncMode,
): Promise<OpenedTarget> {
  const { image, format, create, cache, onStage } = plan;
  const open = plan.open ?? ((name, how) => openNode(graph, name, how));
  if (typeof image === 'string') await refuseSourceFile(source, await idOfFile(graph.host, image), image);
  let newFile: NewFile | null = null;
  if (create !== null) {
    const name = nameOf(image);
    onStage?.('overlay');
    const base = sync === 'top' ? backingOf(source) : sync === 'none' ? source : null;
    if (base !== null && format !== undefined && !hasBackingFiles(format)) {
      throw new BlockError(
        'invalid-argument',
        `sync '${sync}' needs a target format with backing files, not '${format}'`,
      );
    }
    const above = base === null ? {} : { 'backing-file': await backingNameFor(name, base), 'backing-fmt': base.driver };
    onStage?.('create');
    ({ newFile } = await createImage(graph, name, create({ size: source.length, ...above })));
  }
  onStage?.('open');
  const how = { format, cache, discard: 'unmap', backing: sync !== 'none', apartFrom: [source] } as const;
  const node = await orRemove(graph, newFile, () => open(image, how));
  return { node, newFile };
}

function nameOf(image: ImageSource): string {
  if (typeof image === 'string') return image;
  throw new BlockError('invalid-argument', 'an image is made by its file name, not by options');
}
