// Where a request may go straight to the host file, from cached tables: reads of ordinary clusters or of what the backing node has, writes
// to clusters that are the image's own. A read of nothing but zeroes is answered from the tables alone.

import { withLowerGuard } from '../../../block/node/guards.js';
import type { Located, LocatedPacking } from '../../../block/types.js';
import type { Qcow2Image } from './image.js';
import { BELOW, Kind, MISS, ZEROES } from './l2-codec.js';
import type { GuestOffset, HostOffset } from './types.js';

/** Where the stored bytes of a compressed cluster lie. */
const storedAt: Located = { file: null, offset: 0, guard: null };

/** The host offset where all of the range may be written in place, or MISS. */
export function placeToWrite(image: Qcow2Image, offset: GuestOffset, length: number): HostOffset | typeof MISS {
  if (image.broken !== null) return MISS;
  const host = image.mapping.mapSync(offset, length, true) as HostOffset;
  return host >= 0 && image.besideContent.overlap(host, host + length) === null ? host : MISS;
}

/** `BlockNode.locate` for a read. A read from the backing node, or of zeroes, needs no guard of this image, since it reads none of its clusters. */
export function locateRead(image: Qcow2Image, offset: GuestOffset, length: number, into: Located): boolean {
  const host = image.mapping.mapSync(offset, length, false);
  if (host === ZEROES) return zeroes(into);
  if (host === BELOW) {
    const backing = image.backing();
    // Beyond the end of a shorter backing node, the image reads as zeroes.
    return backing === null || offset >= backing.length ? zeroes(into) : backing.locate(offset, length, false, into);
  }
  if (host === MISS) return into.packing !== undefined && locatePacked(image, offset, length, into, into.packing);
  if (!image.data.locate(host as HostOffset, length, false, into)) return false;
  into.guard = withLowerGuard(into.guard, image.reclamation.guardRead());
  return true;
}

/** Where a part of a compressed cluster lies. What is wrong with one is said by a read. */
function locatePacked(
  image: Qcow2Image,
  offset: GuestOffset,
  length: number,
  into: Located,
  packing: LocatedPacking,
): boolean {
  const { clusterSize, l2Span } = image.geometry;
  const lead = offset % clusterSize;
  const table = lead + length > clusterSize ? undefined : image.mapping.tableSync(image.mapping.indexOf(offset));
  if (!table) return false;
  const { kind, host, bytes } = image.mapping.codec.decode(table.view, Math.floor((offset % l2Span) / clusterSize));
  // The last sector may reach beyond the end of the file.
  const stored = Math.min(bytes, image.data.length - host);
  if (kind !== Kind.compressed || stored <= 0 || !image.data.locate(host, stored, false, storedAt)) return false;
  const { file, offset: at, guard } = storedAt;
  if (file === null) {
    guard?.release();
    return false;
  }
  into.file = file;
  into.offset = at;
  into.guard = withLowerGuard(guard, image.reclamation.guardRead());
  Object.assign(packing, { type: image.compression, stored, clusterBytes: clusterSize, lead });
  return true;
}

function zeroes(into: Located): true {
  into.file = null;
  into.offset = 0;
  into.guard = null;
  return true;
}

/** `BlockNode.locate` for a write. */
export function locateWrite(image: Qcow2Image, offset: GuestOffset, length: number, into: Located): boolean {
  const host = placeToWrite(image, offset, length);
  if (host === MISS || !image.data.locate(host, length, true, into)) return false;
  into.guard = withLowerGuard(into.guard, image.reclamation.guardWrite());
  return true;
}
