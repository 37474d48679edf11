// What becomes of an image whose dynamic header has a wrong checksum. QEMU does not look at it; here such an image is read, with a warning, and not written.

import type { BlockNode } from '../../../block/node/node.js';
import { BlockError } from '../../../util/errors.js';
import { printable } from '../../../util/foreign-text.js';
import type { Header } from './header.js';

export function warnOfChecksum({ graph, filename }: BlockNode, { isSound }: Header): void {
  if (isSound) return;
  graph.warn(`warning: The checksum of the dynamic header of '${printable(filename)}' is wrong`);
}

/** Throws `corrupt-image` where an image with this header is to be written. */
export function refuseWrongChecksum(filename: string, { isSound }: Header, readOnly: boolean): void {
  if (isSound || readOnly) return;
  throw BlockError.at(
    filename,
    'corrupt-image',
    'The checksum of the dynamic header is wrong: the image can only be read',
    { operation: 'open' },
  );
}
