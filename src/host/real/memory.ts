// The arena: aligned buffers cut from slabs that the addon maps.
//
//   slab 8 MiB  [ 64K | 4K | 4K | 1M        | ...bump ->            ]
//   classes     4K 8K 12K 16K 24K 32K 48K 64K 68K ... 1M 1M+4K 1.5M 2M   each with a last-in-first-out list of free views
//   larger      a slab of its own, kept for the next buffer of that size while the limit allows
//   sweep       pages that were free for some seconds are returned to the system; slabs without any used buffer are released
//
// A view has its address as a property, so that a request needs no look-up; the address of a part of a view (`subarray`) is computed from its ArrayBuffer.
// A free view is returned again where the length is the same, so that `allocate` and `free` take a few nanoseconds.
import { BlockError } from '../../util/errors.js';
import { roundUp } from '../../util/numbers.js';
import type { Memory, TableCode } from '../host.js';
import type { Native, NativeEngine } from './binding.js';

const PAGE = 4096;
const MIB = 1024 * 1024;
const SLAB_BYTES = 8 * MIB;
const LARGEST_CLASS = 2 * MIB;
/** From here to 1 MiB there is a class for each power of two with a page in front: a request's data and its header. */
const SMALLEST_HEADED = 64 * 1024;
/** Interval of sweeps. Memory that was free for one to two intervals is returned to the system. */
const SWEEP_MS = 2000;
/** `arenaFreed` of a view whose pages were returned to the system. */
const VACATED = -1;

/** Properties that the arena adds to its views and slabs. */
interface ArenaView extends Uint8Array<ArrayBuffer> {
  arenaOwner?: ArenaMemory;
  arenaAddress?: number;
  /** Bytes that the view takes in its slab; negative while it is free. */
  arenaBytes?: number;
  /** The arena's age (number of sweeps) when the view was freed. */
  arenaFreed?: number;
}
interface ArenaSlab extends ArrayBuffer {
  arenaOwner?: ArenaMemory;
  arenaAddress?: number;
  /** Bytes that were cut from it. */
  arenaUsed?: number;
}

export class ArenaMemory implements Memory {
  readonly limit: number;
  readonly tables: TableCode;
  #native: Native;
  #engine: NativeEngine;
  #free: ArenaView[][] = [];
  #large = new Map<number, ArenaView[]>();
  #slab: ArenaSlab | null = null;
  #mapped = 0;
  #closed = false;
  readonly #returns: boolean;
  /** Sweeps so far. */
  #age = 1;
  #timer: NodeJS.Timeout | null = null;

  /** `returns`: memory that is not used for a while goes back to the system. */
  constructor(native: Native, engine: NativeEngine, limit: number, returns: boolean) {
    this.#native = native;
    this.tables = native.tables;
    this.#engine = engine;
    this.limit = limit;
    this.#returns = returns;
    for (let i = 0; i < CLASS_BYTES.length; i++) this.#free.push([]);
  }

  /** Bytes that are mapped now. */
  get mapped(): number {
    return this.#mapped;
  }

