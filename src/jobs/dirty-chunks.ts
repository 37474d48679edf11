// Chunks of what a bitmap says is still to be copied, while guests write: mirror's dirty bitmap, backup's copy bitmap.
//
//   dirty run -> status -> claim: [lock the range] [still dirty?] [clear the bits] -> copied -> unlock
//                                                                                \-> failed -> set the bits again, unlock
//
// The bits are cleared before the range is read: whatever changes it afterwards marks it again (mirror) or waits for the
// lock (backup). A status that was looked up before the claim may be out of date by then: after a call of `changed()` the piece is read as
// data.

import type { DirtyBitmap } from '../block/bitmap.js';
import type { BlockNode } from '../block/node/node.js';
import type { LockedRange, RangeLock } from '../util/range-lock.js';
import { MAX_EXTENTS, MAX_PIECE_BYTES } from './copy-engine.js';
import { type Chunk, type ChunkSource, type Classify, type Piece, Plan } from './copy-plan.js';

export interface DirtyChunksOptions {
  bitmap: DirtyBitmap;
  lock: RangeLock;
  source: BlockNode;
  /** Called at each look-up: the base may be found out after this object was made. */
  base(): BlockNode | null;
  /** Called with the offset of the run. */
  classify: Classify;
}

interface Claim extends Piece {
  held: LockedRange;
}

export class DirtyChunks implements ChunkSource {
  readonly #options: DirtyChunksOptions;
  readonly #held = new Map<Chunk, LockedRange[]>();
  #cursor = 0;
  #generation = 0;
  #plan: Plan | null = null;
  #planGeneration = -1;
  /** Looked at, but not claimed: of another kind than the chunk that was being gathered, or locked. */
  #peeked: Piece | null = null;

  constructor(options: DirtyChunksOptions) {
    this.#options = options;
  }

  get granularity(): number {
    return this.#options.bitmap.granularity;
  }

  /** The source's content changed: what is known of its status may be wrong. */
  changed(): void {
    this.#generation++;
  }

  /** Begins another sweep. */
  rewind(): void {
    this.#cursor = 0;
    this.#peeked = null;
  }

  /** `most` is a multiple of the granularity. */
  async next(most: number): Promise<Chunk | null> {
    const claims: Claim[] = [];
    let bytes = 0;
    try {
      while (bytes < most && claims.length < MAX_EXTENTS) {
        const claim = await this.#claim(most - bytes, claims.length === 0);
        if (claim === null) break;
        claims.push(claim);
        bytes += claim.length;
        if (claim.kind !== 'data') break;
      }
    } catch (error) {
      this.#restore(
        claims,
        claims.map((claim) => claim.held),
      );
      throw error;
    }
    if (claims.length === 0) return null;
    const chunk: Chunk = { kind: claims[0].kind, extents: joined(claims), bytes };
    this.#held.set(
      chunk,
      claims.map((claim) => claim.held),
    );
    return chunk;
  }

  /** The chunk is on the target. */
  finished(chunk: Chunk): void {
    this.#release(this.#held.get(chunk) ?? []);
    this.#held.delete(chunk);
  }

  /** The chunk is not on the target: it is dirty again. */
  abandoned(chunk: Chunk): void {
    this.#restore(chunk.extents, this.#held.get(chunk) ?? []);
    this.#held.delete(chunk);
  }

  /** The first one of a chunk may wait for its lock; others may not, since they would wait while holding one, and must be data. */
  async #claim(maxDataBytes: number, first: boolean): Promise<Claim | null> {
    const { bitmap, lock } = this.#options;
    for (;;) {
      const start = bitmap.nextDirty(this.#cursor);
      if (start < 0) return null;
      const generation = this.#generation;
      const piece = await this.#pieceAt(start, maxDataBytes);
      const clean = bitmap.nextZero(start, piece.offset + piece.length);
      const end = clean < 0 ? piece.offset + piece.length : clean;
      if (end <= start) continue;
      if (!first && (piece.kind !== 'data' || !lock.free(start, end))) {
        this.#peeked = piece;
        return null;
      }
      const held = await lock.acquire(start, end);
      // While this waited, somebody else may have copied (part of) it.
      const run = bitmap.nextDirtyRun(start, end - start, end);
      if (run === undefined) {
        lock.release(held);
        this.#cursor = end;
        continue;
      }
      let { kind } = piece;
      if (kind !== 'data' && generation !== this.#generation) {
        kind = 'data';
        run.length = Math.min(run.length, maxDataBytes);
      }
      try {
        bitmap.reset(run.offset, run.length);
      } catch (error) {
        lock.release(held);
        throw error;
      }
      this.#cursor = run.offset + run.length;
      return { ...run, kind, held };
    }
  }

  /** What is at `start`, by a status that was asked for after the last change. */
  async #pieceAt(start: number, maxDataBytes: number): Promise<Piece> {
    const { bitmap, source, base, classify } = this.#options;
    const peeked = this.#peeked;
    this.#peeked = null;
    if (this.#planGeneration === this.#generation && peeked !== null && peeked.offset === start) {
      const fits = peeked.kind !== 'data' || peeked.length <= maxDataBytes;
      return fits ? peeked : { ...peeked, length: maxDataBytes };
    }
    if (this.#plan === null || this.#plan.position !== start || this.#planGeneration !== this.#generation) {
      this.#planGeneration = this.#generation;
      this.#plan = new Plan(
        { source, base: base(), classify, align: bitmap.granularity, maxPieceBytes: MAX_PIECE_BYTES },
        start,
        bitmap.size,
      );
    }
    const piece = await this.#plan.next(maxDataBytes);
    return piece ?? { offset: start, length: bitmap.size - start, kind: 'data' };
  }

  #restore(extents: readonly { offset: number; length: number }[], held: readonly LockedRange[]): void {
    // Must not fail: what is not on the target is dirty.
    for (const { offset, length } of extents) this.#options.bitmap.recordAgain(offset, length);
    this.#release(held);
  }

  #release(held: readonly LockedRange[]): void {
    for (const range of held) this.#options.lock.release(range);
  }
}

function joined(pieces: readonly Piece[]): { offset: number; length: number }[] {
  const extents: { offset: number; length: number }[] = [];
  for (const { offset, length } of pieces) {
    const last = extents.at(-1);
    if (last !== undefined && last.offset + last.length === offset) last.length += length;
    else extents.push({ offset, length });
  }
  return extents;
}
