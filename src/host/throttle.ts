// I/O limits with QEMU's parameters (docs/throttle.txt of QEMU): leaky buckets over the host's clock, and the queues of waiting requests. There is no
// timer for each request, but one for each direction and group, while a request waits.
//
//     members --admit()--> reads  [r r r] \          a request may go when no bucket of its direction is
//     (devices)            writes [w w]    > buckets  above its brim; then it is poured into all of them
//                                         /           (so one may overflow, and the next waits longer)
//
// A bucket leaks `average` a second. Its brim: without a burst rate what leaks in 100 ms; with one, max * maxLength.
// A burst longer than a second is itself limited to `max` a second, by a second bucket that leaks `max`.

import type { Clock } from './host.js';
import { type BucketLimits, parseThrottleLimits, type ThrottleLimits } from './throttle-config.js';

/** Without a burst rate, the amount of so many seconds may be used at once. */
const SLACK_SECONDS = 0.1;
const SHORTEST_MS = 0.001;

class Bucket {
  readonly limits: BucketLimits;
  #level = 0;
  #burstLevel = 0;

  constructor(limits: BucketLimits) {
    this.limits = limits;
  }

  concerns(isWrite: boolean): boolean {
    return this.limits.scope === 'total' || (this.limits.scope === 'write') === isWrite;
  }

  leak(elapsedMs: number): void {
    this.#level = Math.max(0, this.#level - (this.limits.average * elapsedMs) / 1000);
    this.#burstLevel = Math.max(0, this.#burstLevel - (this.limits.max * elapsedMs) / 1000);
  }

  pour(units: number): void {
    this.#level += units;
    if (this.limits.maxLength > 1) this.#burstLevel += units;
  }