  allocate(length: number): Uint8Array<ArrayBuffer> {
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new BlockError('invalid-argument', `invalid buffer length of ${length} bytes`, {
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
    view.arenaFreed = this.#age;
    if (this.#timer === null && this.#returns) this.#watch();
    if (bytes <= LARGEST_CLASS) this.#free[classOf(bytes)].push(view);
    else this.#freeLarge(view, bytes);
  }

  footprint(length: number): number {
    return length > LARGEST_CLASS ? roundUp(length, LARGEST_CLASS) : CLASS_BYTES[classOf(length)];
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

  /** Releases everything; views that are still referenced stay readable until they are garbage-collected. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#free = CLASS_BYTES.map(() => []);
    this.#large.clear();
    this.#slab = null;
  }

  #cut(bytes: number, length: number): Uint8Array<ArrayBuffer> {
    if (this.#slab === null || this.#slab.arenaUsed! + bytes > SLAB_BYTES) this.#slab = this.#map(SLAB_BYTES);
    const slab = this.#slab;
    const at = slab.arenaUsed!;
    slab.arenaUsed = at + bytes;
    return stamp(new Uint8Array(slab, at, length), this, slab.arenaAddress! + at, bytes);
  }

  #allocateLarge(length: number): Uint8Array<ArrayBuffer> {
    const bytes = roundUp(length, LARGEST_CLASS);
    const view = this.#large.get(bytes)?.pop();
    const slab = view === undefined ? this.#map(bytes) : (view.buffer as ArenaSlab);
    slab.arenaUsed = bytes;
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
    if (this.#mapped + bytes > this.limit) this.#releaseSlabs(false);
    const slab = this.#mapped + bytes > this.limit ? null : (this.#engine.createSlab(bytes) as ArenaSlab | null);
    if (slab === null) {
      throw new BlockError('limit', `no room for ${bytes} bytes more in the I/O arena (limit ${this.limit} bytes)`, {
        operation: 'allocate-memory',
        length: bytes,
      });
    }
    slab.arenaOwner = this;
    slab.arenaUsed = 0;
    slab.arenaAddress = this.#native.addressOf(slab);
    // Node itself prevents that memory of an addon is transferred to a thread. The slab must not be marked as untransferable in addition: node 24 detaches
    // such a buffer when the environment ends, and aborts where a mark forbids that.
    this.#mapped += bytes;
    return slab;
  }

  /** Schedules sweeps while there is free memory. The timer does not keep the process alive. */
  #watch(): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.#sweep()) this.#watch();
    }, SWEEP_MS);
    this.#timer.unref();
  }

  /** Returns the pages of idle views to the system. True where some free memory was not idle for long enough yet. */
  #sweep(): boolean {
    this.#age++;
    const idle: ArenaView[] = [];
    let fresh = false;
    for (const view of this.#freeViews()) {
      if (view.arenaFreed === VACATED) continue;
      if (view.arenaFreed! < this.#age - 1) idle.push(view);
      else fresh = true;
    }
    this.#vacate(idle);
    if (idle.length > 0) this.#releaseSlabs(true);
    return fresh;
  }

  /** Returns the pages of these views to the system, neighbours with one call. */
  #vacate(views: ArenaView[]): void {
    views.sort((a, b) => a.arenaAddress! - b.arenaAddress!);
    for (let i = 0; i < views.length; ) {
      const start = views[i].arenaAddress!;
      let end = start;
      for (; i < views.length && views[i].arenaAddress === end; i++) {
        end += -views[i].arenaBytes!;
        views[i].arenaFreed = VACATED;
      }
      this.#engine.vacateSlab(start, end - start);
    }
  }

  /** Releases the slabs without any used view; with `vacated`, only those whose pages were all returned already. Their memory is freed at once. */
  #releaseSlabs(vacated: boolean): void {
    const freeBytes = new Map<ArenaSlab, number>();
    for (const view of this.#freeViews()) {
      const slab = view.buffer as ArenaSlab;
      if (!vacated || view.arenaFreed === VACATED) {
        freeBytes.set(slab, (freeBytes.get(slab) ?? 0) - view.arenaBytes!);
      }
    }
    const gone = new Set<ArenaSlab>();
    for (const [slab, bytes] of freeBytes) {
      if (bytes < slab.arenaUsed!) continue;
      gone.add(slab);
      this.#engine.vacateSlab(slab.arenaAddress!, slab.byteLength);
      this.#engine.releaseSlab(slab.arenaAddress!);
      this.#mapped -= slab.byteLength;
      if (slab === this.#slab) this.#slab = null;
    }
    if (gone.size === 0) return;
    const stays = (view: ArenaView) => !gone.has(view.buffer as ArenaSlab);
    this.#free = this.#free.map((list) => list.filter(stays));
    for (const [bytes, views] of this.#large) this.#large.set(bytes, views.filter(stays));
  }

  *#freeViews(): Generator<ArenaView> {
    for (const list of this.#free) yield* list;
    for (const list of this.#large.values()) yield* list;
  }
}

/** Size classes: powers of two from a page on, 1.5 times each of them, and from 64 KiB on each power of two plus a page for a header. */
const CLASS_BYTES: readonly number[] = (() => {
  const sizes = [PAGE, 2 * PAGE];
  for (let size = 2 * PAGE; size < LARGEST_CLASS; size *= 2) {
    if (size >= SMALLEST_HEADED) sizes.push(size + PAGE);
    sizes.push(size * 1.5, size * 2);
  }
  return sizes;
})();

/** The class for each number of pages. */
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
  own.arenaFreed = 0;
  return own;
}

/** Throws `invalid-argument` unless `granule` is a positive multiple of 512. */
export function checkGranule(granule: number): void {
  if (Number.isSafeInteger(granule) && granule > 0 && granule % 512 === 0 && granule < 2 ** 31) return;
  throw new BlockError('invalid-argument', `a granule of ${granule} bytes is no multiple of 512`, {
    operation: 'zero-map',
  });
}
