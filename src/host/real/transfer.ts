// Reads and writes of one open file. A request whose memory is in the arena, and which has the file's alignment, is passed on as it is; every other one is
// copied through aligned pieces of at most 1 MiB.
//
//   caller's bytes          |--------------------------|
//   direct file     |.......#######|##############|######......|     blocks
//                   read,change,write    write       read,change,write
import { BlockError } from '../../util/errors.js';
import { RangeLock } from '../../util/range-lock.js';
import { errnoError } from '../errno.js';
import type { RequestSink, ZeroScan } from '../host.js';
import type { Descriptor } from './descriptor.js';
import { DirectWrites } from './direct-writes.js';
import { type Engine, Requester } from './engine.js';
import { type ArenaMemory, checkGranule } from './memory.js';
import { FLAG_ALIGN_SHIFT, FLAG_DIRECT, FLAG_SCAN, Op } from './table.js';

const PIECE = 1024 * 1024;

/** Properties of the open file. */
export interface TransferOptions {
  fd: number;
  path: string;
  direct: boolean;
  /** Alignment of offsets and lengths; 1 when buffered. */
  alignment: number;
  /** Alignment of addresses; 1 when buffered. */
  memoryAlignment: number;
  /** Returns the current size in bytes: writing a whole block at the end must not make the file longer. */
  size: () => number;
}

export class Transfer {
  readonly who: Requester;
  readonly fd: number;
  readonly direct: boolean;
  readonly alignment: number;
  readonly flags: number;
  #engine: Engine;
  #memory: ArenaMemory;
  #memoryAlignment: number;
  #size: () => number;
  /** For the pieces of a request that has been counted already. */
  readonly inner: Requester;
  /**
   * The ranges of a direct file that are being written. A write of whole blocks shares its range with other such writes (the caller is responsible for
   * overlapping writes). One that reads, modifies and writes a block needs the range exclusively; otherwise it could restore data that another write
   * has just replaced.
   */
  readonly #writes = new RangeLock();
  readonly #directWrites: DirectWrites;

