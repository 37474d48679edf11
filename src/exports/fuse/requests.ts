// The requests of one mounted file that are under way: one slot each, in parallel arrays, so that a read or a write makes no object.
//
//   a read    has a buffer of its own [ 4096 bytes: the answer's header is at their end | data ]
//   a write   lies in the window that it came in, which is used again when the last of its writes has ended

import type { MappingGuard } from '../../block/types.js';
import type { HostFile, Memory } from '../../host/host.js';
import { OUT_HEADER_BYTES } from '../../wire/fuse/constants.js';

/** Where the data of a read begins in its buffer. */
export const DATA_START = 4096;
/** Where its answer begins. */
export const ANSWER_START = DATA_START - OUT_HEADER_BYTES;
const PAGE = 4096;
const FIRST_SLOTS = 64;

/** A window with requests that were received. */
export interface Window {
  readonly block: Uint8Array;
  readonly view: DataView;
  readonly offsets: Int32Array;
  /** Requests that lie in it and have not ended. */
  uses: number;
}

export class FuseRequests {
  readonly #memory: Memory;
  /** The kernel's name for the request, as two 32-bit words. */
  uniqueLow = new Uint32Array(FIRST_SLOTS);
  uniqueHigh = new Uint32Array(FIRST_SLOTS);
  offset = new Float64Array(FIRST_SLOTS);
  length = new Float64Array(FIRST_SLOTS);
  /** Where the data begins in the buffer. */
  start = new Float64Array(FIRST_SLOTS);
  readonly buffer: (Uint8Array | null)[] = [];
  /** Of a write: where it lies. */
  readonly window: (Window | null)[] = [];
  /** Of a request that went straight to a file: the file, and what guards its place (`Located`). */
  readonly file: (HostFile | null)[] = [];
  readonly guard: (MappingGuard | null)[] = [];
  #free: number[] = [];

  constructor(memory: Memory) {
    this.#memory = memory;
    this.#add(0, FIRST_SLOTS);
  }

  take(unique: { low: number; high: number }, offset: number, length: number): number {
    if (this.#free.length === 0) this.#grow();
    const slot = this.#free.pop() as number;
    this.uniqueLow[slot] = unique.low;
    this.uniqueHigh[slot] = unique.high;
    this.offset[slot] = offset;
    this.length[slot] = length;
    return slot;
  }

  /** A buffer for a read of `bytes`. Throws `limit`. */
  allocate(slot: number, bytes: number): void {
    this.buffer[slot] = this.#memory.allocate(DATA_START + Math.ceil(bytes / PAGE) * PAGE);
    this.start[slot] = DATA_START;
  }

  /** The slot is free. Returns the window of a write. */
  release(slot: number): Window | null {
    const buffer = this.buffer[slot];
    const window = this.window[slot];
    if (window === null && buffer !== null) this.#memory.free(buffer);
    this.buffer[slot] = null;
    this.window[slot] = null;
    this.file[slot] = null;
    this.#free.push(slot);
    return window;
  }

  #grow(): void {
    const slots = this.offset.length;
    const grown = <T extends Float64Array | Uint32Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.uniqueLow = grown(this.uniqueLow, new Uint32Array(2 * slots));
    this.uniqueHigh = grown(this.uniqueHigh, new Uint32Array(2 * slots));
    this.offset = grown(this.offset, new Float64Array(2 * slots));
    this.length = grown(this.length, new Float64Array(2 * slots));
    this.start = grown(this.start, new Float64Array(2 * slots));
    this.#add(slots, 2 * slots);
  }

  #add(from: number, to: number): void {
    for (let slot = to - 1; slot >= from; slot--) {
      this.#free.push(slot);
    }
    for (let slot = from; slot < to; slot++) {
      this.buffer.push(null);
      this.window.push(null);
      this.file.push(null);
      this.guard.push(null);
    }
  }
}
