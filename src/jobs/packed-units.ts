// The units of an image that is written as a stream of compressed ones (`StreamedPacked`): those of a piece are compressed at once, while those of the last piece are written.
//
//   add(piece 1)   compress                     | write
//   add(piece 2)              read, compress    |       | write

import type { PackedStream, StreamedPacked } from '../block/registry.js';
import type { Host } from '../host/host.js';
import { later, settleAll } from '../util/settle.js';

/** A unit that is compressed: the first `length` bytes of `buffer`. */
interface Packed {
  index: number;
  buffer: Uint8Array;
  length: number;
}

export class PackedUnits {
  readonly #stream: PackedStream;
  readonly #host: Host;
  readonly #unit: number;
  readonly #write: (parts: Iterable<Uint8Array>) => Promise<void>;
  #writing: Promise<void> = Promise.resolve();

  /** `unit`: bytes. `write` gets all parts of the image in their order. */
  constructor(layout: StreamedPacked, host: Host, unit: number, write: (parts: Iterable<Uint8Array>) => Promise<void>) {
    this.#stream = layout.begin(host);
    this.#host = host;
    this.#unit = unit;
    this.#write = write;
  }

  /** Must be called first. Rejects as `write`. */
  begin(): Promise<void> {
    return this.#write(this.#stream.head);
  }

  /**
   * Takes the bytes at `offset` of the disk, whole units but at its end, without the units that `isZero` is true of: by their offsets in `buffer`. Resolves when the buffer is free and what was added
   * before is written. Rejects as `write`, and with what compression fails with. One call at a time.
   */
  async add(offset: number, buffer: Uint8Array, isZero: (at: number) => boolean): Promise<void> {
    const packed = await this.#pack(offset, buffer, isZero);
    const before = this.#writing;
    this.#writing = later(this.#writeUnits(packed, before));
    await before;
  }

  /** Writes what stands behind the units. Rejects as `add`. */
  async end(): Promise<void> {
    await this.#writing;
    await this.#write(this.#stream.end());
  }

  /** Resolves when nothing is under way any more, however that ended. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#writing]);
  }

  async #pack(offset: number, buffer: Uint8Array, isZero: (at: number) => boolean): Promise<Packed[]> {
    const { memory } = this.#host;
    const packed: Packed[] = [];
    const packing: Promise<void>[] = [];
    let failure: { error: unknown } | null = null;
    try {
      for (let at = 0; at < buffer.length; at += this.#unit) {
        if (isZero(at)) continue;
        const one = { index: (offset + at) / this.#unit, buffer: memory.allocate(this.#stream.mostBytes), length: 0 };
        packed.push(one);
        packing.push(later(this.#packUnit(one, buffer.subarray(at, at + this.#unit))));
      }
    } catch (error) {
      failure = { error };
    }
    try {
      await settleAll(packing, failure);
    } catch (error) {
      for (const { buffer } of packed) memory.free(buffer);
      throw error;
    }
    return packed;
  }

  async #packUnit(one: Packed, bytes: Uint8Array): Promise<void> {
    const { memory } = this.#host;
    if (bytes.length === this.#unit) {
      one.length = await this.#stream.pack(one.index, bytes, one.buffer);
      return;
    }
    // The last unit may reach beyond the end of the disk.
    const whole = memory.allocate(this.#unit);
    try {
      whole.fill(0, bytes.length);
      whole.set(bytes);
      one.length = await this.#stream.pack(one.index, whole, one.buffer);
    } finally {
      memory.free(whole);
    }
  }

  /** Writes them behind what is written `before`, and frees them. */
  async #writeUnits(packed: readonly Packed[], before: Promise<void>): Promise<void> {
    try {
      await before;
      for (const { index, buffer, length } of packed) {
        await this.#write(this.#stream.add(index, length));
        await this.#write([buffer.subarray(0, length)]);
      }
    } finally {
      for (const { buffer } of packed) this.#host.memory.free(buffer);
    }
  }
}
