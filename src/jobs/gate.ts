// Where a job's workers wait: for the end of a pause, for the clock, for a verb. Knows nothing of states and verbs.
//
//   pauses > 0  and  somebody parked  and  nothing in flight   -->  paused (hooks.paused)
//   pauses = 0                                                 -->  hooks.resumed, then all parked workers go on
//
// A drain waits in `whenQuiet` until the job is paused, is in a drained section of its own, or does no work.

import type { Clock } from '../host/host.js';
import { cancelledError } from '../util/abort.js';
import { BlockError } from '../util/errors.js';
import { Waiters } from '../util/waiters.js';

export interface GateHooks {
  paused(): void;
  resumed(): void;
}

interface Parked {
  /** Begins I/O when it goes on. */
  io: boolean;
  go: () => void;
  fail: (error: BlockError) => void;
}

export class Gate {
  readonly #clock: Clock;
  readonly #hooks: GateHooks;
  #pauses = 0;
  #inFlight = 0;
  #drainedSections = 0;
  #atWork = false;
  #cancelled = false;
  #closed = false;
  #paused = false;
  #parked: Parked[] = [];
  #sleepers = new Set<() => void>();
  readonly #quietWaiters = new Waiters();
  readonly #idleWaiters = new Waiters();
  readonly #changes = new Waiters();

  constructor(clock: Clock, hooks: GateHooks) {
    this.#clock = clock;
    this.#hooks = hooks;
  }

  get pauseRequested(): boolean {
    return this.#pauses > 0 && !this.#cancelled && this.#drainedSections === 0;
  }
  get cancelled(): boolean {
    return this.#cancelled;
  }
  get paused(): boolean {
    return this.#paused;
  }
  /** Nothing of the job is, or can come to be, under way before the last pause ends. */
  get quiet(): boolean {
    return this.#paused || !this.#atWork || this.#drainedSections > 0;
  }

  begin(): void {
    this.#atWork = true;
  }

  /**
   * The job's `run` is over: workers that are still parked are rejected with `cancelled`. Resolves when no I/O is in flight and no pause is wanted;
   * with `evenPaused`, also where one is.
   */
  async end(evenPaused: boolean): Promise<void> {
    this.#closed = true;
    for (const parked of this.#parked.splice(0)) parked.fail(cancelledError());
    this.notify();
    while (this.#inFlight > 0) await this.#idleWaiters.wait();
    while (this.pauseRequested && !evenPaused) {
      await new Promise<void>((resolve) => {
        this.#parked.push({ io: false, go: resolve, fail: () => resolve() });
        this.#check();
      });
    }
    this.#atWork = false;
    this.#answerQuiet();
  }

  pause(): void {
    this.#pauses++;
    this.notify();
  }

  resume(): void {
    this.#pauses--;
    if (this.#pauses === 0) this.#release();
    this.notify();
  }

  /** All waits, now and later, reject with `cancelled`; a pause ends. */
  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#leavePause();
    for (const parked of this.#parked.splice(0)) parked.fail(cancelledError());
    this.notify();
  }

  /** Resolves when the job is quiet, or need not be quiet any more. */
  whenQuiet(): Promise<void> {
    if (this.quiet) return Promise.resolve();
    return this.#quietWaiters.wait();
  }

  async pausePoint(): Promise<void> {
    this.#checkOpen();
    while (this.pauseRequested) await this.#park(false);
    this.#checkOpen();
  }

  enterIo(): Promise<void> | undefined {
    this.#checkOpen();
    if (this.pauseRequested) return this.#park(true);
    this.#inFlight++;
    return undefined;
  }

  leaveIo(): void {
    if (this.#inFlight === 0) throw new BlockError('internal', 'leaveIo without enterIo');
    if (--this.#inFlight > 0) return;
    this.#idleWaiters.wake();
    this.#check();
  }

  async sleep(delayMs: number): Promise<void> {
    this.#checkOpen();
    if (!this.pauseRequested) await this.#rest(delayMs);
    await this.pausePoint();
  }

  /** Ends sleeps and resolves `changed()`. */
  notify(): void {
    const sleepers = [...this.#sleepers];
    this.#sleepers.clear();
    for (const wake of sleepers) wake();
    this.#changes.wake();
  }

  changed(): Promise<void> {
    return this.#changes.wait();
  }

  async drainedSection<T>(section: () => Promise<T>): Promise<T> {
    this.#drainedSections++;
    this.#answerQuiet();
    try {
      return await section();
    } finally {
      this.#drainedSections--;
    }
  }

  #checkOpen(): void {
    if (this.#cancelled || this.#closed) throw cancelledError();
  }

  #park(io: boolean): Promise<void> {
    return new Promise((go, fail) => {
      this.#parked.push({ io, go, fail });
      this.#check();
    });
  }

  #rest(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = delayMs === Number.POSITIVE_INFINITY ? undefined : this.#clock.timer(delayMs, () => wake());
      const wake = (): void => {
        cancel?.();
        this.#sleepers.delete(wake);
        resolve();
      };
      this.#sleepers.add(wake);
    });
  }

  #check(): void {
    if (this.#paused || !this.pauseRequested || this.#parked.length === 0 || this.#inFlight > 0) return;
    this.#paused = true;
    this.#hooks.paused();
    this.#answerQuiet();
  }

  #leavePause(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#hooks.resumed();
  }

  #release(): void {
    this.#leavePause();
    for (const parked of this.#parked.splice(0)) {
      if (parked.io) this.#inFlight++;
      parked.go();
    }
    this.#answerQuiet();
  }

  #answerQuiet(): void {
    if (!this.quiet && this.#pauses > 0) return;
    this.#quietWaiters.wake();
  }
}
