// Nodes that take compressed writes alone: whoever fills one compresses what it writes, or is refused before it begins.

import { BlockError } from '../util/errors.js';
import { skipFilters } from './chain.js';
import type { BlockNode } from './node/node.js';

/** Whether the image takes compressed writes, whatever filters lie over it. */
export function takesCompressed(image: BlockNode): boolean {
  return skipFilters(image).compression !== 'refused';
}

/** Refuses an image that takes no compressed writes: it may be one of a format whose other images do. Throws `invalid-argument`. */
export function refuseUncompressed(image: BlockNode): void {
  if (takesCompressed(image)) return;
  throw new BlockError('invalid-argument', 'Compression not supported for this file format', { path: image.filename });
}

/** Whether what is written to `target` is compressed: it is `asked` for, or nothing else can be written there. */
export function compresses(target: BlockNode, asked: boolean | undefined): boolean {
  return asked === true || target.compression === 'needed';
}

/** Refuses a node that takes compressed writes alone, for a user that writes others. Throws `unsupported`. */
export function refuseCompressedOnly({ compression, nodeName, filename }: BlockNode): void {
  if (compression !== 'needed') return;
  throw new BlockError('unsupported', `Block node '${nodeName}' takes compressed writes only`, { path: filename });
}
