// An image as a stream, both ways. What reads as zeroes is neither read nor written out.
//
//   createReadStream:   image --look at some MiB--> runs --zero: made up, data: read--> chunks
//   createWriteStream:  chunks --> whole blocks --zero: writeZeroes, data: write--> image
//                                  the rest of the chunk waits for the next one
//
// Other requests go on meanwhile. The read stream looks at few runs at a time, so that it does not return zeroes where data was written long before
// it came there. The write stream is closed only when its last request was answered, so that it does not overwrite what is written after that.

import { Readable, Writable } from 'node:stream';
import type { Device } from '../block/device.js';
import { BlockError } from '../util/errors.js';
import { extentsOf } from '../workspace/extents.js';

/** Zeroes are looked for in blocks of this size, at multiples of it in the image. */
const BLOCK_BYTES = 4096;
const ZEROES = Buffer.alloc(BLOCK_BYTES);
/** How far ahead a read stream looks for zeroes; one chunk where that is more. */
const LOOK_BYTES = 4 << 20;
/** Of a chunk that does not begin with a block, as much is copied behind what waits for it, so that both are one request. */
const JOINED_BYTES = 1 << 20;

/** The bytes of [from, to), in chunks of `chunkBytes` at most. */
export function readImage(device: Device, from: number, to: number, chunkBytes: number): Readable {
  return Readable.from(chunks(device, from, to, chunkBytes), { objectMode: false, highWaterMark: chunkBytes });
}

async function* chunks(device: Device, from: number, to: number, chunkBytes: number): AsyncGenerator<Buffer> {
  const look = Math.ceil(LOOK_BYTES / chunkBytes) * chunkBytes;
  for (let at = from; at < to; ) {
    const until = Math.min(to, at + look);
    for await (const { offset, length, zero } of extentsOf(device, at, until)) {
      for (const end = offset + length; at < end; ) {
        const chunk = Buffer.alloc(Math.min(chunkBytes, end - at));
        if (zero) checkSize(device, at + chunk.length);
        else await device.read(at, chunk);
        yield chunk;
        at += chunk.length;
      }
    }
    checkSize(device, until);
  }
}

/** Throws `out-of-bounds` where the image has become shorter than `end`. */
function checkSize(device: Device, end: number): void {
  const { length, filename } = device;
  if (end <= length) return;
  throw BlockError.at(filename, 'out-of-bounds', `the image became shorter, ${length} bytes, while it was read`, {
    operation: 'read',
  });
}

/** Writes what comes from `from` on, and flushes at the end. */
export function writeImage(device: Device, from: number, highWaterMark: number): Writable {
  const writer = new SparseWriter(device, from);
  return new Writable({
    highWaterMark,
    write(chunk: Buffer, _encoding, done) {
      writer.write(chunk).then(() => done(), done);
    },
    final(done) {
      writer.finish().then(() => done(), done);
    },
    destroy(error, done) {
      writer.stop().then(() => done(error), done);
    },
  });
}

/** Writes chunk after chunk, whole blocks of zeroes as such: one call at a time. */
class SparseWriter {
  readonly #device: Device;
  /** Where the next request goes. */
  #at: number;
  /** The bytes from there on that do not fill their block yet. */
  #tail: Buffer = Buffer.alloc(0);
  #last: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(device: Device, from: number) {
    this.#device = device;
    this.#at = from;
  }

  write(chunk: Buffer): Promise<void> {
    this.#last = this.#write(chunk);
    return this.#last;
  }

  /** Writes what waits for the rest of its block, and flushes. */
  finish(): Promise<void> {
    this.#last = this.#finish();
    return this.#last;
  }

  /** Resolves when the request under way is answered; none comes after it. The error of that request goes to whoever asked for it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.allSettled([this.#last]);
  }

  async #write(chunk: Buffer): Promise<void> {
    let rest = chunk;
    if (this.#tail.length > 0) {
      const inBlock = (this.#at + this.#tail.length) % BLOCK_BYTES;
      // It ends with a block where it is not the whole chunk.
      const head = chunk.subarray(0, JOINED_BYTES - inBlock);
      await this.#writeBlocks(Buffer.concat([this.#tail, head]));
      rest = chunk.subarray(head.length);
    }
    if (rest.length > 0) await this.#writeBlocks(rest);
  }

  async #finish(): Promise<void> {
    await this.#writeRuns(this.#tail);
    this.#checkGoesOn();
    await this.#device.flush();
  }

  /** Writes the blocks that end in `bytes`, and keeps a copy of the rest. The image's end is the end of a block. */
  async #writeBlocks(bytes: Buffer): Promise<void> {
    const end = this.#at + bytes.length;
    const rest = end < this.#device.length ? Math.min(end % BLOCK_BYTES, bytes.length) : 0;
    const whole = bytes.length - rest;
    await this.#writeRuns(bytes.subarray(0, whole));
    this.#tail = Buffer.from(bytes.subarray(whole));
  }

  async #writeRuns(bytes: Buffer): Promise<void> {
    const offset = this.#at;
    for (let from = 0; from < bytes.length; ) {
      const zero = isZero(bytes, from, blockEnd(offset, bytes, from));
      let to = blockEnd(offset, bytes, from);
      while (to < bytes.length && isZero(bytes, to, blockEnd(offset, bytes, to)) === zero) {
        to = blockEnd(offset, bytes, to);
      }
      this.#checkGoesOn();
      if (zero) await this.#device.writeZeroes(offset + from, to - from, { mayUnmap: true });
      else await this.#device.write(offset + from, bytes.subarray(from, to));
      from = to;
    }
    this.#at = offset + bytes.length;
  }

  #checkGoesOn(): void {
    if (this.#stopped) throw new BlockError('cancelled', 'the stream was destroyed before all was written');
  }
}

/** Where in `bytes`, which lie at `offset`, the block ends that `at` is in. */
function blockEnd(offset: number, bytes: Buffer, at: number): number {
  return Math.min(bytes.length, at + BLOCK_BYTES - ((offset + at) % BLOCK_BYTES));
}

/** Of a part of a block. */
function isZero(bytes: Buffer, from: number, to: number): boolean {
  return ZEROES.compare(bytes, from, to, 0, to - from) === 0;
}

export function toWeb(stream: Readable): ReadableStream<Uint8Array<ArrayBuffer>> {
  return Readable.toWeb(stream) as ReadableStream<Uint8Array<ArrayBuffer>>;
}
