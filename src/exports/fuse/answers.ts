// Answers of one mounted file: small ones are written one after the other into a page, those of reads lie in front of their data.
//
//   header: length, error, the kernel's name for the request

import type { FuseChannel } from '../../host/fuse.js';
import type { Memory } from '../../host/host.js';
import { putLe32, viewOf } from '../../util/bytes.js';
import { OUT_HEADER_BYTES, WRITE_OUT_BYTES } from '../../wire/fuse/constants.js';
import { ANSWER_START, DATA_START, type FuseRequests } from './requests.js';

const PAGE_BYTES = 4096;

export class Answers {
  /** Where the body of the last `done` is written. */
  readonly view: DataView;
  readonly #channel: FuseChannel;
  readonly #memory: Memory;
  readonly #requests: FuseRequests;
  readonly #page: Uint8Array;
  #used = 0;
  /** Slots of reads whose answers are queued. */
  readonly #queued: number[] = [];

  /** Throws `limit`. */
  constructor(channel: FuseChannel, memory: Memory, requests: FuseRequests) {
    this.#channel = channel;
    this.#memory = memory;
    this.#requests = requests;
    this.#page = memory.allocate(PAGE_BYTES);
    this.view = viewOf(this.#page);
  }

  /** Done, with a body of `bytes` zeroes. The slot is free. Returns where the body lies in `view`, until the next answer. */
  done(slot: number, bytes = 0): number {
    return this.#short(slot, 0, bytes);
  }

  /** `error`: a positive errno. The slot is free. */
  failed(slot: number, error: number): void {
    this.#short(slot, error, 0);
  }

  /** A read whose bytes are in the slot's buffer. The slot is free when the answer is sent. */
  read(slot: number): void {
    const buffer = this.#requests.buffer[slot] as Uint8Array;
    const length = this.#requests.length[slot];
    this.#header(buffer, ANSWER_START, slot, OUT_HEADER_BYTES + length, 0);
    this.#channel.push(buffer, ANSWER_START, DATA_START + length);
    this.#queued.push(slot);
  }

  /** A write. The slot is free. */
  written(slot: number): void {
    const length = this.#requests.length[slot];
    this.view.setUint32(this.done(slot, WRITE_OUT_BYTES), length, true);
  }

  /** Sends what is queued. */
  flush(): void {
    if (this.#used === 0 && this.#queued.length === 0) return;
    this.#channel.flush();
    this.#used = 0;
    for (const slot of this.#queued) this.#requests.release(slot);
    this.#queued.length = 0;
  }

  /** After the last `flush`. */
  close(): void {
    this.#memory.free(this.#page);
  }

  #short(slot: number, error: number, bytes: number): number {
    const length = OUT_HEADER_BYTES + bytes;
    if (this.#used + length > PAGE_BYTES) this.flush();
    const at = this.#used;
    this.#used += length;
    this.#header(this.#page, at, slot, length, error);
    const body = at + OUT_HEADER_BYTES;
    if (bytes > 0) this.#page.fill(0, body, body + bytes);
    this.#channel.push(this.#page, at, at + length);
    this.#requests.release(slot);
    return body;
  }

  #header(buffer: Uint8Array, at: number, slot: number, length: number, error: number): void {
    putLe32(buffer, at, length);
    putLe32(buffer, at + 4, -error);
    putLe32(buffer, at + 8, this.#requests.uniqueLow[slot]);
    putLe32(buffer, at + 12, this.#requests.uniqueHigh[slot]);
  }
}
