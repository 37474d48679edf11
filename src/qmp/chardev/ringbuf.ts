// A ring buffer as a character device: what a user writes to it, and what `ringbuf-write` does, is kept, the newest bytes of it, for `ringbuf-read`.

import { Writable } from 'node:stream';
import type { ChardevBackend, ChardevUser } from './backend.js';

export class RingBackend implements ChardevBackend {
  readonly filename: string;
  readonly #limit: number;
  #bytes = Buffer.alloc(0);

  constructor(filename: string, bytes: number) {
    this.filename = filename;
    this.#limit = bytes;
  }

  async open(): Promise<void> {}

  attach(user: ChardevUser): void {
    const output = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.write(chunk);
        done();
      },
    });
    user.streams(null, output);
  }

  async close(): Promise<void> {
    this.#bytes = Buffer.alloc(0);
  }

  write(bytes: Uint8Array): void {
    const newest = bytes.subarray(Math.max(0, bytes.length - this.#limit));
    const kept = this.#bytes.subarray(Math.max(0, this.#bytes.length + newest.length - this.#limit));
    this.#bytes = Buffer.concat([kept, newest]);
  }

  /** Takes the oldest `count` bytes at most. */
  read(count: number): Buffer {
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(taken.length);
    return taken;
  }
}
