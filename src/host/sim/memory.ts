// Buffers of the simulated host: plain memory that is filled with garbage when it is allocated and overwritten when it is freed. A second free, or a free
// while a request uses the buffer, throws. So a driver's mistakes with a buffer become wrong bytes or errors in a test.

import { BlockError } from '../../util/errors.js';
import type { Memory } from '../host.js';

const FRESH = 0xcd;
const FREED = 0xdb;

export class SimMemory implements Memory {
  /** Allocated buffers by their ArrayBuffer: each has its own. */
  private readonly live = new Map<ArrayBufferLike, Uint8Array>();
  private readonly inFlight = new Map<ArrayBufferLike, number>();
  private readonly limit: number;
  readonly tables = null;
  /** Bytes that are allocated now, and the most that ever were. */
  liveBytes = 0;
  peakBytes = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Buffers that are allocated now. */
  get liveBuffers(): number {
    return this.live.size;
  }

  allocate(length: number): Uint8Array {
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new BlockError('invalid-argument', `cannot allocate ${length} bytes`, { operation: 'allocate' });
    }
    if (this.liveBytes + length > this.limit) {
      throw new BlockError('limit', `out of buffer memory: ${length} bytes asked for, limit ${this.limit}`, {
        operation: 'allocate',
      });
    }
    const buffer = new Uint8Array(length).fill(FRESH);
    this.live.set(buffer.buffer, buffer);
    this.liveBytes += length;
    this.peakBytes = Math.max(this.peakBytes, this.liveBytes);
    return buffer;
  }

  free(buffer: Uint8Array): void {
    if (this.inFlight.has(buffer.buffer)) {
      throw new BlockError('internal', 'a buffer was freed while a request used it', { operation: 'free' });
    }
    if (this.live.get(buffer.buffer) !== buffer) {
      throw new BlockError('internal', 'a buffer was freed twice, or is not from this memory', { operation: 'free' });
    }
    this.live.delete(buffer.buffer);
    this.liveBytes -= buffer.length;
    buffer.fill(FREED);
  }

  footprint(length: number): number {
    return length;
  }

  /** True where `buffer` is allocated memory of this host, or a part of it. */
  owns(buffer: Uint8Array): boolean {
    return this.live.has(buffer.buffer);
  }

  /** A request starts to use `buffer`. */
  pin(buffer: Uint8Array): void {
    this.inFlight.set(buffer.buffer, (this.inFlight.get(buffer.buffer) ?? 0) + 1);
  }

  unpin(buffer: Uint8Array): void {
    const left = (this.inFlight.get(buffer.buffer) ?? 0) - 1;
    if (left > 0) this.inFlight.set(buffer.buffer, left);
    else this.inFlight.delete(buffer.buffer);
  }

  isZero(buffer: Uint8Array): boolean {
    for (let i = 0; i < buffer.length; i++) if (buffer[i] !== 0) return false;
    return true;
  }

  zeroMap(buffer: Uint8Array, granule: number, map: Uint8Array): number {
    const steps = Math.ceil(buffer.length / granule);
    for (let i = 0; i < steps; i++) {
      map[i] = this.isZero(buffer.subarray(i * granule, (i + 1) * granule)) ? 1 : 0;
    }
    return steps;
  }

  firstDifference(a: Uint8Array, b: Uint8Array): number {
    if (a.length !== b.length) {
      throw new BlockError('invalid-argument', `buffers of ${a.length} and ${b.length} bytes cannot be compared`);
    }
    if (Buffer.compare(a, b) === 0) return -1;
    return a.findIndex((byte, i) => byte !== b[i]);
  }
}