  delayMs(): number {
    const { average, max, maxLength } = this.limits;
    const brim = max ? max * maxLength : average * SLACK_SECONDS;
    const delay = ((this.#level - brim) / average) * 1000;
    if (maxLength === 1) return delay;
    return Math.max(delay, ((this.#burstLevel - max * SLACK_SECONDS) / max) * 1000);
  }
}

interface Waiter {
  bytes: number;
  go: () => void;
}

/** One user of a group. Requests of one member and direction keep their order. */
export class ThrottleMember {
  readonly group: ThrottleGroup;
  /** Waiting reads and writes; the group takes them from here. */
  readonly queues: readonly [Waiter[], Waiter[]] = [[], []];
  /** Requests go at once, whatever the limits say. */
  #free = false;

  constructor(group: ThrottleGroup) {
    this.group = group;
  }

  /** `undefined`: the request may go at once, and was accounted. Otherwise resolves when the request may go. */
  admit(isWrite: boolean, bytes: number): Promise<void> | undefined {
    const queue = this.queues[isWrite ? 1 : 0];
    if (queue.length === 0 && (this.#free || this.group.tryAdmit(isWrite, bytes))) return undefined;
    return new Promise((go) => {
      queue.push({ bytes, go });
      this.group.schedule(isWrite);
    });
  }

  /** Its waiting requests go at once, and so do all later ones until `restrain`: somebody waits for the end of all of them. They are not accounted. */
  release(): void {
    this.#free = true;
    for (const queue of this.queues) for (const waiter of queue.splice(0)) waiter.go();
    this.group.reconsider();
  }

  /** The limits hold again. */
  restrain(): void {
    this.#free = false;
  }

  /** Leaves the group: its waiting requests go at once, and so do all later ones. */
  close(): void {
    this.release();
    this.group.leave(this);
  }
}

export class ThrottleGroup {
  readonly #clock: Clock;
  #limits: ThrottleLimits = {};
  #buckets: Bucket[] = [];
  #iopsSize = 0;
  #leakedMs = 0;
  #members: ThrottleMember[] = [];
  /** For reads and for writes: the index of the member whose turn it is, and the timer while a request waits. */
  readonly #turn = [0, 0];
  readonly #timers: [(() => void) | undefined, (() => void) | undefined] = [undefined, undefined];

  /** Throws `invalid-argument`. */
  constructor(clock: Clock, limits: ThrottleLimits = {}) {
    this.#clock = clock;
    this.config(limits);
  }

  get limits(): ThrottleLimits {
    return { ...this.#limits };
  }
  get memberCount(): number {
    return this.#members.length;
  }
  /** False: there is no limit, and `admit` need not be called. */
  get enabled(): boolean {
    return this.#buckets.length > 0;
  }

  /** Sets new limits for all members; buckets start empty, and waiting requests are checked again. Throws `invalid-argument`, and changes nothing then. */
  config(limits: ThrottleLimits): void {
    const { buckets, iopsSize } = parseThrottleLimits(limits);
    this.#limits = { ...limits };
    this.#buckets = buckets.map((bucket) => new Bucket(bucket));
    this.#iopsSize = iopsSize;
    this.#leakedMs = this.#clock.now();
    this.reconsider();
  }

  join(): ThrottleMember {
    const member = new ThrottleMember(this);
    this.#members.push(member);
    return member;
  }
  leave(member: ThrottleMember): void {
    this.#members = this.#members.filter((other) => other !== member);
    this.reconsider();
  }
  /** Checks the waiting requests again, and stops timers that are not needed any more. */
  reconsider(): void {
    this.#serve(false);
    this.#serve(true);
  }

  /** How long a request in this direction has to wait now; 0 = it may go. */
  delayMs(isWrite: boolean): number {
    this.#leak();
    return this.#delay(isWrite);
  }

  /** For members: accounts the request when it may go at once and none of the same direction waits. */
  tryAdmit(isWrite: boolean, bytes: number): boolean {
    if (this.#buckets.length === 0) return true;
    if (this.#timers[isWrite ? 1 : 0] !== undefined || this.delayMs(isWrite) > 0) return false;
    this.#pour(isWrite, bytes);
    return true;
  }

  /** For members: a request was queued. */
  schedule(isWrite: boolean): void {
    if (this.#timers[isWrite ? 1 : 0] === undefined) this.#serve(isWrite);
  }

  #leak(): void {
    const now = this.#clock.now();
    const elapsed = now - this.#leakedMs;
    if (elapsed <= 0) return;
    this.#leakedMs = now;
    for (const bucket of this.#buckets) bucket.leak(elapsed);
  }

  #delay(isWrite: boolean): number {
    let delay = 0;
    for (const bucket of this.#buckets) if (bucket.concerns(isWrite)) delay = Math.max(delay, bucket.delayMs());
    return delay < SHORTEST_MS ? 0 : delay;
  }

  #pour(isWrite: boolean, bytes: number): void {
    const operations = this.#iopsSize && bytes > this.#iopsSize ? bytes / this.#iopsSize : 1;
    for (const bucket of this.#buckets) {
      if (bucket.concerns(isWrite)) bucket.pour(bucket.limits.unit === 'bps' ? bytes : operations);
    }
  }

  /** Lets requests go that may, round robin over the members, with one clock reading; arms the timer for the next. */
  #serve(isWrite: boolean): void {
    const side = isWrite ? 1 : 0;
    this.#timers[side]?.();
    this.#timers[side] = undefined;
    this.#leak();
    for (let waiter = this.#next(side); waiter !== undefined; waiter = this.#next(side)) {
      const delay = this.#delay(isWrite);
      if (delay > 0) {
        this.#timers[side] = this.#clock.timer(delay, () => this.#serve(isWrite));
        return;
      }
      this.#members[this.#turn[side]].queues[side].shift();
      this.#turn[side]++;
      this.#pour(isWrite, waiter.bytes);
      waiter.go();
    }
  }

  /** Moves the turn on to a member that waits. */
  #next(side: 0 | 1): Waiter | undefined {
    const count = this.#members.length;
    for (let step = 0; step < count; step++) {
      const i = (this.#turn[side] + step) % count;
      const head = this.#members[i].queues[side][0];
      if (head !== undefined) {
        this.#turn[side] = i;
        return head;
      }
    }
    return undefined;
  }
}
