// Where the content of a node lies, as pieces of host files: what the host's steps (`Host.move`, `Host.compare`) read without asking a node.

import type { HostFile, Packing } from '../host/host.js';
import { roundUp } from '../util/numbers.js';
import type { Child } from './child.js';
import type { Extent, Located, LocatedPacking, MappingGuard } from './types.js';

/** Pieces of one step: what lies in more of them is moved, or compared, as well by requests. */
export const MAX_PIECES = 2048;

/** Half of what does not lie in one piece is looked for, and so on, down to so many bytes. */
const SMALLEST_PIECE = 512;

/** Bytes of one file, or of a compressed cluster in it, or zeroes (null). */
export interface LocatedPiece {
  file: HostFile | null;
  offset: number;
  length: number;
  packing: Packing | null;
}

const plain: Located = { file: null, offset: 0, guard: null };
const packing: LocatedPacking = { type: null, stored: 0, clusterBytes: 0, lead: 0 };
const packed: Located = { file: null, offset: 0, guard: null, packing };

/**
 * Adds to `pieces`, back to back, where the content of the extent lies; false where that cannot be said at once, a file is none for a step, or there are too
 * many pieces. The guards are to be released, in both cases. `unpacks`: whoever reads the pieces decompresses them.
 */
export function locatePieces(
  source: Child,
  { offset, length }: Extent,
  pieces: LocatedPiece[],
  guards: MappingGuard[],
  unpacks: boolean,
): boolean {
  const into = unpacks ? packed : plain;
  // What does not lie in one piece is looked for in halves; where a half was found, twice as much may be.
  let bytes = length;
  for (let at = offset; at < offset + length; ) {
    bytes = Math.min(bytes, offset + length - at);
    packing.type = null;
    if (!source.locate(at, bytes, false, into)) {
      if (bytes <= SMALLEST_PIECE) return false;
      bytes = roundUp(bytes / 2, SMALLEST_PIECE);
      continue;
    }
    const { file, offset: from, guard } = into;
    if (guard !== null) guards.push(guard);
    if (file?.movable === false || pieces.length >= MAX_PIECES) return false;
    const { type, stored, clusterBytes, lead } = packing;
    const how = type === null ? null : { type, stored, clusterBytes, lead };
    addPiece(pieces, { file, offset: from, length: bytes, packing: how });
    at += bytes;
    // Behind a compressed cluster there is likely to be another one.
    bytes = how === null ? bytes * 2 : clusterBytes - lead - bytes || clusterBytes;
  }
  return true;
}

/** Adds a piece; it makes the last one longer where it lies behind it. */
export function addPiece(pieces: LocatedPiece[], piece: LocatedPiece): void {
  const last = pieces.at(-1);
  if (last !== undefined && follows(last, piece)) last.length += piece.length;
  else pieces.push(piece);
}

function follows(last: LocatedPiece, { file, offset, packing }: LocatedPiece): boolean {
  if (last.file !== file) return false;
  if (packing === null || last.packing === null) {
    return packing === last.packing && (file === null || last.offset + last.length === offset);
  }
  return last.offset === offset && last.packing.lead + last.length === packing.lead;
}

export function releaseAll(guards: readonly MappingGuard[]): void {
  for (const guard of guards) guard.release();
}
