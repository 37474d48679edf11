// Submits requests to the addon in batches. A request takes a slot: a descriptor in the shared table, and the two functions of its promise. The requests of
// one turn are collected, and a microtask submits all of them with one call. Those that the addon can complete at once (page-cache hits) are completed by
// that call; all others by one call of `onBatch` for each batch.
//
//   start() -> slot -> order[] -- microtask --> submit(n) --> completions[] -> resolve / reject
//          \-> no slot free: queued                      \--> later, onBatch(n) -/
//
// `begin` is `start` without a promise: the slot has a sink and a tag, and no object is made for a request.
import { reportUnexpected } from '../../util/diagnostics.js';
import { BlockError } from '../../util/errors.js';
import { Waiters } from '../../util/waiters.js';
import { errnoError } from '../errno.js';
import type { RequestSink } from '../host.js';
import type { Native, NativeEngine } from './binding.js';
import { Descriptor } from './descriptor.js';
import { COMPLETION_BYTES, DESCRIPTOR_BYTES, Op, operationName } from './table.js';

/** The file (or codec) that a request belongs to, for its count of requests and for errors. */
export class Requester {
  readonly path: string;
  inFlight = 0;
  readonly #idle = new Waiters();

  constructor(path: string) {
    this.path = path;
  }

  /** Called when one of its requests has ended. */
  done(): void {
    if (--this.inFlight === 0) this.#idle.wake();
  }

  async idle(): Promise<void> {
    while (this.inFlight > 0) await this.#idle.wait();
  }
}

/** For tests: how system calls misbehave. All zero: not at all. */
export interface Faults {
  /** A read or write transfers at most so many bytes. */
  maxBytes?: number;
  /** So many of the next reads and writes fail with EINTR. */
  interrupts?: number;
  /** So many of the next ring completions and inline reads fail with EAGAIN. */
  again?: number;
  /** A worker waits so long before each request. */
  delayMs?: number;
  /** So many of the next requests find the ring full. */
  ringFull?: number;
  /** So many of the next copy steps of jobs stand still until `setFaults` is called again. */
  heldSteps?: number;
}

/** See `RealHostOptions`. */
export interface EnginePlan {
  ring: boolean;
  slots: number;
  inlineReadBytes: number;
  waits: boolean;
  opens: boolean;
}

type Settle = (result: number) => void;
type Reject = (error: BlockError) => void;

/** A request that waits for a free slot, with a copy of its descriptor. */
interface Waiting {
  words: Int32Array;
  who: Requester;
  resolve: Settle;
  reject: Reject;
}

// The executor of every request's promise: one function for all requests, whose results are taken right after the call.
let lastResolve: Settle;
let lastReject: Reject;
function capture(resolve: Settle, reject: Reject): void {
  lastResolve = resolve;
  lastReject = reject;
}

/** Requests that are about no range of one file. */
const PLACELESS: ReadonlySet<number> = new Set([
  Op.open,
  Op.close,
  Op.dataSync,
  Op.move,
  Op.compare,
  Op.cipher,
  Op.derive,
]);

const READY = Promise.resolve();
/** Limit of work that is done without returning to the event loop, about 1 ms; a unit is a request or 8 KiB. */
const UNITS_A_TURN = 1024;
/** The front of the queue is removed after so many requests have left it. */
const QUEUE_COMPACT = 4096;

