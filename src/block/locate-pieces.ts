// Where the content of a node lies, as pieces of host files: what the host's steps (`Host.move`, `Host.compare`) read without asking a node.

import type { HostFile } from '../host/host.js';
import { roundUp } from '../util/numbers.js';
import type { Child } from './child.js';
import type { Extent, Located, MappingGuard } from './types.js';

/** Pieces of one step: what lies in more of them is moved, or compared, as well by requests. */
export const MAX_PIECES = 1024;

/** Half of what does not lie in one piece is looked for, and so on, down to so many bytes. */
const SMALLEST_PIECE = 512;

/** Bytes of one file, or zeroes (null). */
export interface LocatedPiece {
  file: HostFile | null;
  offset: number;
  length: number;
}

const into: Located = { file: null, offset: 0, guard: null };

/**
 * Adds to `pieces`, back to back, where the content of the extent lies; false where that cannot be said at once, a file is none for a step, or there are too
 * many pieces. The guards are to be released, in both cases.
 */
export function locatePieces(
  source: Child,
  { offset, length }: Extent,
  pieces: LocatedPiece[],
  guards: MappingGuard[],
): boolean {
  // What does not lie in one piece is looked for in halves; where a half was found, twice as much may be.
  let bytes = length;
  for (let at = offset; at < offset + length; ) {
    bytes = Math.min(bytes, offset + length - at);
    if (!source.locate(at, bytes, false, into)) {
      if (bytes <= SMALLEST_PIECE) return false;
      bytes = roundUp(bytes / 2, SMALLEST_PIECE);
      continue;
    }
    const { file, offset: from, guard } = into;
    if (guard !== null) guards.push(guard);
    if (file?.movable === false || pieces.length >= MAX_PIECES) return false;
    addPiece(pieces, { file, offset: from, length: bytes });
    at += bytes;
    bytes *= 2;
  }
  return true;
}

/** Adds a piece; it makes the last one longer where it lies behind it. */
export function addPiece(pieces: LocatedPiece[], piece: LocatedPiece): void {
  const { file, offset, length } = piece;
  const last = pieces.at(-1);
  if (last?.file === file && (file === null || last.offset + last.length === offset)) last.length += length;
  else pieces.push(piece);
}

export function releaseAll(guards: readonly MappingGuard[]): void {
  for (const guard of guards) guard.release();
}
