// Standard input and output as bytes in order.
//
//   pipe, socket    as a socket of node: no thread waits in a system call, so that an abort ends it
//   anything else   one system call after the other, at the file's own offset, which programs of the same shell share
//
// In an ordinary file, zeroes behind its end are passed over (a hole), unless it is open for appending.

import { constants, fstatSync, fsync, ftruncate, read, readFileSync, write } from 'node:fs';
import type { Socket } from 'node:net';
import { promisify } from 'node:util';
import { Chunks } from '../../util/chunks.js';
import { BlockError } from '../../util/errors.js';
import type { ByteSink, ByteSource } from '../byte-stream.js';
import { errnoError, nodeError } from '../errno.js';
import { loadNative } from './binding.js';

const INPUT = 0;
const OUTPUT = 1;
const ZEROES_BYTES = 1 << 20;
/** What has nothing to flush answers so. */
const NO_FLUSH: ReadonlySet<string | undefined> = new Set(['EINVAL', 'EROFS', 'ENOTSUP']);

/** Standard output. */
export function standardOutput(): ByteSink {
  return goesThroughSocket(OUTPUT) ? new SocketSink(OUTPUT) : new FileSink(OUTPUT);
}

/** Where reading or writing goes on in an open file; -1 where it has no place. */
export function positionOf(fd: number): number {
  return Math.max(-1, loadNative().moveOffset(fd, 0));
}

/** Standard input. */
export function standardInput(): ByteSource {
  return goesThroughSocket(INPUT) ? new SocketSource(INPUT) : new FileSource(INPUT);
}

function goesThroughSocket(fd: number): boolean {
  const stats = fstatSync(fd);
  return stats.isFIFO() || stats.isSocket();
}

function socketOf(fd: number, reads: boolean): Socket {
  const { Socket } = process.getBuiltinModule('node:net');
  return new Socket({ fd, readable: reads, writable: !reads });
}

abstract class Sink implements ByteSink {
  readonly name = 'standard output';
  readonly skips: boolean = false;
  #zeroes: Uint8Array | null = null;

  abstract write(bytes: Uint8Array): Promise<void>;
  abstract stop(): void;
  async end(): Promise<void> {}

  async zeroes(length: number): Promise<void> {
    this.#zeroes ??= new Uint8Array(ZEROES_BYTES);
    for (let left = length; left > 0; left -= ZEROES_BYTES) {
      await this.write(this.#zeroes.subarray(0, Math.min(left, ZEROES_BYTES)));
    }
  }

  protected failure(error: unknown): BlockError {
    return nodeError(error, { path: this.name, operation: 'write' });
  }
}

class SocketSink extends Sink {
  readonly #socket: Socket;
  #error: BlockError | null = null;
  #stopped = false;

  constructor(fd: number) {
    super();
    this.#socket = socketOf(fd, false);
    this.#socket.on('error', (error) => {
      this.#error ??= this.failure(error);
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) => {
        if (error) reject(this.failure(error));
        else resolve();
      });
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#socket.destroy(new Error('stopped'));
  }

  protected override failure(error: unknown): BlockError {
    return this.#stopped ? new BlockError('cancelled', 'stopped', { path: this.name }) : super.failure(error);
  }
}

class FileSink extends Sink {
  override readonly skips: boolean;
  readonly #fd: number;
  /** Zeroes that were passed over, and that nothing was written behind. */
  #passed = 0;
  #stopped = false;

  constructor(fd: number) {
    super();
    this.#fd = fd;
    const stats = fstatSync(fd);
    const at = positionOf(fd);
    this.skips = stats.isFile() && at >= stats.size && !appends(fd);
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      this.#pass();
      for (let at = 0; at < bytes.length; ) {
        // Nobody is kept waiting by a file, but many writes in a row take long.
        if (this.#stopped) throw new BlockError('cancelled', 'stopped', { path: this.name });
        at += (await promisify(write)(this.#fd, bytes, at, bytes.length - at, null)).bytesWritten;
      }
    } catch (error) {
      throw this.failure(error);
    }
  }

  override async zeroes(length: number): Promise<void> {
    if (!this.skips) return super.zeroes(length);
    this.#passed += length;
  }

  /** Some file systems say only with the flush that they had no space, or that the disk failed. */
  override async end(): Promise<void> {
    try {
      if (this.#passed > 0) await promisify(ftruncate)(this.#fd, this.#pass());
      await promisify(fsync)(this.#fd).catch((error: NodeJS.ErrnoException) => {
        if (!NO_FLUSH.has(error.code)) throw error;
      });
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** Moves on behind the zeroes; returns where that is. */
  #pass(): number {
    if (this.#passed === 0) return 0;
    const at = loadNative().moveOffset(this.#fd, this.#passed);
    if (at < 0) throw errnoError(at, { path: this.name, operation: 'seek' });
    this.#passed = 0;
    return at;
  }

  stop(): void {
    this.#stopped = true;
  }
}

/** The file is open for appending, or nobody can say. */
function appends(fd: number): boolean {
  const flags = openFlags(fd);
  return flags < 0 || (flags & constants.O_APPEND) !== 0;
}

/** What an open file was opened with, as `open` takes it; -1 where nobody can say. */
export function openFlags(fd: number): number {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
    return flags === undefined ? -1 : Number.parseInt(flags, 8);
  } catch {
    return -1;
  }
}

const INPUT_NAME = 'standard input';

class SocketSource implements ByteSource {
  readonly name = INPUT_NAME;
  readonly #socket: Socket;
  readonly #chunks: Chunks;
  #stopped = false;

  constructor(fd: number) {
    this.#socket = socketOf(fd, true);
    const iterator: AsyncIterator<Buffer> = this.#socket[Symbol.asyncIterator]();
    this.#chunks = new Chunks(async () => {
      const { done, value } = await iterator.next();
      return done ? null : value;
    });
  }

  async read(buffer: Uint8Array): Promise<number> {
    try {
      return await this.#chunks.fill(buffer);
    } catch (error) {
      if (this.#stopped) throw new BlockError('cancelled', 'stopped', { path: this.name });
      throw nodeError(error, { path: this.name, operation: 'read' });
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#socket.destroy(new Error('stopped'));
  }
}

class FileSource implements ByteSource {
  readonly name = INPUT_NAME;
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async read(buffer: Uint8Array): Promise<number> {
    let at = 0;
    try {
      while (at < buffer.length) {
        const { bytesRead } = await promisify(read)(this.#fd, buffer, at, buffer.length - at, null);
        if (bytesRead === 0) break;
        at += bytesRead;
      }
      return at;
    } catch (error) {
      throw nodeError(error, { path: this.name, operation: 'read' });
    }
  }

  /** A file keeps nobody waiting. */
  stop(): void {}
}
