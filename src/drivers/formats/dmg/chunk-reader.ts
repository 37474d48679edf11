// Reads chunks: what is stored of them comes from the file, and is decompressed on the host's worker threads.

import type { Child } from '../../../block/child.js';
import type { Host } from '../../../host/host.js';
import { nextTurn } from '../../../host/sleep.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { Serial } from '../../../util/serial.js';
import { ChunkCache } from './chunk-cache.js';
import type { FoundChunk } from './chunk-map.js';
import { type Chunk, isZeroKind } from './chunks.js';
import { Kind } from './header.js';
import { isPacked, unpack } from './unpack.js';

/** Chunks of more bytes, which usual images do not have, are decompressed one after the other, so that not many are in memory. */
const LARGE_BYTES = 4 << 20;
/** Chunks that are read as wholes are taken in parts of so many bytes. */
const PART_BYTES = 1 << 20;

export class ChunkReader {
  readonly #link: () => Child;
  readonly #host: Host;
  readonly #cache = new ChunkCache();
  readonly #large = new Serial();

  /** `link` is called for each request, since the graph may replace the link. */
  constructor(link: () => Child, host: Host) {
    this.#link = link;
    this.#host = host;
  }

  /** Fills `part` with the bytes of the chunk from `within` on. Rejects with `corrupt-image`, `unsupported`, `io`. */
  async read(chunk: FoundChunk, within: number, part: Uint8Array): Promise<void> {
    if (isZeroKind(chunk.kind)) part.fill(0);
    else if (chunk.kind === Kind.raw) await this.#readRaw(chunk, within, part);
    else if (isPacked(chunk.kind)) await this.#readPacked(chunk, within, part);
    else throw this.#unreadable(chunk);
  }

  /** Calls `take` with all that the chunk holds, part by part; it keeps none of them. Of a chunk that is stored. Rejects as `read`. */
  async readAll(chunk: Chunk, take: (part: Uint8Array) => void): Promise<void> {
    const bytes = chunk.end - chunk.start;
    const isRaw = chunk.kind === Kind.raw;
    if (!isRaw && !isPacked(chunk.kind)) throw this.#unreadable(chunk);
    const { memory } = this.#host;
    const buffer = memory.allocate(isRaw ? Math.min(bytes, PART_BYTES) : bytes);
    try {
      if (!isRaw) await this.#unpack(chunk, () => buffer);
      for (let done = 0; done < bytes; done += PART_BYTES) {
        const from = isRaw ? 0 : done;
        const part = buffer.subarray(from, from + Math.min(PART_BYTES, bytes - done));
        if (isRaw) await this.#readRaw(chunk, done, part);
        else await nextTurn(this.#host.clock);
        take(part);
      }
    } finally {
      memory.free(buffer);
    }
  }

  async #readRaw(chunk: Chunk, within: number, part: Uint8Array): Promise<void> {
    this.#checkStored(chunk, within + part.length);
    await this.#link().read(chunk.place + within, part);
  }

  async #readPacked(chunk: FoundChunk, within: number, part: Uint8Array): Promise<void> {
    const bytes = chunk.end - chunk.start;
    let content = this.#cache.get(chunk.index);
    // Who reads all of it needs no copy.
    if (content === null && part.length === bytes) return this.#unpack(chunk, () => part).then(() => undefined);
    if (content === null) {
      content = this.#unpack(chunk, () => new Uint8Array(bytes));
      this.#cache.add(chunk.index, bytes, content);
    }
    part.set((await content).subarray(within, within + part.length));
  }

  /** Resolves with what `output` returns, filled. */
  #unpack(chunk: Chunk, output: () => Uint8Array): Promise<Uint8Array> {
    const action = async (): Promise<Uint8Array> => {
      this.#checkStored(chunk, chunk.stored);
      const { memory } = this.#host;
      const stored = memory.allocate(chunk.stored);
      try {
        await this.#link().read(chunk.place, stored);
        const filled = output();
        await unpack(this.#host, chunk.kind, stored, filled);
        return filled;
      } catch (thrown) {
        const error = toBlockError(thrown);
        if (error.code === 'invalid-image') throw this.#failed(chunk, 'corrupt-image', error.reason, error);
        if (error.code === 'unsupported') throw this.#failed(chunk, 'unsupported', error.reason, error);
        throw error;
      } finally {
        memory.free(stored);
      }
    };
    return Math.max(chunk.stored, chunk.end - chunk.start) > LARGE_BYTES ? this.#large.run(action) : action();
  }

  /** Throws where the first `bytes` of what is stored are not all there. */
  #checkStored(chunk: Chunk, bytes: number): void {
    if (bytes > chunk.stored) throw this.#failed(chunk, 'corrupt-image', 'it is stored in fewer bytes than it has');
    if (chunk.place + bytes <= this.#link().length) return;
    throw this.#failed(chunk, 'corrupt-image', 'it lies beyond the end of the file');
  }

  #unreadable(chunk: Chunk): BlockError {
    const what = chunk.kind === Kind.lzfse ? 'is compressed by lzfse' : `is of the kind 0x${chunk.kind.toString(16)}`;
    return this.#failed(chunk, 'unsupported', `it ${what}, which cannot be read here`);
  }

  #failed(chunk: Chunk, code: 'corrupt-image' | 'unsupported', reason: string, cause?: BlockError): BlockError {
    return BlockError.at(this.#link().filename, code, `The chunk at ${chunk.start} of the disk: ${reason}`, {
      offset: chunk.place,
      operation: 'read',
      cause,
    });
  }
}
