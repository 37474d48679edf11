// The arena: aligned buffers cut from slabs that the addon maps.
//
//   slab 8 MiB  [ 64K | 4K | 4K | 1M        | ...bump ->            ]
//   classes     4K 8K 12K 16K 24K 32K 48K ... 1M 1.5M 2M   each with a last-in-first-out list of free views
//   larger      a slab of its own, kept for the next buffer of that size while there is room
//
// A view carries its address, so that a request needs no look-up; a part of a view (`subarray`) is found through its
// ArrayBuffer. Views are handed out again when the length is the same: allocate and free cost a few nanoseconds.
import { BlockError } from '../../util/errors.js';
import type { Memory } from '../host.js';
import type { Native, NativeEngine } from './binding.js';

const PAGE = 4096;
const MIB = 1024 * 1024;
const SLAB_BYTES = 8 * MIB;
const LARGEST_CLASS = 2 * MIB;

/** What the arena notes on its views and slabs. */
interface ArenaView extends Uint8Array<ArrayBuffer> {
  arenaOwner?: ArenaMemory;
  arenaAddress?: number;
  /** Bytes of the cut that the view stands for; negative while it is free. */
  arenaBytes?: number;
}
interface ArenaSlab extends ArrayBuffer {
  arenaOwner?: ArenaMemory;
  arenaAddress?: number;
}

export class ArenaMemory implements Memory {
  readonly limit: number;
  #native: Native;
  #engine: NativeEngine;
  #free: ArenaView[][] = [];
  #large = new Map<number, ArenaView[]>();
  #slab: ArenaSlab | null = null;
  #slabUsed = 0;
  #mapped = 0;
  #closed = false;

  constructor(native: Native, engine: NativeEngine, limit: number) {
    this.#native = native;
    this.#engine = engine;
    this.limit = limit;
    for (let i = 0; i < CLASS_BYTES.length; i++) this.#free.push([]);
  }

  /** Bytes that are mapped now. */
  get mapped(): number {
    return this.#mapped;
  }

