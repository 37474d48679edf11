// The requests under way on all connections of a server: one slot each, in parallel arrays, so that a request makes no object.
//
//   buffer of a slot   [ 4096 bytes: the reply's header is at their end | data, aligned to a page ... ]

import type { MappingGuard } from '../../block/types.js';
import type { HostFile, Memory } from '../../host/host.js';
import type { RequestColumns } from '../../wire/nbd/headers.js';

/** Where the data of a slot's buffer begins. */
export const DATA_START = 4096;
const PAGE = 4096;
const FIRST_SLOTS = 64;

export class RequestTable implements RequestColumns {
  readonly memory: Memory;
  /** The client's name for the request, as two 32-bit words. */
  cookieHigh = new Uint32Array(FIRST_SLOTS);
  cookieLow = new Uint32Array(FIRST_SLOTS);
  offset = new Float64Array(FIRST_SLOTS);
  /** Bytes that the request is about. */
  length = new Float64Array(FIRST_SLOTS);
  /** Bytes of the budget that it has taken. */
  cost = new Float64Array(FIRST_SLOTS);
  command = new Uint16Array(FIRST_SLOTS);
  flags = new Uint16Array(FIRST_SLOTS);
  readonly buffer: (Uint8Array | null)[] = [];
  /** Of a request that went straight to a file: the file, and what guards its place (`Located`). */
  readonly file: (HostFile | null)[] = [];
  readonly guard: (MappingGuard | null)[] = [];
  #free: number[] = [];

  constructor(memory: Memory) {
    this.memory = memory;
    this.#add(0, FIRST_SLOTS);
  }

  /** A free slot. */
  take(): number {
    if (this.#free.length === 0) this.#grow();
    return this.#free.pop() as number;
  }

  /** Memory that a request for `bytes` of data takes. One without data still takes a slot and a reply. */
  costOf(bytes: number): number {
    return this.memory.footprint(DATA_START + Math.ceil(bytes / PAGE) * PAGE);
  }

  /** Allocates the slot's buffer for `bytes` of data, if any. Throws `limit` where the host has no memory left. */
  allocate(slot: number, bytes: number): Uint8Array {
    // Whole pages: the buffer of one request is used again for others of a similar length.
    const buffer = this.memory.allocate(DATA_START + Math.ceil(bytes / PAGE) * PAGE);
    this.buffer[slot] = buffer;
    return buffer;
  }

  release(slot: number): void {
    this.dropBuffer(slot);
    this.#free.push(slot);
  }

  dropBuffer(slot: number): void {
    const buffer = this.buffer[slot];
    if (buffer === null) return;
    this.memory.free(buffer);
    this.buffer[slot] = null;
  }

  #grow(): void {
    const slots = this.offset.length;
    const grown = <T extends Float64Array | Uint32Array | Uint16Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.cookieHigh = grown(this.cookieHigh, new Uint32Array(2 * slots));
    this.cookieLow = grown(this.cookieLow, new Uint32Array(2 * slots));
    this.offset = grown(this.offset, new Float64Array(2 * slots));
    this.length = grown(this.length, new Float64Array(2 * slots));
    this.cost = grown(this.cost, new Float64Array(2 * slots));
    this.command = grown(this.command, new Uint16Array(2 * slots));
    this.flags = grown(this.flags, new Uint16Array(2 * slots));
    this.#add(slots, 2 * slots);
  }

  #add(from: number, to: number): void {
    for (let slot = to - 1; slot >= from; slot--) this.#free.push(slot);
    for (let slot = from; slot < to; slot++) {
      this.buffer.push(null);
      this.file.push(null);
      this.guard.push(null);
    }
  }
}
