// Where a request may go straight to the host file, from cached tables: reads of ordinary clusters or of what lies below, writes
// to clusters that are the image's own.

import { withLowerGuard } from '../../../block/node/guards.js';
import type { Located } from '../../../block/types.js';
import type { Qcow2Image } from './image.js';
import { BELOW, MISS } from './l2-codec.js';
import type { GuestOffset, HostOffset } from './types.js';

/** The host offset where all of the range may be written in place, or MISS. */
export function placeToWrite(image: Qcow2Image, offset: GuestOffset, length: number): HostOffset | typeof MISS {
  if (image.broken !== null) return MISS;
  const host = image.mapping.mapSync(offset, length, true) as HostOffset;
  return host >= 0 && image.metadata.overlap(host, host + length) === null ? host : MISS;
}

/** `BlockNode.locate` for a read. What comes from the backing node needs no guard of this image: none of its clusters is read. */
export function locateRead(image: Qcow2Image, offset: GuestOffset, length: number, into: Located): boolean {
  const host = image.mapping.mapSync(offset, length, false);
  if (host === BELOW) return image.backing()?.locate(offset, length, false, into) === true;
  if (host === MISS || !image.data.locate(host as HostOffset, length, false, into)) return false;
  into.guard = withLowerGuard(into.guard, image.reclamation.guardRead());
  return true;
}

/** `BlockNode.locate` for a write. */
export function locateWrite(image: Qcow2Image, offset: GuestOffset, length: number, into: Located): boolean {
  const host = placeToWrite(image, offset, length);
  if (host === MISS || !image.data.locate(host, length, true, into)) return false;
  into.guard = withLowerGuard(into.guard, image.reclamation.guardWrite());
  return true;
}
