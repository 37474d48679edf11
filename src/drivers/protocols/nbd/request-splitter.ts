// Splits requests for a server: none longer than its maximum, none beyond the end of the export. Requests are multiples of the server's block size
// already, by the base class (`requestAlignment`).
//
//   |xxxx|xxxx|xxxx|xxxx|xxxx|xx          the export
//      [  part  |  part  |part][beyond ]   a request: its parts are sent at the same time; the range beyond the end reads as zeroes

import type { ZeroFlags } from '../../../block/types.js';
import type { Host } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { later, settleAll } from '../../../util/settle.js';
import { Command, CommandFlag } from '../../../wire/nbd/constants.js';
import type { NbdClient } from './client.js';

/** Range of one request without a payload, where its length has 32 bits. A power of two. */
export const MAX_RANGE_BYTES = 2 ** 30;
/** A write from memory that is not the host's is copied, in parts of at most so many bytes. */
const MAX_COPY_BYTES = 1 << 20;
/** Copied parts that are under way at the same time. */
const MAX_COPIES = 8;

export class RequestSplitter {
  readonly #host: Host;
  readonly #client: NbdClient;
  readonly #path: string;
  readonly #size: number;
  readonly #maxPayload: number;
  readonly #copyBytes: number;
  readonly #maxRange: number;

  constructor(host: Host, client: NbdClient, path: string) {
    const { minBlock, maxPayload, size, extended } = client.identity;
    this.#host = host;
    this.#client = client;
    this.#path = path;
    this.#size = size;
    this.#maxPayload = Math.floor(maxPayload / minBlock) * minBlock;
    this.#copyBytes = Math.min(this.#maxPayload, Math.max(MAX_COPY_BYTES, minBlock));
    this.#maxRange = extended ? Number.MAX_SAFE_INTEGER : MAX_RANGE_BYTES;
  }

  async read(offset: number, buffer: Uint8Array): Promise<void> {
    const inside = this.#inside(offset, buffer.length);
    buffer.fill(0, inside);
    const parts: Promise<void>[] = [];
    for (let done = 0; done < inside; done += this.#maxPayload) {
      const length = Math.min(this.#maxPayload, inside - done);
      parts.push(later(this.#client.request(Command.read, 0, offset + done, length, buffer, done)));
    }
    await settleAll(parts);
  }

  /** A write that the server accepts as one request. */
  writePlain(offset: number, buffer: Uint8Array, fua: boolean): Promise<void> {
    return this.#client.request(Command.write, fua ? CommandFlag.fua : 0, offset, buffer.length, buffer, 0);
  }

  async write(offset: number, buffer: Uint8Array, fua: boolean): Promise<void> {
    const inside = this.#inside(offset, buffer.length);
    if (inside < buffer.length && !this.#host.memory.isZero(buffer.subarray(inside))) {
      throw BlockError.at(this.#path, 'no-space', `the export ends at ${this.#size} bytes`, {
        operation: 'write',
        offset,
        length: buffer.length,
      });
    }
    const step = this.#copyBytes;
    let parts: Promise<void>[] = [];
    for (let at = offset; at < offset + inside; ) {
      const next = Math.min(offset + inside, Math.floor(at / step) * step + step);
      parts.push(later(this.#writeCopy(at, buffer.subarray(at - offset, next - offset), fua)));
      at = next;
      if (parts.length < MAX_COPIES) continue;
      await settleAll(parts);
      parts = [];
    }
    await settleAll(parts);
  }

  async writeZeroes(offset: number, length: number, flags: ZeroFlags, fua: boolean): Promise<void> {
    const wireFlags =
      (fua ? CommandFlag.fua : 0) |
      (flags.mayUnmap ? 0 : CommandFlag.noHole) |
      (flags.noFallback ? CommandFlag.fastZero : 0);
    await this.#ranges(Command.writeZeroes, wireFlags, offset, length);
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#ranges(Command.trim, 0, offset, length);
  }

  async #ranges(command: number, flags: number, offset: number, length: number): Promise<void> {
    const end = offset + this.#inside(offset, length);
    for (let at = offset; at < end; at += this.#maxRange) {
      await this.#client.request(command, flags, at, Math.min(this.#maxRange, end - at), null, 0);
    }
  }

  /** Bytes of the range that lie before the end of the export. */
  #inside(offset: number, length: number): number {
    return Math.max(0, Math.min(length, this.#size - offset));
  }

  async #writeCopy(offset: number, source: Uint8Array, fua: boolean): Promise<void> {
    const copy = this.#host.memory.allocate(source.length);
    try {
      copy.set(source);
      await this.#client.request(Command.write, fua ? CommandFlag.fua : 0, offset, copy.length, copy, 0);
    } finally {
      this.#host.memory.free(copy);
    }
  }
}