export class Engine {
  readonly native: Native;
  readonly calls: NativeEngine;
  readonly ring: boolean;
  /** The JavaScript thread itself makes the calls that concern a whole file. */
  readonly waits: boolean;
  /** It opens and closes files, and asks for the state of those that are not open. */
  readonly opens: boolean;
  #int32: Int32Array;
  #float64: Float64Array;
  /** The descriptor of a request that has to wait for a slot. */
  readonly #spareInt32: Int32Array;
  readonly #spareFloat64: Float64Array;
  readonly #descriptor: Descriptor;
  /** Raised with each request of a guest. */
  readonly #guests = new Uint32Array(1);
  #order: Int32Array;
  #completions: Float64Array;
  #freeSlots: Int32Array;
  #freeCount: number;
  #resolvers: Settle[] = [];
  #rejecters: Reject[] = [];
  #owners: (Requester | null)[] = [];
  #sinks: (RequestSink | null)[] = [];
  #tags: Int32Array;
  /** Sinks that got results of this batch. */
  #touched: RequestSink[] = [];
  #pending = 0;
  /** A microtask will submit the pending requests. */
  #scheduled = false;
  /** The next turn of the event loop will submit them. */
  #deferred = false;
  /** Results are being delivered. */
  #settling = false;
  /** `submit` was called while results were delivered. */
  #again = false;
  #units = 0;
  #waiting: Waiting[] = [];
  #waitingAt = 0;
  #closed = false;
  /** Counts all requests of this engine, for `close`. */
  readonly #all = new Requester('host');
  readonly #flush = () => {
    this.#scheduled = false;
    this.submit();
  };
  readonly #nextTurn = () => {
    this.#deferred = false;
    this.#units = 0;
    this.#handOver();
  };

  constructor(native: Native, { ring, slots, inlineReadBytes, waits, opens }: EnginePlan) {
    this.native = native;
    this.ring = ring;
    this.waits = waits;
    this.opens = opens;
    const descriptors = new ArrayBuffer(slots * DESCRIPTOR_BYTES);
    const order = new ArrayBuffer(slots * 4);
    const completions = new ArrayBuffer(slots * COMPLETION_BYTES);
    this.#int32 = new Int32Array(descriptors);
    this.#float64 = new Float64Array(descriptors);
    const spare = new ArrayBuffer(DESCRIPTOR_BYTES);
    this.#spareInt32 = new Int32Array(spare);
    this.#spareFloat64 = new Float64Array(spare);
    this.#descriptor = new Descriptor(this.#spareInt32, this.#spareFloat64);
    this.#order = new Int32Array(order);
    this.#completions = new Float64Array(completions);
    this.#freeSlots = new Int32Array(slots);
    this.#tags = new Int32Array(slots);
    this.#freeCount = slots;
    for (let i = 0; i < slots; i++) {
      this.#freeSlots[i] = slots - 1 - i;
      this.#resolvers.push(unused);
      this.#rejecters.push(unused);
      this.#owners.push(null);
      this.#sinks.push(null);
    }
    const onBatch = (count: number) => {
      this.#units = 0;
      this.#settle(count);
      if (this.#again) this.#handOver();
    };
    const { buffer: guests } = this.#guests;
    const tables = [descriptors, order, completions] as const;
    const made = native.createEngine(...tables, slots, ring, onBatch, inlineReadBytes, waits, guests, opens);
    if (typeof made === 'number') throw errnoError(made, { operation: 'io_uring_setup', path: 'io_uring' });
    this.calls = made;
  }

  /** See `Host.guestCame`. */
  guestCame(): void {
    this.#guests[0]++;
  }

  /** The descriptor of the next request, to be filled, and started by `start` or `begin`, before another one is prepared. */
  prepare(op: number, fd: number): Descriptor {
    const descriptor = this.#descriptor;
    if (this.#full) descriptor.aim(this.#spareInt32, this.#spareFloat64, 0, op, fd);
    else descriptor.aim(this.#int32, this.#float64, this.#freeSlots[this.#freeCount - 1], op, fd);
    return descriptor;
  }

  /** Starts the request that was prepared, for `who`. Resolves with its result (0, a length, ...); rejects with a `BlockError`. */
  start(who: Requester): Promise<number> {
    const promise = new Promise<number>(capture);
    const resolve = lastResolve;
    const reject = lastReject;
    who.inFlight++;
    this.#all.inFlight++;
    if (this.#closed) {
      const { op, extra } = this.#descriptor;
      who.done();
      this.#all.done();
      reject(closedError(operationName(op, extra), who.path));
    } else if (this.#full) {
      this.#waiting.push({ words: this.#spareInt32.slice(), who, resolve, reject });
    } else {
      this.#take(who, resolve, reject);
    }
    return promise;
  }

  /**
   * Starts the read or write that was prepared; its result is passed to `sink`, with `tag` (a 32-bit integer). False, and nothing is begun, where no slot
   * is free (`start` would wait for one) or the engine is closed.
   */
  begin(who: Requester, sink: RequestSink, tag: number): boolean {
    if (this.#closed || this.#full) return false;
    who.inFlight++;
    this.#all.inFlight++;
    const slot = this.#freeSlots[this.#freeCount - 1];
    this.#sinks[slot] = sink;
    this.#tags[slot] = tag;
    this.#take(who, unused, unused);
    return true;
  }

  /**
   * Submits the pending requests; those that complete at once get their results before it returns. Called while results are delivered, it submits after
   * them. Where this turn's share of the thread is used up, the next turn submits.
   */
  submit(): void {
    if (this.#settling) this.#again = true;
    else if (this.#units < UNITS_A_TURN) this.#handOver();
    else if (this.#pending > 0) this.#defer();
  }

  /** Waits until no request is in flight any more, then ends threads and ring. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#all.idle();
    const closed = new Promise<void>((resolve) => this.calls.close(resolve));
    // It takes a turn of the event loop, which a program that has nothing else to do does not wait for.
    if (!this.waits) await closed;
  }

  setFaults(faults: Faults): void {
    this.calls.setFaults(
      faults.maxBytes ?? 0,
      faults.interrupts ?? 0,
      faults.again ?? 0,
      faults.delayMs ?? 0,
      faults.ringFull ?? 0,
      faults.heldSteps ?? 0,
    );
  }

  /** No slot is free, or others wait for one already. */
  get #full(): boolean {
    return this.#freeCount === 0 || this.#waitingAt < this.#waiting.length;
  }

  /** Takes the next free slot, whose descriptor is filled. */
  #take(who: Requester, resolve: Settle, reject: Reject): void {
    const slot = this.#freeSlots[--this.#freeCount];
    this.#resolvers[slot] = resolve;
    this.#rejecters[slot] = reject;
    this.#owners[slot] = who;
    this.#order[this.#pending++] = slot;
    if (this.#scheduled || this.#deferred) return;
    if (this.#units >= UNITS_A_TURN) {
      this.#defer();
      return;
    }
    this.#scheduled = true;
    READY.then(this.#flush);
  }

  #defer(): void {
    if (this.#deferred) return;
    this.#deferred = true;
    setImmediate(this.#nextTurn);
  }

  #handOver(): void {
    do {
      this.#again = false;
      const count = this.#pending;
      if (count === 0) return;
      this.#pending = 0;
      this.#units += count;
      const answered = this.calls.submit(count);
      if (answered > 0) this.#settle(answered);
    } while (this.#again && this.#units < UNITS_A_TURN);
    if (this.#again && this.#pending > 0) this.#defer();
    this.#again = false;
  }

  #settle(count: number): void {
    const completions = this.#completions;
    let last: RequestSink | null = null;
    this.#settling = true;
    for (let i = 0; i < count; i++) {
      const slot = completions[2 * i];
      const result = completions[2 * i + 1];
      const who = this.#owners[slot]!;
      const sink = this.#sinks[slot];
      this.#owners[slot] = null;
      if (result >= 0) this.#units += this.#float64[(slot << 3) + 3] >>> 13;
      if (sink !== null) {
        this.#sinks[slot] = null;
      } else if (result >= 0) {
        this.#resolvers[slot](result);
      } else {
        this.#rejecters[slot](this.#failure(slot, who, result));
      }
      this.#freeSlots[this.#freeCount++] = slot;
      who.done();
      this.#all.done();
      if (sink === null) continue;
      if (sink !== last && !this.#touched.includes(sink)) this.#touched.push(sink);
      last = sink;
      this.#callCompleted(sink, this.#tags[slot], result);
    }
    while (this.#waitingAt < this.#waiting.length && this.#freeCount > 0) this.#next();
    // Requests that a sink begins in `settled` are submitted afterwards, so no sink is added to the list meanwhile.
    for (const sink of this.#touched) this.#callSettled(sink);
    this.#touched.length = 0;
    this.#settling = false;
  }

  /** A sink that throws is reported, and must not keep the others from their results. */
  #callCompleted(sink: RequestSink, tag: number, result: number): void {
    try {
      sink.completed(tag, result);
    } catch (error) {
      reportUnexpected('request', error);
    }
  }

  #callSettled(sink: RequestSink): void {
    try {
      sink.settled();
    } catch (error) {
      reportUnexpected('request', error);
    }
  }

  /** The first request of the queue gets a slot that has become free. */
  #next(): void {
    const { words, who, resolve, reject } = this.#waiting[this.#waitingAt++];
    if (this.#waitingAt === this.#waiting.length || this.#waitingAt >= QUEUE_COMPACT) {
      this.#waiting.splice(0, this.#waitingAt);
      this.#waitingAt = 0;
    }
    this.#int32.set(words, this.#freeSlots[this.#freeCount - 1] << 4);
    this.#take(who, resolve, reject);
  }

  #failure(slot: number, who: Requester, errno: number): BlockError {
    const op = this.#int32[slot << 4];
    const operation = operationName(op, this.#int32[(slot << 4) + 9]);
    const offset = this.#float64[(slot << 3) + 1];
    const length = this.#float64[(slot << 3) + 3];
    const placed = !PLACELESS.has(op);
    return errnoError(errno, placed ? { operation, path: who.path, offset, length } : { operation, path: who.path });
  }
}

function unused(): void {}

export function closedError(operation: string, path: string): BlockError {
  return BlockError.at(path, 'closed', `${operation}: it is closed`, { operation });
}
