// What a copy has to do, in ascending order and made as it is needed: status runs of a backing chain become pieces, pieces
// become chunks. Memory is bounded however large the image is.
//
//   chainStatus runs   |--data--|-zero-|data|------hole------|data|
//   pieces (aligned)   |---data----|zero|-data-|----zero----|-data-|
//   chunks             |data + data + data: one buffer|  zero  zero
//
// A piece begins and ends at a multiple of `align` (the target's cluster, or the step of the zero test), but for the end of
// the image: a unit that holds any data is data, so that the target writes whole clusters.

import { type ChainStatus, chainStatus } from '../block/chain.js';
import type { BlockNode } from '../block/node.js';
import type { Extent } from '../block/types.js';

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

/** Only what the layers of the plan determine themselves (`sync: top`, commit). */
export const ownContent: Classify = (status) => (status.allocated ? wholeContent(status) : 'skip');

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
}

/** Status runs that are merged into one at most, so that one call of `next` stays short. */
const MAX_MERGED_RUNS = 256;

/** The pieces of [start, end) of a chain. */
export class Plan {
  readonly #options: PlanOptions;
  readonly #end: number;
  #at: number;
  /** The run that covers `#at`, as far as it is known; its end is at or before `#at` where there is none. */
  #run: { end: number; kind: PieceKind } = { end: -1, kind: 'skip' };
  /** A run that was looked at, but lies behind `#run`. */
  #ahead: { start: number; end: number; kind: PieceKind } | null = null;

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
   * metadata rejects with; may be asked again then.
   */
  async next(maxDataBytes?: number): Promise<Piece | null> {
    try {
      return await this.#next(maxDataBytes);
    } catch (error) {
      // The run may lie behind where the next attempt begins.
      this.#run = { end: -1, kind: 'skip' };
      this.#ahead = null;
      throw error;
    }
  }

  async #next(maxDataBytes?: number): Promise<Piece | null> {
    const { align, maxPieceBytes } = this.#options;
    const start = this.#at;
    if (start >= this.#end) return null;
    let kind = await this.#extendRun(start, start + maxPieceBytes);
    const most = kind === 'data' && maxDataBytes !== undefined ? maxDataBytes : maxPieceBytes;
    let end = Math.min(this.#run.end, start + most);
    if (end < this.#end) end -= end % align;
    if (end <= start) {
      // A unit of more than one run: alike only where all of them are.
      end = Math.min(start + align, this.#end);
      for (let at = this.#run.end; at < end; at = this.#run.end) {
        if ((await this.#extendRun(at, end)) !== kind) kind = 'data';
      }
    }
    this.#at = end;
    return { offset: start, length: end - start, kind };
  }

  /** Makes `#run` cover `at`, merged with what follows of the same kind up to `wanted`. */
  async #extendRun(at: number, wanted: number): Promise<PieceKind> {
    const stop = Math.min(wanted, this.#end);
    if (this.#run.end <= at) this.#run = await this.#status(at);
    for (let merged = 0; this.#run.end < stop && merged < MAX_MERGED_RUNS; merged++) {
      const next = await this.#status(this.#run.end);
      if (next.kind !== this.#run.kind) {
        this.#ahead = next;
        break;
      }
      this.#run = next;
    }
    return this.#run.kind;
  }

  async #status(at: number): Promise<{ start: number; end: number; kind: PieceKind }> {
    const ahead = this.#ahead;
    if (ahead !== null && ahead.start <= at && at < ahead.end) return ahead;
    const { source, base, classify } = this.#options;
    const status = await chainStatus(source, base, at, this.#end - at);
    return { start: at, end: at + status.length, kind: classify(status) };
  }
}

/** Where chunks come from: a plan, or a dirty bitmap over one. */
export interface ChunkSource {
  /** The next chunk, null at the end. Called by one worker at a time. */
  next(): Promise<Chunk | null>;
}

/** Gathers pieces: scattered data becomes chunks of up to `chunkBytes`, everything else passes as it is. */
export class Chunker implements ChunkSource {
  readonly #pieces: { next(): Promise<Piece | null> };
  readonly #chunkBytes: number;
  readonly #maxExtents: number;
  /** Rest of a data piece that did not fit. */
  #rest: Piece | null = null;
  #gathering: Chunk | null = null;

  /** `chunkBytes` is a multiple of the plan's `align`. */
  constructor(pieces: { next(): Promise<Piece | null> }, chunkBytes: number, maxExtents: number) {
    this.#pieces = pieces;
    this.#chunkBytes = chunkBytes;
    this.#maxExtents = maxExtents;
  }

  async next(): Promise<Chunk | null> {
    for (;;) {
      const piece = this.#rest ?? (await this.#pieces.next());
      this.#rest = null;
      if (piece === null) return this.#take();
      if (piece.kind !== 'data') return { kind: piece.kind, extents: [piece], bytes: piece.length };
      if (this.#add(piece)) return this.#take();
    }
  }

  /** True when the chunk is full. */
  #add(piece: Piece): boolean {
    this.#gathering ??= { kind: 'data', extents: [], bytes: 0 };
    const chunk = this.#gathering;
    const length = Math.min(piece.length, this.#chunkBytes - chunk.bytes);
    const last = chunk.extents.at(-1);
    if (last !== undefined && last.offset + last.length === piece.offset) last.length += length;
    else chunk.extents.push({ offset: piece.offset, length });
    chunk.bytes += length;
    if (length < piece.length) {
      this.#rest = { kind: 'data', offset: piece.offset + length, length: piece.length - length };
    }
    return chunk.bytes === this.#chunkBytes || chunk.extents.length >= this.#maxExtents;
  }

  #take(): Chunk | null {
    const chunk = this.#gathering;
    this.#gathering = null;
    return chunk;
  }
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
