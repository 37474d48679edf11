// What a running job's driver is given: pause points, speed limit and error policy of one job.

import type { Clock } from '../host/host.js';
import type { RateLimit } from '../host/rate-limit.js';
import type { BlockErrorAction } from '../schema/generated/types.js';
import type { BlockError } from '../util/errors.js';
import type { ErrorDecision, JobContext, ProgressSink } from './driver.js';
import type { Gate } from './gate.js';

/** The job's side of its context. */
export interface ContextOwner {
  readonly shouldComplete: boolean;
  becomeReady(): void;
  /** Decides by policy, emits the event, and with `stop` asks for the pause. */
  actionOnError(error: BlockError, isRead: boolean, guestOffset?: number): BlockErrorAction;
}

export class Context implements JobContext {
  readonly clock: Clock;
  readonly progress: ProgressSink;
  readonly #owner: ContextOwner;
  readonly #gate: Gate;
  readonly #limit: RateLimit;

  constructor(owner: ContextOwner, gate: Gate, limit: RateLimit, progress: ProgressSink, clock: Clock) {
    this.#owner = owner;
    this.#gate = gate;
    this.#limit = limit;
    this.progress = progress;
    this.clock = clock;
  }

  get pauseRequested(): boolean {
    return this.#gate.pauseRequested;
  }
  get cancelled(): boolean {
    return this.#gate.cancelled;
  }
  get shouldComplete(): boolean {
    return this.#owner.shouldComplete;
  }
  get speed(): number {
    return this.#limit.speed;
  }

  pausePoint(): Promise<void> {
    return this.#gate.pausePoint();
  }
  enterIo(): Promise<void> | undefined {
    return this.#gate.enterIo();
  }
  leaveIo(): void {
    this.#gate.leaveIo();
  }

  async throttle(bytes: number): Promise<void> {
    await this.#gate.pausePoint();
    // Between the last look at the limit and the charge nobody else runs: workers cannot take the same share.
    for (let delay = this.#limit.delayMs(); delay > 0; delay = this.#limit.delayMs()) await this.#gate.sleep(delay);
    this.#limit.charge(bytes);
  }

  sleep(delayMs: number): Promise<void> {
    return this.#gate.sleep(delayMs);
  }
  wake(): void {
    this.#gate.notify();
  }
  changed(): Promise<void> {
    return this.#gate.changed();
  }
  ready(): void {
    this.#owner.becomeReady();
  }
  drainedSection<T>(section: () => Promise<T>): Promise<T> {
    return this.#gate.drainedSection(section);
  }

  async handleError(error: BlockError, isRead: boolean, guestOffset?: number): Promise<ErrorDecision> {
    if (error.code === 'cancelled') return 'report';
    const action = this.#owner.actionOnError(error, isRead, guestOffset);
    if (action !== 'stop') return action;
    await this.#gate.pausePoint();
    return 'retry';
  }
}
