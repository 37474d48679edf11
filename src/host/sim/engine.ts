// Time and order on the simulated host. Every request and every timer is an event with a due time; the seed chooses how long a
// request takes, hence the order of the answers. The clock stands still while anything can run and then jumps to the next event.
//
//   submit -> [effect at once, or split] -> ... latency ... -> [effect] -> answer        heap of events (due, number)
//                 by the seed                                                                ^ timers live there as well
//
// Eager mode has no schedule: a request takes effect when it is made, and is answered in a microtask; only timers wait.

import { crc32 } from 'node:zlib';
import { BlockError, codeOfErrno } from '../../util/errors.js';
import type { Clock } from '../host.js';
import { FaultInjector, type FaultPlan, type SimOperation, type SimRequest } from './faults.js';
import { EventHeap, type SimEvent } from './heap.js';
import { Random } from './random.js';

/** The simulated machine lost its power: requests in flight are never answered. `SimHost.crash` returns the machine after it. */
export class SimPowerLoss extends Error {
  override readonly name = 'SimPowerLoss';
}

export interface EngineOptions {
  seed: number;
  eager: boolean;
  manualClock: boolean;
  faults: FaultPlan;
  log: boolean;
  onRequest?: (request: SimRequest) => { errno?: string; powerLoss?: boolean; delayMs?: number } | undefined;
}

export interface LogEntry extends SimRequest {
  timeMs: number;
  /** Set when the answer was given: `ok` or the error's name. */
  outcome?: string;
}

/** The parts of one request. */
export interface Work<T> {
  operation: SimOperation;
  path: string;
  offset?: number;
  length?: number;
  /** Data that is included in the run's trace. */
  traced?: Uint8Array;
  /** Called first of all. */
  issued?: () => void;
  /** Called when the request is issued on a schedule; returns true when it has taken full effect already. */
  start?: () => boolean;
  /** Makes the request take effect, and returns its result, or throws its error. `early`: `start` returned true. */
  finish: (early: boolean) => T;
  /** Called instead where a fault is injected: makes the changes that a failed request leaves. */
  fail?: () => void;
  /** Called just before the answer, whatever it is. */
  settled?: () => void;
}

/** Wall clock at the start of every run: 2024-01-01. */
const WALL_START_SECONDS = 1_704_067_200;
/** Answers that are due this close together arrive as one batch. */
const BATCH_MS = 0.01;

/** A promise that never settles. A new one each time: a shared one would collect the reactions of all callers forever. */
function never(): Promise<never> {
  return new Promise(() => {});
}

export class SimEngine implements Clock {
  readonly random: Random;
  readonly injector: FaultInjector;
  readonly counts: Partial<Record<SimOperation, number>> = {};
  readonly log: LogEntry[] = [];
  readonly options: EngineOptions;
  /** Requests issued so far. */
  requests = 0;
  /** Counts answers; it orders answers and flushes. */
  tick = 0;
  dead = false;
  private trace = 0;
  private readonly heap = new EventHeap();
  private timeMs = 0;
  private pumping = false;
  private running = false;
  private readonly powerLost: Promise<void>;
  private losePower: () => void = () => {};

  constructor(options: EngineOptions) {
    this.options = options;
    this.random = new Random(options.seed, 1);
    this.injector = new FaultInjector(options.faults, new Random(options.seed, 2));
    this.powerLost = new Promise((resolve) => {
      this.losePower = resolve;
    });
  }

  now(): number {
    return this.timeMs;
  }

  wall(): { seconds: number; nanoseconds: number } {
    const seconds = Math.floor(this.timeMs / 1000);
    return {
      seconds: WALL_START_SECONDS + seconds,
      nanoseconds: Math.floor((this.timeMs - seconds * 1000) * 1e6),
    };
  }

  timer(delayMs: number, callback: () => void): () => void {
    // A timer that is never due must not make the clock jump to infinity.
    if (delayMs === Number.POSITIVE_INFINITY) return () => {};
    const event = this.heap.push(this.timeMs + Math.max(0, delayMs), callback);
    this.pump();
    return () => this.heap.cancel(event);
  }

  /** A checksum of everything that the run did so far: equal seeds have equal traces. */
  traceHash(): string {
    return (this.trace >>> 0).toString(16).padStart(8, '0');
  }

  powerOff(): void {
    if (this.dead) return;
    this.dead = true;
    this.heap.clear();
    this.losePower();
  }

  /** Drops all timers and all answers that are due. */
  stop(): void {
    this.heap.clear();
  }

