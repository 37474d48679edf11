// Node's streams as bytes in order, for `streamImage` and `streamIntoImage`. A stream that a call has begun with is its own: it is ended with it, or destroyed
// where the call fails, as `stream.pipeline` does.

import { Readable, type Writable } from 'node:stream';
import type { ByteSink, ByteSource } from '../host/byte-stream.js';
import { wrongType } from '../schema/shape.js';
import { Chunks } from '../util/chunks.js';
import { BlockError, codeOfErrno } from '../util/errors.js';

const ZEROES_BYTES = 1 << 20;
const NAME = 'the stream';

/** A stream is the program's: what it fails with is no mistake of ours, whatever it is. */
function streamError(error: unknown, operation: 'read' | 'write'): BlockError {
  if (error instanceof BlockError) return error;
  const { code, message = String(error) } = (error ?? {}) as Partial<NodeJS.ErrnoException>;
  const errno = typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
  const what = errno === undefined ? 'io' : codeOfErrno(errno);
  return BlockError.at(NAME, what, message, { errno, operation, cause: error });
}

/** Ends what a call waits for. One at a time; nothing is kept of those that were answered (`Promise.race` with one promise for all would keep them). */
class Stop {
  #stopped = false;
  #reject: ((error: BlockError) => void) | null = null;

  wait<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      answer.then(resolve, reject);
      if (this.#stopped) this.now();
    });
  }

  now(): void {
    this.#stopped = true;
    this.fail(new BlockError('cancelled', 'stopped', { path: NAME }));
  }

  fail(error: BlockError): void {
    this.#reject?.(error);
  }
}

/** Writes to a stream. */
export class WritableSink implements ByteSink {
  readonly name = NAME;
  readonly skips = false;
  readonly #stream: Writable;
  readonly #stop = new Stop();
  #error: BlockError | null = null;

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on('error', this.#failed);
    stream.on('close', this.#closed);
  }

  readonly #failed = (error: Error): void => {
    this.#error ??= streamError(error, 'write');
  };

  /** A stream that is destroyed need not answer a write that it has begun. */
  readonly #closed = (): void => {
    if (this.#stream.writableFinished) return;
    this.#error ??= streamError(new Error('it was closed before all was written'), 'write');
    this.#stop.fail(this.#error);
  };

  write(bytes: Uint8Array): Promise<void> {
    // A stream may pass the chunk on, and be ready for the next one, long before somebody reads it.
    return this.#call((done) => this.#stream.write(Buffer.from(bytes), done));
  }

  async zeroes(length: number): Promise<void> {
    for (let left = length; left > 0; left -= ZEROES_BYTES) {
      await this.#call((done) => this.#stream.write(Buffer.alloc(Math.min(left, ZEROES_BYTES)), done));
    }
  }

  end(): Promise<void> {
    return this.#call((done) => this.#stream.end(done));
  }

  stop(): void {
    this.#stop.now();
  }

  /** Nothing more is written. With `failed`, the stream is destroyed. */
  leave(failed: boolean): void {
    if (failed) {
      // An error that comes of it is nobody's any more.
      this.#stream.destroy();
    } else this.#stream.off('error', this.#failed);
    this.#stream.off('close', this.#closed);
  }

  #call(begin: (done: (error?: Error | null) => void) => void): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    const called = new Promise<void>((resolve, reject) => {
      begin((error) => {
        if (error) reject(this.#error ?? streamError(error, 'write'));
        else resolve();
      });
    });
    return this.#stop.wait(called);
  }
}

/** Reads what is given out one after the other. */
export class IterableSource implements ByteSource {
  readonly name = NAME;
  readonly #from: AsyncIterable<Uint8Array>;
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #stop = new Stop();
  readonly #chunks = new Chunks(() => this.#next());

  constructor(from: AsyncIterable<Uint8Array>) {
    this.#from = from;
    this.#iterator = from[Symbol.asyncIterator]();
  }

  read(buffer: Uint8Array): Promise<number> {
    return this.#chunks.fill(buffer);
  }

  async #next(): Promise<Uint8Array | null> {
    const { done, value } = await this.#stop.wait(this.#given());
    if (done) return null;
    if (!(value instanceof Uint8Array)) throw wrongType('a chunk of the source', 'Uint8Array', value);
    return value;
  }

  async #given(): Promise<IteratorResult<Uint8Array>> {
    try {
      return await this.#iterator.next();
    } catch (error) {
      throw streamError(error, 'read');
    }
  }

  stop(): void {
    this.#stop.now();
  }

  /** The source is ended where it was not read to its end. Nobody waits for that: it may be waiting itself. */
  leave(): void {
    if (this.#from instanceof Readable) this.#from.destroy();
    else void this.#return().catch(() => undefined);
  }

  /** A program's `return` may throw, and need not give a promise. */
  async #return(): Promise<void> {
    await this.#iterator.return?.();
  }
}
