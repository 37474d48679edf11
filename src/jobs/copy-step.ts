// A chunk of a copy as one step of the host: data that lies in files as it is, on both sides, is read, tested and written by one worker, without passing
// JavaScript.
//
//   source chain --locate--> pieces of files ---.
//                                                >-- Host.move --> publish; steps of zeroes are left to the caller
//   target --prepareMove--> places in a file ---'
//
// What cannot go this way (compressed clusters, a filter that must see each request, NBD, O_DIRECT, dirty bitmaps on the target, ...) is read and written
// by the nodes' requests, with the same result.

import type { Child } from '../block/child.js';
import type { Extent, Located, MappingGuard, MovePart, MovePlace, WriteFlags } from '../block/types.js';
import { FROM_RUN, MAX_MOVE_BYTES, type Moved, type MovePiece } from '../host/host.js';
import { assert } from '../util/assert.js';
import { type BlockError, toBlockError } from '../util/errors.js';
import { roundUp } from '../util/numbers.js';
import type { Chunk } from './copy-plan.js';

/** Pieces of one step: a chunk in more of them is moved as well by requests. */
const MAX_PIECES = 1024;

/** Half of what does not lie in one piece is looked for, and so on, down to so many bytes. */
const SMALLEST_PIECE = 512;

/** What the step needs to know of a transfer. */
export interface StepOptions {
  source: Child;
  target: Child;
  /** See `TransferOptions`. */
  zeroStep: number;
  flags?: WriteFlags;
}

export type StepResult =
  /** It cannot go this way; nothing was begun. */
  | null
  | { error: BlockError; isRead: boolean }
  /** Written, but for the steps of the map that are 1. */
  | { error: null; map: Uint8Array };

/** Bytes of one file, or zeroes, as the source has them. */
interface Source {
  file: MovePiece['file'];
  offset: number;
  length: number;
}

/** Moves a chunk of data. `begun` is called when nothing is to be waited for any more but the files. Rejects for nothing that they answer. */
export async function moveChunk(options: StepOptions, chunk: Chunk, begun: () => void): Promise<StepResult> {
  const { source, target, zeroStep, flags } = options;
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
    return { error: toBlockError(error, { path: target.filename, operation: 'write' }), isRead: false };
  }
  if (place === null) return null;
  const guards: MappingGuard[] = [];
  let moved: Moved | null = null;
  try {
    // Once more: the source may have changed while the target got ready.
    const sources = locateAll(source, extents, guards);
    const pieces = sources === null ? null : join(sources, place.parts);
    if (pieces === null) return null;
    const { file, run, slice } = place;
    const moving = source.node.host.move({ pieces, bytes: chunk.bytes, target: file, run, granule: zeroStep, slice });
    begun();
    moved = await moving;
  } finally {
    releaseAll(guards);
    place.done(moved);
  }
  return moved.fault ?? { error: null, map: moved.map };
}

function releaseAll(guards: readonly MappingGuard[]): void {
  for (const guard of guards) guard.release();
}

/** Where the content of `extents` lies in files, back to back; null where that cannot be said at once. The guards are to be released, in both cases. */
function locateAll(source: Child, extents: readonly Extent[], guards: MappingGuard[]): Source[] | null {
  const sources: Source[] = [];
  const into: Located = { file: null, offset: 0, guard: null };
  for (const { offset, length } of extents) {
    // What does not lie in one piece is looked for in halves; where a half was found, twice as much may be.
    let bytes = length;
    for (let at = offset; at < offset + length; ) {
      bytes = Math.min(bytes, offset + length - at);
      if (!source.locate(at, bytes, false, into)) {
        if (bytes <= SMALLEST_PIECE) return null;
        bytes = roundUp(bytes / 2, SMALLEST_PIECE);
        continue;
      }
      const { file, offset: from, guard } = into;
      if (guard !== null) guards.push(guard);
      if (file?.movable === false || sources.length >= MAX_PIECES) return null;
      const last = sources.at(-1);
      if (last?.file === file && (file === null || last.offset + last.length === from)) last.length += bytes;
      else sources.push({ file, offset: from, length: bytes });
      at += bytes;
      bytes *= 2;
    }
  }
  return sources;
}

/** Cuts `sources` where the places end; null where those are too many pieces. */
function join(sources: readonly Source[], parts: readonly MovePart[]): MovePiece[] | null {
  const pieces: MovePiece[] = [];
  let partAt = 0;
  let within = 0;
  for (const { file, offset, length } of sources) {
    for (let done = 0; done < length; ) {
      const part = parts[partAt];
      const here = Math.min(length - done, part.length - within);
      assert(here > 0, 'the places of a step have room for all of it');
      pieces.push({
        file,
        offset: offset + done,
        length: here,
        to: part.to === FROM_RUN ? FROM_RUN : part.to + within,
      });
      done += here;
      within += here;
      if (within === part.length) {
        partAt++;
        within = 0;
      }
    }
  }
  return pieces.length > MAX_PIECES * 2 ? null : pieces;
}
