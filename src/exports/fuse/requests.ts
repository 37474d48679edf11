// The requests of one mounted file that are not answered yet: one slot each, in parallel arrays, so that a read or a write makes no object.
//
//   a read    has a buffer of its own [ 4096 bytes: the answer's header is at their end | data ]
//   a write   lies in the window that it came in, which is used again when the last of its writes has ended

import type { MappingGuard } from '../../block/types.js';
import type { HostFile, Memory } from '../../host/host.js';
import { In, OUT_HEADER_BYTES } from '../../wire/fuse/constants.js';
import type { Window, Windows } from './windows.js';

/** Where the data of a read begins in its buffer. */
export const DATA_START = 4096;
/** Where its answer begins. */
export const ANSWER_START = DATA_START - OUT_HEADER_BYTES;
const PAGE = 4096;
const FIRST_SLOTS = 64;

export class FuseRequests {
  readonly #memory: Memory;
  readonly #windows: Windows;
  /** The kernel's name for the request, as two 32-bit words. */
  uniqueLow = new Uint32Array(FIRST_SLOTS);
  uniqueHigh = new Uint32Array(FIRST_SLOTS);
  /** Of a read or a write; else, 0. */
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
  /** Slots that are not free. */
  used = 0;
  /** Data of all reads and writes. */
  bytes = 0;
  readonly #free: number[] = [];

  constructor(memory: Memory, windows: Windows) {
    this.#memory = memory;
    this.#windows = windows;
    this.#add(0, FIRST_SLOTS);
  }

  /** A slot for the request at `at`. */
  take(view: DataView, at: number): number {
    if (this.#free.length === 0) this.#grow();
    const slot = this.#free.pop() as number;
    this.used++;
    this.uniqueLow[slot] = view.getUint32(at + In.unique, true);
    this.uniqueHigh[slot] = view.getUint32(at + In.unique + 4, true);
    return slot;
  }

  /** It is a read, with a buffer of its own. Throws `limit`. */
  beRead(slot: number, offset: number, length: number): void {
    // Whole pages: the buffer of one request is used again for others of a similar length.
    this.buffer[slot] = this.#memory.allocate(DATA_START + Math.ceil(length / PAGE) * PAGE);
    this.#place(slot, offset, length, DATA_START);
  }

  /** It is a write, whose data begins at `start` of its window. */
  beWrite(slot: number, offset: number, length: number, window: Window, start: number): void {
    this.buffer[slot] = window.block;
    this.window[slot] = window;
    window.uses++;
    this.#place(slot, offset, length, start);
  }

  #place(slot: number, offset: number, length: number, start: number): void {
    this.offset[slot] = offset;
    this.length[slot] = length;
    this.start[slot] = start;
    this.bytes += length;
  }

  /** The slot is free. */
  release(slot: number): void {
    const buffer = this.buffer[slot];
    const window = this.window[slot];
    if (window !== null) this.#windows.leave(window);
    else if (buffer !== null) this.#memory.free(buffer);
    this.bytes -= this.length[slot];
    this.offset[slot] = 0;
    this.length[slot] = 0;
    this.buffer[slot] = null;
    this.window[slot] = null;
    this.file[slot] = null;
    this.used--;
    this.#free.push(slot);
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
    for (let slot = to - 1; slot >= from; slot--) this.#free.push(slot);
    for (let slot = from; slot < to; slot++) {
      this.buffer.push(null);
      this.window.push(null);
      this.file.push(null);
      this.guard.push(null);
    }
  }
}
