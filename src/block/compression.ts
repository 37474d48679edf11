// Which images take compressed writes, and which take no others: whoever fills one compresses what it writes, or is refused before it begins.

import type { BlockdevCreateOptions } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { skipFilters } from './chain.js';
import type { ImageCreateOptions } from './create.js';
import type { BlockNode } from './node/node.js';
import type { DriverDefinition } from './registry.js';

/** Refuses a driver whose images have no compressed clusters, or have none with these options. Throws `invalid-argument`. */
export function checkCompresses(driver: DriverDefinition, options?: ImageCreateOptions): void {
  const isWithout =
    options !== undefined && driver.compressesWith?.({ ...options, file: '' } as BlockdevCreateOptions) === false;
  if (!driver.compresses || isWithout) throw notCompressed();
}

function notCompressed(path?: string): BlockError {
  return new BlockError('invalid-argument', 'Compression not supported for this file format', { path });
}

/** Whether the image takes compressed writes, whatever filters lie over it. */
export function takesCompressed(image: BlockNode): boolean {
  return skipFilters(image).compression !== 'refused';
}

/** Refuses an image that takes no compressed writes: it may be one of a format whose other images do. Throws `invalid-argument`. */
export function refuseUncompressed(image: BlockNode): void {
  if (takesCompressed(image)) return;
  throw notCompressed(image.filename);
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
