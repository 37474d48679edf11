// What a copy has to do, in ascending order and made as it is needed: status runs of a backing chain become pieces, pieces
// become chunks. Memory is bounded however large the image is.
//
//   chainStatus runs   |--data--|-zero-|data|------hole------|data|
//   pieces (aligned)   |---data----|zero|-data-|----zero----|-data-|
//   chunks             |data + data + data: one buffer|  zero  zero
//
// A piece begins and ends at a multiple of `align` (the target's cluster, or the step of the zero test), but for the end of
// the image: a unit that holds any data is data, so that the target writes whole clusters.

import { type ChainStatus, chainStatus, chainStatusSync } from '../block/chain.js';
import type { BlockNode } from '../block/node/node.js';
import type { Extent } from '../block/types.js';
import { firstUntold } from '../block/untold.js';
import { atGuestOffset, toBlockError } from '../util/errors.js';

/** `data` is read and written, `zero` is made zero without reading, `skip` is left as it is. */
export type PieceKind = 'data' | 'zero' | 'skip';

export interface Piece extends Extent {
  kind: PieceKind;
}

/** Work for one worker: extents of one kind, ascending and disjoint; of `data` at most one buffer full. */
export interface Chunk {
  kind: PieceKind;
  extents: Extent[];
  bytes: number;
}

/** Says what is done with a run. */
export type Classify = (status: ChainStatus) => PieceKind;

/** The whole content, wherever it lies. */
export const wholeContent: Classify = (status) => (status.zero ? 'zero' : 'data');

/**
 * Only what the layers of the plan determine themselves (`sync: top`, commit). What the last layer of all leaves open, with nothing below
 * it, is read: its status is known in no other way.
 */
export const ownContent: Classify = (status) => (isOwn(status) ? wholeContent(status) : 'skip');

/** The same for a target that reads as zeroes: those are left out. */
export function skipZeroes(classify: Classify): Classify {
  return (status) => {
    const kind = classify(status);
    return kind === 'zero' ? 'skip' : kind;
  };
}

/** A layer of the plan determines the run, or nobody does. */
export function isOwn({ allocated, zero, depth }: ChainStatus): boolean {
  return allocated || (!zero && depth >= 0);
}

export interface PlanOptions {
  /** Top of the chain that is asked. */
  source: BlockNode;
  /** The chain is asked down to (without) this node; null: all of it. */
  base: BlockNode | null;
  classify: Classify;
  /** Power of two, bytes; 1 where nothing needs alignment. */
  align: number;
  /** Largest `zero` or `skip` piece. */
  maxPieceBytes: number;
  /** What has a status that cannot be read is data: reading it says what is lost. Default: `next` rejects. */
  readsUntold?: boolean;
  /** Status runs that one call of `next` merges at most. Default: many. */
  mergedRuns?: number;
}

/** Default of `mergedRuns`, so that one call of `next` stays short. */
const MAX_MERGED_RUNS = 256;
/** Bytes that one chunk skips, about. */
const SKIPPED_BYTES = 1 << 30;
/** What is read at once where the status cannot be: to the next multiple. */
const UNTOLD_BYTES = 1024 * 1024;

interface Run {
  end: number;
  kind: PieceKind;
}

/** The pieces of [start, end) of a chain. */
export class Plan {
  readonly #options: PlanOptions;
  readonly #end: number;
  #at: number;
  /** What is known from `#at` on, without gaps, neighbours of different kinds; empty where nothing is. */
  #runs: Run[] = [];

  /** `start` is a multiple of `align`. */
  constructor(options: PlanOptions, start: number, end: number) {
    this.#options = options;
    this.#at = start;
    this.#end = end;
  }

  /** Where the next piece begins. */
  get position(): number {
    return this.#at;
  }

