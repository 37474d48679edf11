// Answers of one mounted file: small ones are written one after the other into a page, those of reads lie in front of their data.
//
//   header: length, error, the kernel's name for the request

import type { FuseChannel } from '../../host/fuse.js';
import type { Memory } from '../../host/host.js';
import { viewOf } from '../../util/bytes.js';
import { OUT_HEADER_BYTES } from '../../wire/fuse/constants.js';
import { ANSWER_START, DATA_START, type FuseRequests, type Window } from './requests.js';

const PAGE_BYTES = 4096;

export class Answers {
  readonly #channel: FuseChannel;
  readonly #memory: Memory;
  readonly #requests: FuseRequests;
  readonly #page: Uint8Array;
  readonly #view: DataView;
  #used = 0;
  /** Slots of reads whose answers are queued. */
  readonly #queued: number[] = [];
  /** Called with the window of each write that was answered. */
  readonly #left: (window: Window | null) => void;

  constructor(channel: FuseChannel, memory: Memory, requests: FuseRequests, left: (window: Window | null) => void) {
    this.#channel = channel;
    this.#memory = memory;
    this.#requests = requests;
    this.#left = left;
    this.#page = memory.allocate(PAGE_BYTES);
    this.#view = viewOf(this.#page);
  }

  /** An answer with `bytes` of a body, which are zeroes, from the result on in `view`. `error`: a positive errno, or 0. */
  begin(unique: { low: number; high: number }, error: number, bytes = 0): number {
    const length = OUT_HEADER_BYTES + bytes;
    if (this.#used + length > PAGE_BYTES) this.flush();
    const at = this.#used;
    this.#used += length;
    this.#page.fill(0, at, at + length);
    this.#header(this.#view, at, length, error, unique.low, unique.high);
    this.#channel.push(this.#page, at, at + length);
    return at + OUT_HEADER_BYTES;
  }

  /** Where the body of the last `begin` is written. */
  get view(): DataView {
    return this.#view;
  }

  /** A read whose bytes are in the slot's buffer. */
  read(slot: number): void {
    const { uniqueLow, uniqueHigh, length, buffer } = this.#requests;
    const bytes = buffer[slot] as Uint8Array;
    const view = new DataView(bytes.buffer, bytes.byteOffset + ANSWER_START, OUT_HEADER_BYTES);
    this.#header(view, 0, OUT_HEADER_BYTES + length[slot], 0, uniqueLow[slot], uniqueHigh[slot]);
    this.#channel.push(bytes, ANSWER_START, DATA_START + length[slot]);
    this.#queued.push(slot);
  }

  /** A write that is done. */
  written(slot: number): void {
    const at = this.begin(this.#uniqueOf(slot), 0, 8);
    this.#view.setUint32(at, this.#requests.length[slot], true);
    this.#left(this.#requests.release(slot));
  }

  /** A read or a write that failed. */
  failed(slot: number, error: number): void {
    this.begin(this.#uniqueOf(slot), error);
    this.#left(this.#requests.release(slot));
  }

  /** Sends what is queued. */
  flush(): void {
    if (this.#used === 0 && this.#queued.length === 0) return;
    this.#channel.flush();
    this.#used = 0;
    for (const slot of this.#queued) this.#requests.release(slot);
    this.#queued.length = 0;
  }

  /** Bytes of reads wait to be sent. */
  get queued(): number {
    return this.#queued.length;
  }

  close(): void {
    for (const slot of this.#queued) this.#requests.release(slot);
    this.#queued.length = 0;
    this.#memory.free(this.#page);
  }

  #uniqueOf(slot: number): { low: number; high: number } {
    return { low: this.#requests.uniqueLow[slot], high: this.#requests.uniqueHigh[slot] };
  }

  #header(view: DataView, at: number, length: number, error: number, low: number, high: number): void {
    view.setUint32(at, length, true);
    view.setInt32(at + 4, -error, true);
    view.setUint32(at + 8, low, true);
    view.setUint32(at + 12, high, true);
  }
}