  submit<T>(work: Work<T>): Promise<T> {
    if (this.dead) return never();
    const request: SimRequest = {
      number: ++this.requests,
      operation: work.operation,
      path: work.path,
      offset: work.offset ?? 0,
      length: work.length ?? 0,
    };
    work.issued?.();
    this.counts[work.operation] = (this.counts[work.operation] ?? 0) + 1;
    const entry = this.record(request, work.traced);
    const asked = this.options.onRequest?.(request);
    const verdict = asked?.powerLoss
      ? 'power-loss'
      : asked?.errno !== undefined
        ? { errno: asked.errno }
        : this.injector.decide(request);
    const early = !this.options.eager && verdict === undefined && work.start?.() === true;
    if (verdict === 'power-loss') {
      this.powerOff();
      return never();
    }
    // The error is made here, and not when the request is answered, so that its stack shows the caller.
    const failure = verdict === undefined ? undefined : systemError(verdict.errno, request);
    return new Promise<T>((resolve, reject) => {
      const answer = () => {
        this.tick++;
        try {
          if (failure !== undefined) {
            work.fail?.();
            throw failure;
          }
          const result = work.finish(early);
          work.settled?.();
          if (entry !== undefined) entry.outcome = 'ok';
          resolve(result);
        } catch (error) {
          work.settled?.();
          if (entry !== undefined) entry.outcome = error instanceof BlockError ? (error.errno ?? error.code) : 'bug';
          reject(error);
        }
      };
      if (this.options.eager && asked?.delayMs === undefined) answer();
      else this.heap.push(this.timeMs + this.latency(work.operation) + (asked?.delayMs ?? 0), answer);
      this.pump();
    });
  }

  /** Drives the run until `promise` settles. */
  async run<T>(promise: Promise<T>): Promise<T> {
    if (this.options.eager) {
      const lost = this.powerLost.then(() => Promise.reject(this.lossError()));
      return Promise.race([promise, lost]);
    }
    if (this.running) throw new Error('SimHost.run: the host is being run already');
    this.running = true;
    try {
      let settled = false;
      const done = () => {
        settled = true;
      };
      promise.then(done, done);
      for (;;) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        if (settled) return await promise;
        if (this.dead) throw this.lossError();
        if (!this.step()) {
          throw new Error(
            `SimHost.run: deadlock: nothing is in flight, no timer is set, and the promise is not settled (seed ${this.options.seed})`,
          );
        }
      }
    } finally {
      this.running = false;
    }
  }

  /** Runs the events of the next `ms` milliseconds, one batch after the other. */
  async advance(ms: number): Promise<void> {
    const end = this.timeMs + ms;
    for (;;) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      const due = this.heap.nextDue();
      if (due === undefined || due > end) break;
      this.step();
    }
    this.timeMs = Math.max(this.timeMs, end);
  }

  /** Runs the next batch of events; false if there is none. */
  private step(): boolean {
    const due = this.heap.nextDue();
    if (due === undefined) return false;
    this.timeMs = Math.max(this.timeMs, due);
    const batchEnd = this.timeMs + BATCH_MS;
    const batch: SimEvent[] = [];
    for (let next = this.heap.nextDue(); next !== undefined && next <= batchEnd; next = this.heap.nextDue()) {
      batch.push(this.heap.pop());
      if (next > this.timeMs) this.timeMs = next;
    }
    for (const event of batch) {
      // An event of this batch may have cancelled a timer that comes after it.
      const { callback } = event;
      event.callback = undefined;
      if (!this.dead) callback?.();
    }
    return true;
  }

  /** In eager mode, fires timers, in order, whenever nothing else can run. */
  private pump(): void {
    if (!this.options.eager || this.options.manualClock || this.pumping || this.heap.nextDue() === undefined) return;
    this.pumping = true;
    setImmediate(() => {
      this.pumping = false;
      this.step();
      this.pump();
    });
  }

  private latency(operation: SimOperation): number {
    const { random } = this;
    const base = operation === 'flush' ? 0.5 : 0.02;
    const tail = random.chance(1 / 16) ? 20 : 1;
    return base + random.fraction() * tail + this.injector.lateness();
  }

  private record(request: SimRequest, bytes: Uint8Array | undefined): LogEntry | undefined {
    if (!this.options.eager) {
      const text = `${request.operation} ${request.path} ${request.offset} ${request.length} ${this.timeMs}`;
      this.trace = crc32(text, this.trace);
      if (bytes !== undefined) this.trace = crc32(bytes, this.trace);
    }
    if (!this.options.log) return undefined;
    const entry: LogEntry = { ...request, timeMs: this.timeMs };
    this.log.push(entry);
    return entry;
  }

  private lossError(): SimPowerLoss {
    return new SimPowerLoss(`power loss at request ${this.requests} (seed ${this.options.seed})`);
  }
}

export function systemError(
  errno: string,
  request: Pick<SimRequest, 'operation' | 'path' | 'offset' | 'length'>,
): BlockError {
  const { operation, path, offset, length } = request;
  const where = length > 0 ? ` (${length} bytes at ${offset})` : '';
  return new BlockError(codeOfErrno(errno), `${operation} failed on ${path}${where}: ${errno}`, {
    operation,
    path,
    offset,
    length,
    errno,
  });
}
