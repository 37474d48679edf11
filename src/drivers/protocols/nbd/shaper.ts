// Shapes requests as the server takes them: whole blocks, no more than its maximum, nothing behind its end.
//
//   |xxxx|xxxx|xxxx|xxxx|   blocks of the server
//      [head|---middle--|tail]
//   head and tail are read, changed and written back, under a lock; the middle goes as it is, in parts

import type { ZeroFlags } from '../../../block/types.js';
import type { Host } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { RangeLock } from '../../../util/range-lock.js';
import { later, settleAll } from '../../../util/settle.js';
import { Command, CommandFlag } from '../../../wire/nbd/constants.js';
import type { NbdClient } from './client.js';

/** Range of one request without a payload, where its length has 32 bits. A power of two. */
export const MAX_RANGE_BYTES = 2 ** 30;
/** Longest write of memory that is not the host's: it is copied in parts. */
const MAX_COPY_BYTES = 1 << 20;
/** Such parts under way at once. */
const MAX_COPIES = 8;

export class Shaper {
  readonly #host: Host;
  readonly #client: NbdClient;
  readonly #path: string;
  readonly #unit: number;
  readonly #size: number;
  readonly #maxPayload: number;
  readonly #maxRange: number;
  /** Where the server has blocks: writes that share one wait for each other. */
  readonly #lock = new RangeLock();

  constructor(host: Host, client: NbdClient, path: string) {
    const { minBlock, maxPayload, size, extended } = client.identity;
    this.#host = host;
    this.#client = client;
    this.#path = path;
    this.#unit = minBlock;
    this.#size = size;
    this.#maxPayload = Math.floor(maxPayload / minBlock) * minBlock;
    this.#maxRange = extended ? Number.MAX_SAFE_INTEGER : MAX_RANGE_BYTES;
  }