  constructor(engine: Engine, memory: ArenaMemory, options: TransferOptions) {
    this.#engine = engine;
    this.#memory = memory;
    this.fd = options.fd;
    this.who = new Requester(options.path);
    this.inner = new Requester(options.path);
    this.direct = options.direct;
    this.alignment = options.alignment;
    this.#memoryAlignment = options.memoryAlignment;
    this.#size = options.size;
    this.#directWrites = new DirectWrites(this.#writes, (offset, length, result) =>
      errnoError(result, { operation: 'write', path: options.path, offset, length }),
    );
    this.flags = options.direct ? FLAG_DIRECT | (Math.log2(options.alignment) << FLAG_ALIGN_SHIFT) : 0;
  }

  /** Counts `body` as one request of this file. */
  async counted<T>(body: () => Promise<T>): Promise<T> {
    this.who.inFlight++;
    try {
      return await body();
    } finally {
      this.who.done();
    }
  }

  /** True where a request needs no copy. `address`: 0 for memory outside of the arena. */
  fits(offset: number, length: number, address: number): boolean {
    if (address === 0) return false;
    if (!this.direct) return true;
    // Alignments are powers of two, so that the lower 32 bits decide.
    return ((offset | length) & (this.alignment - 1)) === 0 && (address & (this.#memoryAlignment - 1)) === 0;
  }

  /** Starts a read of a direct file that needs no copy (`fits`), and returns the engine's promise. */
  startDirectRead(offset: number, address: number, length: number): Promise<void> {
    this.#prepare(Op.read, offset, address, length);
    return this.#engine.start(this.who) as Promise<unknown> as Promise<void>;
  }

  /** The same for a write. Null where it has to wait: for another write, or for a slot of the engine. */
  startDirectWrite(offset: number, address: number, length: number): Promise<void> | null {
    const place = this.#directWrites.enter(offset, offset + length, null, 0);
    return place >= 0 && this.#beginDirect(place, offset, address, length) ? this.#directWrites.answer(place) : null;
  }

  /** See `HostFile.beginRead`. */
  beginRead(offset: number, address: number, length: number, sink: RequestSink, tag: number): boolean {
    if (!this.fits(offset, length, address)) return false;
    this.#prepare(Op.read, offset, address, length);
    return this.#engine.begin(this.who, sink, tag);
  }

  beginWrite(offset: number, address: number, length: number, sink: RequestSink, tag: number): boolean {
    if (!this.fits(offset, length, address)) return false;
    if (!this.direct) {
      this.#prepare(Op.write, offset, address, length);
      return this.#engine.begin(this.who, sink, tag);
    }
    const place = this.#directWrites.enter(offset, offset + length, sink, tag);
    return place >= 0 && this.#beginDirect(place, offset, address, length);
  }

  /** Begins a write of a direct file that has its place. False, and the place is left, where no slot is free. */
  #beginDirect(place: number, offset: number, address: number, length: number): boolean {
    this.#prepare(Op.write, offset, address, length);
    if (this.#engine.begin(this.who, this.#directWrites, place)) return true;
    this.#directWrites.leave(place);
    return false;
  }

  /** Prepares a request of this file. */
  #prepare(op: number, offset: number, address: number, length: number): Descriptor {
    const request = this.#engine.prepare(op, this.fd);
    request.offset = offset;
    request.address = address;
    request.length = length;
    request.flags = this.flags;
    return request;
  }

  /** Starts a piece of a request that has been counted already. */
  #start(op: number, offset: number, address: number, length: number): Promise<number> {
    this.#prepare(op, offset, address, length);
    return this.#engine.start(this.inner);
  }

  async read(offset: number, buffer: Uint8Array, scan: ZeroScan | undefined): Promise<void> {
    if (scan !== undefined) checkScan(scan, buffer.byteLength);
    const address = this.#memory.addressOf(buffer);
    if (this.fits(offset, buffer.byteLength, address)) {
      if (scan === undefined) {
        await this.#start(Op.read, offset, address, buffer.byteLength);
        return;
      }
      return this.#readAndScan(offset, buffer.byteLength, address, scan);
    }
    for (let at = 0; at < buffer.byteLength; ) {
      const end = pieceEnd(offset, buffer.byteLength, at);
      await this.#readPiece(offset + at, buffer.subarray(at, end));
      at = end;
    }
    if (scan !== undefined) this.#memory.zeroMap(buffer, scan.granule, scan.map);
  }

  async write(offset: number, buffer: Uint8Array): Promise<void> {
    const address = this.#memory.addressOf(buffer);
    if (this.fits(offset, buffer.byteLength, address)) return this.#writeFitting(offset, address, buffer.byteLength);
    for (let at = 0; at < buffer.byteLength; ) {
      const end = pieceEnd(offset, buffer.byteLength, at);
      await this.#writePiece(offset + at, buffer.subarray(at, end));
      at = end;
    }
  }

  /** readv and writev: one system call where all buffers fit, one request a buffer otherwise. */
  async vector(write: boolean, offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    let length = 0;
    let fits = buffers.length <= 65536;
    for (const buffer of buffers) {
      fits &&= this.fits(offset + length, buffer.byteLength, this.#memory.addressOf(buffer));
      length += buffer.byteLength;
    }
    if (fits) return this.#vectorFitting(write, offset, length, buffers);
    const all: Promise<void>[] = [];
    let at = offset;
    for (const buffer of buffers) {
      all.push(write ? this.write(at, buffer) : this.read(at, buffer, undefined));
      at += buffer.byteLength;
    }
    // The caller may free its buffers once this is answered: no piece may be under way then.
    for (const result of await Promise.allSettled(all)) {
      if (result.status === 'rejected') throw result.reason;
    }
  }

  async #vectorFitting(write: boolean, offset: number, length: number, buffers: readonly Uint8Array[]): Promise<void> {
    const table = this.#memory.allocate(buffers.length * 16);
    const held = write && this.direct ? await this.#writes.acquire(offset, offset + length, 'shared') : null;
    try {
      const pairs = new Float64Array(table.buffer, table.byteOffset, buffers.length * 2);
      for (let i = 0; i < buffers.length; i++) {
        pairs[2 * i] = this.#memory.addressOf(buffers[i]);
        pairs[2 * i + 1] = buffers[i].byteLength;
      }
      const op = write ? Op.writev : Op.readv;
      const address = this.#memory.addressOf(table);
      this.#prepare(op, offset, address, length).extra = buffers.length;
      await this.#engine.start(this.inner);
    } finally {
      if (held !== null) this.#writes.release(held);
      this.#memory.free(table);
    }
  }

  async #readAndScan(offset: number, length: number, address: number, scan: ZeroScan): Promise<void> {
    const own = this.#memory.addressOf(scan.map);
    const steps = Math.ceil(length / scan.granule);
    const map = own === 0 ? this.#memory.allocate(steps) : scan.map;
    try {
      const request = this.#prepare(Op.read, offset, address, length);
      request.flags = this.flags | FLAG_SCAN;
      request.extra = scan.granule;
      request.address2 = this.#memory.addressOf(map);
      await this.#engine.start(this.inner);
      if (own === 0) scan.map.set(map);
    } finally {
      if (own === 0) this.#memory.free(map);
    }
  }

  async #readPiece(offset: number, target: Uint8Array): Promise<void> {
    const start = roundDown(offset, this.alignment);
    const end = roundUp(offset + target.byteLength, this.alignment);
    const bounce = this.#memory.allocate(end - start);
    try {
      await this.#readInto(start, bounce);
      target.set(bounce.subarray(offset - start, offset - start + target.byteLength));
    } finally {
      this.#memory.free(bounce);
    }
  }

  async #writePiece(offset: number, source: Uint8Array): Promise<void> {
    const end = offset + source.byteLength;
    const start = roundDown(offset, this.alignment);
    const stop = roundUp(end, this.alignment);
    const bounce = this.#memory.allocate(stop - start);
    try {
      if (start === offset && stop === end) {
        bounce.set(source);
        await this.#writeFitting(offset, this.#memory.addressOf(bounce), source.byteLength);
      } else {
        await this.#changeBlocks(offset, source, start, bounce);
      }
    } finally {
      this.#memory.free(bounce);
    }
  }

  /** Reads the blocks at both edges, puts `source` between them, writes all, and keeps the file's size. */
  async #changeBlocks(offset: number, source: Uint8Array, start: number, bounce: Uint8Array): Promise<void> {
    const end = offset + source.byteLength;
    const stop = start + bounce.byteLength;
    let held = await this.#writes.acquire(start, stop);
    try {
      if (stop > this.#size()) {
        // The size will change twice, so all writes beyond must wait, too.
        this.#writes.release(held);
        held = await this.#writes.acquire(start, Number.POSITIVE_INFINITY);
      }
      const size = this.#size();
      const block = this.alignment;
      if (offset > start) await this.#readInto(start, bounce.subarray(0, block));
      if (end < stop && !(offset > start && bounce.byteLength === block)) {
        await this.#readInto(stop - block, bounce.subarray(bounce.byteLength - block));
      }
      bounce.set(source, offset - start);
      const address = this.#memory.addressOf(bounce);
      await this.#start(Op.write, start, address, bounce.byteLength);
      if (stop > size) {
        this.#engine.prepare(Op.truncate, this.fd).offset = Math.max(size, end);
        await this.#engine.start(this.inner);
      }
    } finally {
      this.#writes.release(held);
    }
  }

  async #readInto(offset: number, target: Uint8Array): Promise<void> {
    const address = this.#memory.addressOf(target);
    await this.#start(Op.read, offset, address, target.byteLength);
  }

  async #writeFitting(offset: number, address: number, length: number): Promise<void> {
    const held = this.direct ? await this.#writes.acquire(offset, offset + length, 'shared') : null;
    try {
      await this.#start(Op.write, offset, address, length);
    } finally {
      if (held !== null) this.#writes.release(held);
    }
  }
}

/** End of the piece that starts at `at`. Pieces end at multiples of 1 MiB of the file, so only the first and the last one may be unaligned. */
function pieceEnd(offset: number, length: number, at: number): number {
  return Math.min(length, roundDown(offset + at, PIECE) + PIECE - offset);
}

function roundDown(value: number, alignment: number): number {
  return value - (value % alignment);
}

function roundUp(value: number, alignment: number): number {
  return roundDown(value + alignment - 1, alignment);
}

function checkScan(scan: ZeroScan, length: number): void {
  checkGranule(scan.granule);
  if (scan.map.byteLength >= Math.ceil(length / scan.granule)) return;
  throw new BlockError('invalid-argument', 'the map is too short', { operation: 'read', length });
}
