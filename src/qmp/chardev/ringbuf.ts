// A ring buffer as a character device: what a user writes to it, and what `ringbuf-write` does, is kept, the newest bytes of it, for `ringbuf-read`.
//
//   [ ..... oldest ------> newest ..... ]      a write beyond the end goes on at the start; where it is full, the oldest bytes make room
//           ^ from         ^ from + count
//
// The memory is taken as it is needed, up to the size of the ring: a large one of which little is used is cheap.

import { Writable } from 'node:stream';
import type { LogFile } from '../../host/character.js';
import type { ChardevBackend, ChardevUser } from './backend.js';

const FIRST_BYTES = 4096;

export class RingBackend implements ChardevBackend {
  readonly filename: string;
  readonly #limit: number;
  #ring = Buffer.alloc(0);
  /** Where the oldest byte is, and how many there are. */
  #from = 0;
  #count = 0;

  constructor(filename: string, bytes: number) {
    this.filename = filename;
    this.#limit = bytes;
  }

  async open(): Promise<void> {}

  attach(user: ChardevUser, log: LogFile | null): void {
    const output = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.write(chunk);
        done();
      },
    });
    user.streams(null, output, log);
  }

  async close(): Promise<void> {
    this.#become(0);
  }

  write(bytes: Uint8Array): void {
    const newest = bytes.subarray(Math.max(0, bytes.length - this.#limit));
    if (newest.length === 0) return;
    const wanted = Math.min(this.#limit, this.#count + newest.length);
    // Twice as much each time: what is there is copied a few times only.
    if (wanted > this.#ring.length) this.#become(Math.min(this.#limit, Math.max(FIRST_BYTES, 2 * wanted)));
    const over = Math.max(0, this.#count + newest.length - this.#ring.length);
    this.#skip(over);
    const at = (this.#from + this.#count) % this.#ring.length;
    const first = newest.subarray(0, this.#ring.length - at);
    this.#ring.set(first, at);
    this.#ring.set(newest.subarray(first.length), 0);
    this.#count += newest.length;
  }

  /** Takes the oldest `count` bytes at most. */
  read(count: number): Buffer {
    const taken = this.#oldest(Math.min(count, this.#count));
    this.#skip(taken.length);
    return taken;
  }

  /** A copy of the oldest `count` bytes. */
  #oldest(count: number): Buffer {
    const first = this.#ring.subarray(this.#from, this.#from + count);
    return Buffer.concat([first, this.#ring.subarray(0, count - first.length)]);
  }

  #skip(count: number): void {
    this.#count -= count;
    this.#from = this.#count === 0 ? 0 : (this.#from + count) % this.#ring.length;
  }

  /** Another size, in which what is there has room; 0: empties it. */
  #become(bytes: number): void {
    const kept = bytes === 0 ? Buffer.alloc(0) : this.#oldest(this.#count);
    this.#ring = Buffer.alloc(bytes);
    this.#ring.set(kept);
    this.#from = 0;
    this.#count = kept.length;
  }
}
