// A chunk of a copy as one step of the host: data that lies in files, in those of the source compressed or not, is read, tested and written by one worker,
// without passing JavaScript.
//
//   source chain --locate--> pieces of files ---.
//                                                >-- Host.move --> publish; steps of zeroes are left to the caller
//   target --prepareMove--> places in a file ---'
//                      \--> a receiver, which takes the pieces themselves: an NBD server (`MoveReceiver`)
//
// What cannot go this way (a filter that must see each request, NBD, O_DIRECT, compressed or with dirty bitmaps on the target, ...) is read and written
// by the nodes' requests, with the same result.

import type { Child } from '../block/child.js';
import { type LocatedPiece, locatePieces, MAX_PIECES, releaseAll } from '../block/locate-pieces.js';
import type { Extent, MappingGuard, MovePart, MovePlace, WriteFlags } from '../block/types.js';
import { FROM_RUN, MAX_MOVE_BYTES, type Moved, type MovePiece } from '../host/host.js';
import { assert } from '../util/assert.js';
import { type BlockError, toBlockError } from '../util/errors.js';
import { CHUNK_BYTES } from './copy-engine.js';
import type { Chunk } from './copy-plan.js';

/** What the step needs to know of a transfer. */
export interface StepOptions {
  source: Child;
  target: Child;
  /** Step of the zero test, bytes; 0 = none. The extents are multiples of it, but for the end of the image. */
  zeroStep: number;
  flags?: WriteFlags;
  /** The target may share blocks of files with the source, where the file system can. Only without a zero test. */
  share?: boolean;
  /** Requests of guests go first: see `MoveRequest.background`. */
  background?: boolean;
}

export type StepResult =
  /** It cannot go this way; nothing was begun. */
  | null
  /** `at`: bytes of the chunk before what failed. */
  | { error: BlockError; isRead: boolean; at: number }
  /** Written, but for the steps of the map that are 1. */
  | { error: null; map: Uint8Array };

/** Moves a chunk of data. `begun` is called when nothing is to be waited for any more but the files. Rejects for nothing that they answer. */
export async function moveChunk(options: StepOptions, chunk: Chunk, begun: () => void): Promise<StepResult> {
  const { source, target, zeroStep, flags, share, background } = options;
  const { extents } = chunk;
  if (chunk.bytes > MAX_MOVE_BYTES) return null;
  // Whether it can be found at all: the target need not get ready for what cannot.
  const early: MappingGuard[] = [];
  const found = locateAll(source, extents, early);
  releaseAll(early);
  if (found === null) return null;
  let place: MovePlace | null;
  try {
    place = await target.prepareMove(extents, zeroStep, flags);
  } catch (error) {
    return { error: toBlockError(error, { path: target.filename, operation: 'write' }), isRead: false, at: 0 };
  }
  if (place === null) return null;
  const guards: MappingGuard[] = [];
  let moved: Moved | null = null;
  let pieces: MovePiece[] | null;
  try {
    // Once more: the source may have changed while the target got ready.
    const sources = locateAll(source, extents, guards);
    const { target: to, run, slice } = place;
    pieces = sources === null ? null : join(sources, place.parts);
    if (pieces === null || ('receive' in to && !to.takes(pieces))) return null;
    const { bytes } = chunk;
    const moving =
      'receive' in to
        ? to.receive(pieces)
        : source.node.host.move({ pieces, bytes, target: to, run, granule: zeroStep, share, background, slice });
    begun();
    moved = await moving;
  } finally {
    releaseAll(guards);
    place.done(moved);
  }
  const { fault, map } = moved;
  if (fault === null) return { error: null, map };
  return { error: fault.error, isRead: fault.isRead, at: bytesOf(pieces.slice(0, fault.piece)) };
}

/** Where the content of `extents` lies in files, back to back; null where that cannot be said at once. The guards are to be released, in both cases. */
function locateAll(source: Child, extents: readonly Extent[], guards: MappingGuard[]): LocatedPiece[] | null {
  const pieces: LocatedPiece[] = [];
  return extents.every((extent) => locatePieces(source, extent, pieces, guards, true)) ? pieces : null;
}

function bytesOf(pieces: readonly MovePiece[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

/**
 * Cuts `sources` where the places end, and after each `CHUNK_BYTES`, so that the piece of a fault says where it is; null where those are too many
 * pieces.
 */
function join(sources: readonly LocatedPiece[], parts: readonly MovePart[]): MovePiece[] | null {
  const pieces: MovePiece[] = [];
  let at = 0;
  let partAt = 0;
  let within = 0;
  for (const { file, offset, length, packing } of sources) {
    for (let done = 0; done < length; ) {
      const part = parts[partAt];
      const here = Math.min(length - done, part.length - within, CHUNK_BYTES - (at % CHUNK_BYTES));
      assert(here > 0, 'the places of a step have room for all of it');
      pieces.push({
        file,
        offset: packing === null ? offset + done : offset,
        length: here,
        to: part.to === FROM_RUN ? FROM_RUN : part.to + within,
        packing: packing === null ? null : { ...packing, lead: packing.lead + done },
      });
      done += here;
      at += here;
      within += here;
      if (within === part.length) {
        partAt++;
        within = 0;
      }
    }
  }
  return pieces.length > MAX_PIECES * 2 ? null : pieces;
}
