// An image as a stream, both ways. What reads as zeroes is neither read nor written out.

import { Readable, Writable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import type { Device } from '../block/device.js';
import { extentsOf } from '../workspace/extents.js';

/** Zeroes are looked for in blocks of this size, at multiples of it in the image. */
const BLOCK_BYTES = 4096;
const ZEROES = Buffer.alloc(BLOCK_BYTES);

/** The bytes of [from, to), in chunks of `chunkBytes` at most. */
export function readImage(device: Device, from: number, to: number, chunkBytes: number): Readable {
  return Readable.from(chunks(device, from, to, chunkBytes), { objectMode: false, highWaterMark: chunkBytes });
}

async function* chunks(device: Device, from: number, to: number, chunkBytes: number): AsyncGenerator<Buffer> {
  for await (const { offset, length, zero } of extentsOf(device, from, to)) {
    const end = offset + length;
    for (let at = offset; at < end; at += chunkBytes) {
      const chunk = Buffer.alloc(Math.min(chunkBytes, end - at));
      if (!zero) await device.read(at, chunk);
      yield chunk;
    }
  }
}

/** Writes what comes from `from` on, and flushes at the end. */
export function writeImage(device: Device, from: number, highWaterMark: number): Writable {
  let at = from;
  return new Writable({
    highWaterMark,
    write(chunk: Buffer, _encoding, done) {
      const offset = at;
      at += chunk.length;
      writeSparse(device, offset, chunk).then(() => done(), done);
    },
    final(done) {
      device.flush().then(() => done(), done);
    },
  });
}

/** Writes `chunk`; whole blocks of zeroes as such. */
async function writeSparse(device: Device, offset: number, chunk: Buffer): Promise<void> {
  for (let at = 0; at < chunk.length; ) {
    const zero = isZeroBlock(offset + at, chunk, at);
    let end = blockEnd(offset, chunk, at);
    while (end < chunk.length && isZeroBlock(offset + end, chunk, end) === zero) end = blockEnd(offset, chunk, end);
    if (zero) await device.writeZeroes(offset + at, end - at, { mayUnmap: true });
    else await device.write(offset + at, chunk.subarray(at, end));
    at = end;
  }
}

/** Where in `chunk`, which lies at `offset`, the block ends that `at` is in. */
function blockEnd(offset: number, chunk: Buffer, at: number): number {
  return Math.min(chunk.length, at + BLOCK_BYTES - ((offset + at) % BLOCK_BYTES));
}

function isZeroBlock(offset: number, chunk: Buffer, at: number): boolean {
  return (
    offset % BLOCK_BYTES === 0 &&
    at + BLOCK_BYTES <= chunk.length &&
    chunk.subarray(at, at + BLOCK_BYTES).equals(ZEROES)
  );
}

export function toWeb(stream: Readable): ReadableStream<Uint8Array> {
  return Readable.toWeb(stream) as ReadableStream<Uint8Array>;
}