  allocate(length: number): Uint8Array<ArrayBuffer> {
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new BlockError('invalid-argument', `a buffer of ${length} bytes cannot be`, {
        operation: 'allocate-memory',
      });
    }
    if (length > LARGEST_CLASS) return this.#allocateLarge(length);
    const index = classOf(length);
    const view = this.#free[index].pop();
    if (view === undefined) return this.#cut(CLASS_BYTES[index], length);
    const bytes = CLASS_BYTES[index];
    if (view.byteLength === length) {
      view.arenaBytes = bytes;
      return view;
    }
    return stamp(new Uint8Array(view.buffer, view.byteOffset, length), this, view.arenaAddress!, bytes);
  }

  free(buffer: Uint8Array): void {
    const view = buffer as ArenaView;
    const bytes = view.arenaOwner === this ? view.arenaBytes : undefined;
    if (bytes === undefined || bytes < 0) {
      throw new BlockError('invalid-argument', bytes === undefined ? 'not a buffer of this arena' : 'freed twice', {
        operation: 'free-memory',
        length: buffer.byteLength,
      });
    }
    view.arenaBytes = -bytes;
    if (this.#closed) return;
    if (bytes <= LARGEST_CLASS) this.#free[classOf(bytes)].push(view);
    else this.#freeLarge(view, bytes);
  }

  owns(buffer: Uint8Array): boolean {
    return this.addressOf(buffer) !== 0;
  }

  /** Address of the first byte, or 0 where the buffer does not lie in a slab of this host. */
  addressOf(buffer: Uint8Array): number {
    if ((buffer as ArenaView).arenaOwner === this) return (buffer as ArenaView).arenaAddress!;
    const slab = buffer.buffer as ArenaSlab;
    return slab.arenaOwner === this ? slab.arenaAddress! + buffer.byteOffset : 0;
  }

  isZero(buffer: Uint8Array): boolean {
    return this.#native.isZero(buffer);
  }

  zeroMap(buffer: Uint8Array, granule: number, map: Uint8Array): number {
    checkGranule(granule);
    const steps = this.#native.zeroMap(buffer, granule, map);
    if (steps < 0) throw new BlockError('invalid-argument', 'the map is too short', { operation: 'zero-map' });
    return steps;
  }

  firstDifference(a: Uint8Array, b: Uint8Array): number {
    if (a.byteLength !== b.byteLength) {
      throw new BlockError('invalid-argument', 'buffers of different length', { operation: 'compare' });
    }
    return this.#native.firstDifference(a, b);
  }

  /** Lets go of everything; views that are still held stay readable until they are collected. */
  close(): void {
    this.#closed = true;
    this.#free = CLASS_BYTES.map(() => []);
    this.#large.clear();
    this.#slab = null;
  }

  #cut(bytes: number, length: number): Uint8Array<ArrayBuffer> {
    if (this.#slab === null || this.#slabUsed + bytes > SLAB_BYTES) {
      this.#slab = this.#map(SLAB_BYTES);
      this.#slabUsed = 0;
    }
    const at = this.#slabUsed;
    this.#slabUsed += bytes;
    return stamp(new Uint8Array(this.#slab, at, length), this, this.#slab.arenaAddress! + at, bytes);
  }

  #allocateLarge(length: number): Uint8Array<ArrayBuffer> {
    const bytes = Math.ceil(length / LARGEST_CLASS) * LARGEST_CLASS;
    const view = this.#large.get(bytes)?.pop();
    const slab = view === undefined ? this.#map(bytes) : (view.buffer as ArenaSlab);
    return stamp(new Uint8Array(slab, 0, length), this, slab.arenaAddress!, bytes);
  }

  #freeLarge(view: ArenaView, bytes: number): void {
    const list = this.#large.get(bytes);
    if (list === undefined) this.#large.set(bytes, [view]);
    else list.push(view);
  }

  #map(bytes: number): ArenaSlab {
    if (this.#closed)
      throw new BlockError('closed', 'the host is closed', { operation: 'allocate-memory', length: bytes });
    if (this.#mapped + bytes > this.limit) this.#trim();
    const slab = this.#mapped + bytes > this.limit ? null : (this.#engine.createSlab(bytes) as ArenaSlab | null);
    if (slab === null) {
      throw new BlockError('limit', `no room for ${bytes} bytes more in the I/O arena (limit ${this.limit} bytes)`, {
        operation: 'allocate-memory',
        length: bytes,
      });
    }
    slab.arenaOwner = this;
    slab.arenaAddress = this.#native.addressOf(slab);
    // Node itself lets no thread take memory that an addon owns. It must not be marked as untransferable beside that: node 24
    // detaches such a buffer when the environment ends, and aborts where a mark forbids it.
    this.#mapped += bytes;
    return slab;
  }

  /** Gives back the large buffers that nobody uses. */
  #trim(): void {
    for (const [bytes, views] of this.#large) {
      for (const view of views) {
        this.#engine.releaseSlab(view.arenaAddress!);
        this.#mapped -= bytes;
      }
    }
    this.#large.clear();
  }
}

/** Sizes that are cut from slabs: powers of two from a page on, and one and a half times each of them. */
const CLASS_BYTES: readonly number[] = (() => {
  const sizes = [PAGE, 2 * PAGE];
  for (let size = 2 * PAGE; size < LARGEST_CLASS; size *= 2) sizes.push(size * 1.5, size * 2);
  return sizes;
})();

/** Class of each page count, so that finding it is one look-up. */
const CLASS_OF_PAGES: Uint8Array = (() => {
  const table = new Uint8Array(LARGEST_CLASS / PAGE + 1);
  for (let pages = 0, index = 0; pages < table.length; pages++) {
    if (pages * PAGE > CLASS_BYTES[index]) index++;
    table[pages] = index;
  }
  return table;
})();

function classOf(length: number): number {
  return CLASS_OF_PAGES[(length + PAGE - 1) >>> 12];
}

function stamp(view: Uint8Array<ArrayBuffer>, owner: ArenaMemory, address: number, bytes: number): ArenaView {
  const own = view as ArenaView;
  own.arenaOwner = owner;
  own.arenaAddress = address;
  own.arenaBytes = bytes;
  return own;
}

/** Throws `invalid-argument` unless `granule` is a positive multiple of 512. */
export function checkGranule(granule: number): void {
  if (Number.isSafeInteger(granule) && granule > 0 && granule % 512 === 0 && granule < 2 ** 31) return;
  throw new BlockError('invalid-argument', `a granule of ${granule} bytes is no multiple of 512`, {
    operation: 'zero-map',
  });
}
