// Requests, in batches. A request is a slot: a descriptor in the shared table and the two functions of its promise.
// Requests of one turn collect; a microtask submits them all with one call, and what the addon can answer at once
// (page-cache hits) is answered there and then. Everything else comes back as one call a batch.
//
//   start() -> slot -> order[] -- microtask --> submit(n) --> completions[] -> resolve / reject
//          \-> no slot free: waits in line               \--> later, onBatch(n) -/
import { BlockError } from '../../util/errors.js';
import type { Native, NativeEngine } from './binding.js';
import { errnoError } from './errno.js';
import { COMPLETION_BYTES, DESCRIPTOR_BYTES, Op, operationName } from './table.js';

/** On whose behalf a request runs: for its count and for errors. */
export class Requester {
  readonly path: string;
  inFlight = 0;
  #idle: (() => void)[] = [];

  constructor(path: string) {
    this.path = path;
  }

  /** One request less. */
  done(): void {
    if (--this.inFlight === 0 && this.#idle.length > 0) {
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  async idle(): Promise<void> {
    while (this.inFlight > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}

/** Knobs for tests: what is forced upon system calls. All zero: nothing. */
export interface Faults {
  /** A read or write moves at most so many bytes. */
  maxBytes?: number;
  /** So many of the next reads and writes fail with EINTR. */
  interrupts?: number;
  /** So many of the next ring completions and inline reads say EAGAIN. */
  again?: number;
  /** A worker waits so long before each request. */
  delayMs?: number;
  /** So many of the next requests find the ring full. */
  ringFull?: number;
}

type Settle = (result: number) => void;
type Reject = (error: BlockError) => void;

interface Waiting {
  op: number;
  who: Requester;
  fd: number;
  offset: number;
  address: number;
  length: number;
  flags: number;
  extra: number;
  offset2: number;
  address2: number;
  fd2: number;
  resolve: Settle;
  reject: Reject;
}

// The executor of every request's promise: one function for all, the result is picked up right after the call.
let lastResolve: Settle;
let lastReject: Reject;
function capture(resolve: Settle, reject: Reject): void {
  lastResolve = resolve;
  lastReject = reject;
}

const READY = Promise.resolve();
/** Work that is answered without going back to the event loop is limited to about 1 ms; a unit is a request or 8 KiB. */
const UNITS_A_TURN = 1024;
/** So many that have left the line are cut off its front in one go. */
const LINE_COMPACT = 4096;

export class Engine {
  readonly native: Native;
  readonly calls: NativeEngine;
  readonly ring: boolean;
  #int32: Int32Array;
  #float64: Float64Array;
  #order: Int32Array;
  #completions: Float64Array;
  #freeSlots: Int32Array;
  #freeCount: number;
  #resolvers: Settle[] = [];
  #rejecters: Reject[] = [];
  #owners: (Requester | null)[] = [];
  #pending = 0;
  #scheduled = false;
  #units = 0;
  #waiting: Waiting[] = [];
  #waitingAt = 0;
  #closed = false;
  /** Everything that runs on this engine, for `close`. */
  readonly #all = new Requester('host');
  readonly #flush = () => this.submit();
  readonly #nextTurn = () => {
    this.#units = 0;
    this.submit();
  };

  constructor(native: Native, ring: boolean, slots: number, inlineReadBytes: number) {
    this.native = native;
    this.ring = ring;
    const descriptors = new ArrayBuffer(slots * DESCRIPTOR_BYTES);
    const order = new ArrayBuffer(slots * 4);
    const completions = new ArrayBuffer(slots * COMPLETION_BYTES);
    this.#int32 = new Int32Array(descriptors);
    this.#float64 = new Float64Array(descriptors);
    this.#order = new Int32Array(order);
    this.#completions = new Float64Array(completions);
    this.#freeSlots = new Int32Array(slots);
    this.#freeCount = slots;
    for (let i = 0; i < slots; i++) {
      this.#freeSlots[i] = slots - 1 - i;
      this.#resolvers.push(unused);
      this.#rejecters.push(unused);
      this.#owners.push(null);
    }
    const onBatch = (count: number) => {
      this.#units = 0;
      this.#settle(count);
    };
    const made = native.createEngine(descriptors, order, completions, slots, ring, onBatch, inlineReadBytes);
    if (typeof made === 'number') throw errnoError(made, { operation: 'io_uring_setup', path: 'io_uring' });
    this.calls = made;
  }

  /** Starts one request. Resolves with its result (0, a length, ...); rejects with a `BlockError`. */
  start(
    op: number,
    who: Requester,
    fd: number,
    offset: number,
    address: number,
    length: number,
    flags = 0,
    extra = 0,
    offset2 = 0,
    address2 = 0,
    fd2 = -1,
  ): Promise<number> {
    const promise = new Promise<number>(capture);
    const resolve = lastResolve;
    const reject = lastReject;
    who.inFlight++;
    this.#all.inFlight++;
    if (this.#closed) {
      who.done();
      this.#all.done();
      reject(closedError(operationName(op, extra), who.path));
    } else if (this.#freeCount === 0 || this.#waitingAt < this.#waiting.length) {
      this.#waiting.push({
        op,
        who,
        fd,
        offset,
        address,
        length,
        flags,
        extra,
        offset2,
        address2,
        fd2,
        resolve,
        reject,
      });
    } else {
      this.#fill(op, who, fd, offset, address, length, flags, extra, offset2, address2, fd2, resolve, reject);
    }
    return promise;
  }

  /** Waits until nothing is in flight any more, then ends threads and ring. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#all.idle();
    await new Promise<void>((resolve) => this.calls.close(resolve));
  }

  setFaults(faults: Faults): void {
    this.calls.setFaults(
      faults.maxBytes ?? 0,
      faults.interrupts ?? 0,
      faults.again ?? 0,
      faults.delayMs ?? 0,
      faults.ringFull ?? 0,
    );
  }

  #fill(
    op: number,
    who: Requester,
    fd: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
    extra: number,
    offset2: number,
    address2: number,
    fd2: number,
    resolve: Settle,
    reject: Reject,
  ): void {
    const slot = this.#freeSlots[--this.#freeCount];
    const words = slot << 4;
    const doubles = slot << 3;
    this.#int32[words] = op;
    this.#int32[words + 1] = fd;
    this.#float64[doubles + 1] = offset;
    this.#float64[doubles + 2] = address;
    this.#float64[doubles + 3] = length;
    this.#int32[words + 8] = flags;
    this.#int32[words + 9] = extra;
    this.#float64[doubles + 5] = offset2;
    this.#float64[doubles + 6] = address2;
    this.#int32[words + 14] = fd2;
    this.#resolvers[slot] = resolve;
    this.#rejecters[slot] = reject;
    this.#owners[slot] = who;
    this.#order[this.#pending++] = slot;
    if (!this.#scheduled) {
      this.#scheduled = true;
      if (this.#units < UNITS_A_TURN) READY.then(this.#flush);
      else setImmediate(this.#nextTurn);
    }
  }

  /** Hands over what was begun. */
  submit(): void {
    this.#scheduled = false;
    const count = this.#pending;
    if (count === 0) return;
    this.#pending = 0;
    this.#units += count;
    const answered = this.calls.submit(count);
    if (answered > 0) this.#settle(answered);
  }

  #settle(count: number): void {
    const completions = this.#completions;
    for (let i = 0; i < count; i++) {
      const slot = completions[2 * i];
      const result = completions[2 * i + 1];
      const who = this.#owners[slot]!;
      const resolve = this.#resolvers[slot];
      const reject = this.#rejecters[slot];
      this.#owners[slot] = null;
      if (result >= 0) {
        this.#units += this.#float64[(slot << 3) + 3] >>> 13;
        resolve(result);
      } else {
        reject(this.#failure(slot, who, result));
      }
      this.#freeSlots[this.#freeCount++] = slot;
      who.done();
      this.#all.done();
    }
    while (this.#waitingAt < this.#waiting.length && this.#freeCount > 0) this.#next();
  }

  /** The first in line gets the slot that has become free. */
  #next(): void {
    const w = this.#waiting[this.#waitingAt++];
    if (this.#waitingAt === this.#waiting.length || this.#waitingAt >= LINE_COMPACT) {
      this.#waiting.splice(0, this.#waitingAt);
      this.#waitingAt = 0;
    }
    const { op, who, fd, offset, address, length, flags, extra, offset2, address2, fd2, resolve, reject } = w;
    this.#fill(op, who, fd, offset, address, length, flags, extra, offset2, address2, fd2, resolve, reject);
  }

  #failure(slot: number, who: Requester, errno: number): BlockError {
    const op = this.#int32[slot << 4];
    const operation = operationName(op, this.#int32[(slot << 4) + 9]);
    const offset = this.#float64[(slot << 3) + 1];
    const length = this.#float64[(slot << 3) + 3];
    const placed = op !== Op.open && op !== Op.close && op !== Op.dataSync;
    return errnoError(errno, placed ? { operation, path: who.path, offset, length } : { operation, path: who.path });
  }
}

function unused(): void {}

export function closedError(operation: string, path: string): BlockError {
  return new BlockError('closed', `${path}: ${operation}: it is closed`, { operation, path });
}