  /**
   * The next piece, null at the end; one of data has `maxDataBytes` (a multiple of `align`) at most. Rejects with what reading the
   * metadata rejects with, and where that is for a guest; may be asked again then.
   */
  async next(maxDataBytes?: number): Promise<Piece | null> {
    for (;;) {
      const piece = this.nextSync(maxDataBytes);
      if (piece !== undefined) return piece;
      await this.#ask();
    }
  }

  async #ask(): Promise<void> {
    const { source, base, readsUntold, classify } = this.#options;
    const at = this.#known;
    let status: ChainStatus;
    try {
      status = await chainStatus(source, base, at, this.#end - at);
    } catch (thrown) {
      const error = toBlockError(thrown, { path: source.filename, operation: 'block status' });
      if (error.code === 'internal') throw error;
      if (!readsUntold) throw atGuestOffset(error, await firstUntold(source, base, at, this.#end - at));
      this.#append(Math.min(at - (at % UNTOLD_BYTES) + UNTOLD_BYTES, this.#end), 'data');
      return;
    }
    this.#append(at + status.length, classify(status));
  }

  /** The same from what is known at once; undefined where `next` must be asked. */
  nextSync(maxDataBytes?: number): Piece | null | undefined {
    const { align, maxPieceBytes, mergedRuns = MAX_MERGED_RUNS } = this.#options;
    const start = this.#at;
    if (start >= this.#end) return null;
    if (this.#runs.length === 0 && !this.#look()) return undefined;
    const stop = Math.min(start + maxPieceBytes, this.#end);
    for (let looks = 0; this.#runs.length === 1 && this.#known < stop && looks < mergedRuns; looks++) {
      if (!this.#look()) return undefined;
    }
    let { kind } = this.#runs[0];
    const most = kind === 'data' && maxDataBytes !== undefined ? maxDataBytes : maxPieceBytes;
    let end = Math.min(this.#runs[0].end, start + most);
    if (end < this.#end) end -= end % align;
    if (end <= start) {
      // A unit of more than one run: alike only where all of them are.
      end = Math.min(start + align, this.#end);
      while (this.#known < end) if (!this.#look()) return undefined;
      if (this.#runs[0].end < end) kind = 'data';
    }
    this.#at = end;
    while (this.#runs.length > 0 && this.#runs[0].end <= end) this.#runs.shift();
    return { offset: start, length: end - start, kind };
  }

  get #known(): number {
    return this.#runs.length === 0 ? this.#at : this.#runs[this.#runs.length - 1].end;
  }

  /** Learns of the next run; false where that takes waiting, or fails: then `#ask` says why. */
  #look(): boolean {
    const { source, base, classify } = this.#options;
    const at = this.#known;
    let status: ChainStatus | null;
    try {
      status = chainStatusSync(source, base, at, this.#end - at);
    } catch (error) {
      if (toBlockError(error).code === 'internal') throw error;
      return false;
    }
    if (status === null) return false;
    this.#append(at + status.length, classify(status));
    return true;
  }

  #append(end: number, kind: PieceKind): void {
    const last = this.#runs.at(-1);
    if (last !== undefined && last.kind === kind) last.end = end;
    else this.#runs.push({ end, kind });
  }
}

/** Where chunks come from: a plan, or a dirty bitmap over one. */
export interface ChunkSource {
  /** The next chunk, of data of `bytes` at most; null at the end. Called by one worker at a time. */
  next(bytes: number): Promise<Chunk | null>;
}

/** What a `Chunker` gathers: a `Plan`. */
export type Pieces = Pick<Plan, 'next' | 'nextSync'>;

/**
 * Gathers pieces: scattered data becomes chunks, and so does what is skipped; zeroes pass as they are. A gap within data costs little: each chunk
 * costs its way through the engine (a fifth of a copy of scattered clusters).
 */
export class Chunker implements ChunkSource {
  readonly #pieces: Pieces;
  readonly #maxExtents: number;
  /** Rest of a data piece that did not fit. */
  #rest: Piece | null = null;
  #gathering: Chunk | null = null;
  #skipped: Chunk | null = null;

  constructor(pieces: Pieces, maxExtents: number) {
    this.#pieces = pieces;
    this.#maxExtents = maxExtents;
  }

  /** `bytes` is a multiple of the plan's `align`. What was gathered for a larger chunk is one. */
  async next(bytes: number): Promise<Chunk | null> {
    // What was skipped within the last chunk of data counts as progress with it.
    if (this.#skipped !== null && this.#gathering === null) return this.#takeSkipped();
    for (;;) {
      if (this.#gathering !== null && this.#gathering.bytes >= bytes) return this.#take();
      let piece: Piece | null | undefined = this.#rest ?? this.#pieces.nextSync();
      if (piece === undefined) piece = await this.#pieces.next();
      this.#rest = null;
      if (piece === null) return this.#take() ?? this.#takeSkipped();
      if (piece.kind === 'zero') return { kind: 'zero', extents: [piece], bytes: piece.length };
      if (piece.kind === 'skip') {
        if (this.#skip(piece)) return this.#takeSkipped();
        continue;
      }
      if (this.#add(piece, bytes)) return this.#take();
    }
  }

  /** True when the chunk is full. */
  #add(piece: Piece, bytes: number): boolean {
    this.#gathering ??= { kind: 'data', extents: [], bytes: 0 };
    const chunk = this.#gathering;
    const length = Math.min(piece.length, bytes - chunk.bytes);
    const last = chunk.extents.at(-1);
    if (last !== undefined && last.offset + last.length === piece.offset) last.length += length;
    else chunk.extents.push({ offset: piece.offset, length });
    chunk.bytes += length;
    if (length < piece.length) {
      this.#rest = { kind: 'data', offset: piece.offset + length, length: piece.length - length };
    }
    return chunk.bytes === bytes || chunk.extents.length >= this.#maxExtents;
  }

  #take(): Chunk | null {
    const chunk = this.#gathering;
    this.#gathering = null;
    return chunk;
  }

  /** True when it is enough for a chunk: progress is to be seen. */
  #skip({ offset, length }: Piece): boolean {
    this.#skipped ??= { kind: 'skip', extents: [], bytes: 0 };
    const chunk = this.#skipped;
    chunk.extents.push({ offset, length });
    chunk.bytes += length;
    return chunk.bytes >= SKIPPED_BYTES || chunk.extents.length >= this.#maxExtents;
  }

  #takeSkipped(): Chunk | null {
    const chunk = this.#skipped;
    this.#skipped = null;
    return chunk;
  }
}

/** The chunk in parts of `most` bytes at most. */
export function cut(chunk: Chunk, most: number): Chunk[] {
  if (chunk.bytes <= most) return [chunk];
  const parts: Chunk[] = [];
  let part: Chunk = { kind: chunk.kind, extents: [], bytes: 0 };
  for (const { offset, length } of chunk.extents) {
    for (let done = 0; done < length; ) {
      const here = Math.min(length - done, most - part.bytes);
      part.extents.push({ offset: offset + done, length: here });
      part.bytes += here;
      done += here;
      if (part.bytes < most) continue;
      parts.push(part);
      part = { kind: chunk.kind, extents: [], bytes: 0 };
    }
  }
  if (part.bytes > 0) parts.push(part);
  return parts;
}

/** Bytes of `extents` that lie before `offset`. */
export function positionIn(extents: readonly Extent[], offset: number): number {
  let before = 0;
  for (const extent of extents) {
    if (extent.offset + extent.length > offset) return before + Math.max(0, offset - extent.offset);
    before += extent.length;
  }
  return before;
}

/** The first byte of [offset, end) of which the chain does not know that it is zero, or -1. A fresh image answers at once. */
export async function firstNonZero(node: BlockNode, offset: number, end: number): Promise<number> {
  for (let at = offset; at < end; ) {
    const status = await chainStatus(node, null, at, end - at);
    if (!status.zero) return at;
    at += status.length;
  }
  return -1;
}
