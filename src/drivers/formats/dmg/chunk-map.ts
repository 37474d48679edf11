// Which chunk holds a place of the disk. An image may list some hundred thousand chunks: they lie in arrays of numbers, in the order in which they begin on the disk.
//
// Tables need not list them in that order, nor keep them apart. What several chunks lay claim to is read from none of them, as nothing says which one is right.

import { type Chunk, chunksOf, mostChunksOf } from './chunks.js';

export interface FoundChunk extends Chunk {
  /** The same number for the same chunk. */
  index: number;
  /** Up to here no other chunk lays claim to the disk. */
  until: number;
}

export class ChunkMap {
  /** The kinds of all chunks; each once. */
  readonly kinds: ReadonlySet<number>;
  readonly #kinds: Uint32Array;
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  readonly #places: Float64Array;
  readonly #stored: Float64Array;
  /** Of each chunk: where the last of those before it ends. */
  readonly #claimed: Float64Array;
  readonly #length: number;

  /** Throws `invalid-image` as `chunksOf`. */
  constructor(resources: readonly Uint8Array[], dataOffset: number, path: string) {
    const room = resources.reduce((sum, resource) => sum + mostChunksOf(resource), 0);
    this.#kinds = new Uint32Array(room);
    this.#starts = new Float64Array(room);
    this.#ends = new Float64Array(room);
    this.#places = new Float64Array(room);
    this.#stored = new Float64Array(room);
    this.#claimed = new Float64Array(room);
    const kinds = new Set<number>();
    let count = 0;
    let isSorted = true;
    for (const resource of resources) {
      for (const chunk of chunksOf(resource, dataOffset, count, path)) {
        kinds.add(chunk.kind);
        if (chunk.end === chunk.start) continue;
        isSorted &&= count === 0 || this.#starts[count - 1] <= chunk.start;
        this.#put(count++, chunk);
      }
    }
    this.kinds = kinds;
    this.#length = count;
    if (!isSorted) this.#sort();
    for (let i = 1; i < count; i++) this.#claimed[i] = Math.max(this.#claimed[i - 1], this.#ends[i - 1]);
  }

  /** The chunk that holds the byte `offset` of the disk; null where there is none, or more than one (`isClaimedTwice`). */
  at(offset: number): FoundChunk | null {
    const index = this.#lastFrom(offset);
    if (index < 0 || offset >= this.#ends[index] || this.#claimed[index] > offset) return null;
    const end = this.#ends[index];
    const until = index + 1 < this.#length ? Math.min(end, this.#starts[index + 1]) : end;
    return { index, until, ...this.#get(index) };
  }

  /** Whether chunks that overlap begin before `offset` and reach beyond it. */
  isClaimedTwice(offset: number): boolean {
    const index = this.#lastFrom(offset);
    return index >= 0 && this.#claimed[index] > offset;
  }

  /** The last chunk that begins at `offset` or before; -1 where there is none. */
  #lastFrom(offset: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle] <= offset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #get(i: number): Chunk {
    return {
      kind: this.#kinds[i],
      start: this.#starts[i],
      end: this.#ends[i],
      place: this.#places[i],
      stored: this.#stored[i],
    };
  }

  #put(i: number, { kind, start, end, place, stored }: Chunk): void {
    this.#kinds[i] = kind;
    this.#starts[i] = start;
    this.#ends[i] = end;
    this.#places[i] = place;
    this.#stored[i] = stored;
  }

  #sort(): void {
    const starts = this.#starts.slice(0, this.#length);
    const order = Uint32Array.from(starts.keys()).sort((a, b) => starts[a] - starts[b]);
    const chunks = Array.from(order, (i) => this.#get(i));
    for (const [i, chunk] of chunks.entries()) this.#put(i, chunk);
  }
}