  async read(offset: number, buffer: Uint8Array): Promise<void> {
    const inside = Math.max(0, Math.min(buffer.length, this.#size - offset));
    buffer.fill(0, inside);
    const unit = this.#unit;
    const start = Math.ceil(offset / unit) * unit;
    const end = Math.floor((offset + inside) / unit) * unit;
    const parts: Promise<void>[] = [];
    if (start > end) {
      parts.push(later(this.#readPart(offset, buffer, 0, inside)));
    } else {
      if (start > offset) parts.push(later(this.#readPart(offset, buffer, 0, start - offset)));
      for (let at = start; at < end; at += this.#maxPayload) {
        const length = Math.min(this.#maxPayload, end - at);
        parts.push(later(this.#client.request(Command.read, 0, at, length, buffer, at - offset)));
      }
      if (end < offset + inside) parts.push(later(this.#readPart(end, buffer, end - offset, inside)));
    }
    await settleAll(parts);
  }

  /** A write that fits as it is. */
  writePlain(offset: number, buffer: Uint8Array, fua: boolean): Promise<void> {
    const { length } = buffer;
    const send = (): Promise<void> =>
      this.#client.request(Command.write, fua ? CommandFlag.fua : 0, offset, length, buffer, 0);
    return this.#alone(offset, offset + length, send);
  }

  async write(offset: number, buffer: Uint8Array, fua: boolean): Promise<void> {
    const inside = Math.max(0, Math.min(buffer.length, this.#size - offset));
    if (inside < buffer.length && !this.#host.memory.isZero(buffer.subarray(inside))) {
      throw BlockError.at(this.#path, 'no-space', `the export ends at ${this.#size} bytes`, {
        operation: 'write',
        offset,
        length: buffer.length,
      });
    }
    await this.#blocks(offset, inside, (start, end, from) =>
      this.#writeBlocks(start, end, buffer.subarray(0, inside), from, fua),
    );
  }

  async writeZeroes(offset: number, length: number, flags: ZeroFlags, fua: boolean): Promise<void> {
    const inside = Math.max(0, Math.min(length, this.#size - offset));
    const unit = this.#unit;
    const wireFlags =
      (fua ? CommandFlag.fua : 0) |
      (flags.mayUnmap ? 0 : CommandFlag.noHole) |
      (flags.noFallback ? CommandFlag.fastZero : 0);
    const start = Math.ceil(offset / unit) * unit;
    const end = Math.floor((offset + inside) / unit) * unit;
    if (start >= end || flags.noFallback) {
      if (flags.noFallback && (offset % unit !== 0 || inside % unit !== 0)) {
        throw BlockError.at(this.#path, 'unsupported', `fast zeroes need whole blocks of ${unit} bytes`, {
          operation: 'write zeroes',
          offset,
          length,
        });
      }
      if (start >= end) return this.#writeZeroBytes(offset, inside, fua);
    }
    const parts: Promise<void>[] = [];
    if (start > offset) parts.push(later(this.#writeZeroBytes(offset, start - offset, fua)));
    parts.push(later(this.#ranges(Command.writeZeroes, wireFlags, start, end)));
    if (end < offset + inside) parts.push(later(this.#writeZeroBytes(end, offset + inside - end, fua)));
    await settleAll(parts);
  }

  /** Whole blocks only: it is a hint. */
  async discard(offset: number, length: number): Promise<void> {
    const unit = this.#unit;
    const start = Math.ceil(offset / unit) * unit;
    const end = Math.floor(Math.min(offset + length, this.#size) / unit) * unit;
    if (start < end) await this.#ranges(Command.trim, 0, start, end);
  }

  async #ranges(command: number, flags: number, start: number, end: number): Promise<void> {
    for (let at = start; at < end; at += this.#maxRange) {
      const stop = Math.min(end, at + this.#maxRange);
      await this.#alone(at, stop, () => this.#client.request(command, flags, at, stop - at, null, 0));
    }
  }

  /** Less than two blocks of zeroes, as data. */
  async #writeZeroBytes(offset: number, length: number, fua: boolean): Promise<void> {
    if (length > 0) await this.write(offset, new Uint8Array(length), fua);
  }

  /** Reads the blocks that [offset, offset + end - start) touches, and puts what was asked for at `start` of `buffer`. */
  async #readPart(offset: number, buffer: Uint8Array, start: number, end: number): Promise<void> {
    const unit = this.#unit;
    const from = Math.floor(offset / unit) * unit;
    const to = Math.ceil((offset + end - start) / unit) * unit;
    const blocks = this.#host.memory.allocate(to - from);
    try {
      await this.#client.request(Command.read, 0, from, to - from, blocks, 0);
      buffer.set(blocks.subarray(offset - from, offset - from + end - start), start);
    } finally {
      this.#host.memory.free(blocks);
    }
  }

  /** Where the server has blocks, nothing else is written to [start, end) meanwhile. */
  #alone(start: number, end: number, action: () => Promise<void>): Promise<void> {
    return this.#unit === 1 ? action() : this.#lock.with(start, end, action);
  }

  /** Cuts a write into parts of whole blocks, which `action` gets as [start, end) and `from`, the place of the first byte in the source. */
  async #blocks(
    offset: number,
    length: number,
    action: (start: number, end: number, from: number) => Promise<void>,
  ): Promise<void> {
    const step = Math.min(this.#maxPayload, Math.max(MAX_COPY_BYTES, this.#unit));
    let parts: Promise<void>[] = [];
    for (let at = offset; at < offset + length; ) {
      const next = Math.min(offset + length, Math.floor(at / step) * step + step);
      parts.push(later(action(at, next, at - offset)));
      at = next;
      if (parts.length < MAX_COPIES) continue;
      await settleAll(parts);
      parts = [];
    }
    await settleAll(parts);
  }

  /** Writes [start, end) of the export from `source`, in whole blocks: what the first and the last one lack is read first. */
  async #writeBlocks(start: number, end: number, source: Uint8Array, from: number, fua: boolean): Promise<void> {
    const unit = this.#unit;
    const first = Math.floor(start / unit) * unit;
    const last = Math.ceil(end / unit) * unit;
    await this.#alone(first, last, async () => {
      const blocks = this.#host.memory.allocate(last - first);
      try {
        const parts: Promise<void>[] = [];
        const tail = last - unit;
        if (first < start) parts.push(later(this.#client.request(Command.read, 0, first, unit, blocks, 0)));
        if (end < last && !(first < start && tail === first)) {
          parts.push(later(this.#client.request(Command.read, 0, tail, unit, blocks, tail - first)));
        }
        await settleAll(parts);
        blocks.set(source.subarray(from, from + end - start), start - first);
        const flags = fua ? CommandFlag.fua : 0;
        await this.#client.request(Command.write, flags, first, last - first, blocks, 0);
      } finally {
        this.#host.memory.free(blocks);
      }
    });
  }
}
