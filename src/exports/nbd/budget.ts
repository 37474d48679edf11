// The memory that the requests of all connections of this process may take together. A connection whose request gets no memory waits, and
// is called again, in turn, when memory is given back. A slow connection is dropped only where others starve because of it.
//
//   connection --take(bytes)--> true: the request goes on
//                            \-> false: it waits ... give(bytes) --> connection.budgetFreed()
//                                          \-> for `STARVATION_MS`: of the connections with stalled clients, the one that holds most is dropped
//
// There are two reasons to wait. A connection that has reached its own limit waits for its own requests (`#full`). A connection that finds
// the total taken waits for the others, in a queue (`#queue`), and what is given back is for the head of this queue: as long as it is not
// empty, no other connection gets more than what is guaranteed to each. So the head gets what it needs, however large, and a connection that
// keeps on asking lines up behind it. The guaranteed share means that a connection always gets on, whatever the others hold.

import type { Clock } from '../../host/host.js';

/** A connection, as the budget sees it. */
export interface BudgetUser {
  /** Bytes that it has taken and not given back. */
  readonly bytesTaken: number;
  /** Bytes that its client has sent or taken since it came. */
  readonly bytesMoved: number;
  /** It holds its memory because its client does not send the rest of a payload, or does not take replies. */
  readonly waitsForClient: boolean;
  /** There may be memory again: it may ask. */
  budgetFreed(): void;
  /** Others starve because of what it holds: it has to end. */
  tooSlow(): void;
}

export interface BudgetLimits {
  /** Bytes of one connection. A single request may be larger. */
  connectionBytes: number;
  /** Bytes of all connections. */
  totalBytes: number;
  /** What a connection may take even where the others have taken everything: they cannot starve it. */
  guaranteedBytes: number;
}

/** For all servers of a process together: about what qemu-nbd takes for one client that asks for as much as it can. */
const PROCESS_LIMITS: BudgetLimits = {
  connectionBytes: 32 * 1024 * 1024,
  totalBytes: 128 * 1024 * 1024,
  guaranteedBytes: 1024 * 1024,
};
/** One for the real clock, one for each simulated one. */
const budgets = new WeakMap<Clock, Budget>();

/** The budget that all servers share which go by this clock. */
export function sharedBudget(clock: Clock): Budget {
  const known = budgets.get(clock);
  if (known !== undefined) return known;
  const made = new Budget(PROCESS_LIMITS, clock);
  budgets.set(clock, made);
  return made;
}

/** How long a connection may starve before a stalled peer is dropped. */
export const STARVATION_MS = 10_000;
/** A client that moves as many bytes in that time is not stalled. */
const ENOUGH_BYTES = 1024 * 1024;

export class Budget {
  readonly #limits: BudgetLimits;
  readonly #clock: Clock;
  #taken = 0;
  readonly #users = new Set<BudgetUser>();
  /** Connections that wait for others, the head first. Each keeps its place until it gets what it asks for. */
  readonly #queue = new Set<BudgetUser>();
  /** Connections that wait for their own requests. */
  readonly #full = new Set<BudgetUser>();
  #waking = false;
  /** The connection that is being called and has not asked yet. */
  #asking: BudgetUser | null = null;
  #cancelTimer: (() => void) | null = null;

  constructor(limits: BudgetLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Before it takes anything. */
  join(user: BudgetUser): void {
    this.#users.add(user);
  }

  /** True: `bytes` are `user`'s until it gives them back. Otherwise it waits, and `budgetFreed` is called when there may be some again. */
  take(user: BudgetUser, bytes: number): boolean {
    const own = user.bytesTaken + bytes;
    const { connectionBytes, guaranteedBytes } = this.#limits;
    if (own > connectionBytes && user.bytesTaken > 0) {
      this.#queue.delete(user);
      this.#full.add(user);
      return false;
    }
    if (own > guaranteedBytes && !this.#admits(user, bytes)) {
      this.#queue.add(user);
      if (this.#asking === user) this.#asking = null;
      if (this.#cancelTimer === null) this.#watch();
      return false;
    }
    if (this.#queue.size > 0) this.#queue.delete(user);
    this.#taken += bytes;
    return true;
  }

  /** True where none waits before it and there is room, or no connection has more than its guaranteed share: then there is nothing to wait for. */
  #admits(user: BudgetUser, bytes: number): boolean {
    if (this.#queue.size > 0) {
      const [head] = this.#queue;
      if (head !== user) return false;
    }
    const { totalBytes, guaranteedBytes } = this.#limits;
    if (this.#taken + bytes <= totalBytes) return true;
    let beyond = this.#taken;
    for (const { bytesTaken } of this.#users) beyond -= Math.min(bytesTaken, guaranteedBytes);
    return beyond <= 0;
  }

  give(bytes: number): void {
    this.#taken -= bytes;
    if (this.#queue.size > 0 || this.#full.size > 0) this.#wakeSoon();
  }

  /** Calls those that wait once for all that is given back in this turn, and never from within the call that gave it back. */
  #wakeSoon(): void {
    if (this.#waking) return;
    this.#waking = true;
    queueMicrotask(() => this.#wake());
  }

  /** `user` takes no more and waits no more; what it has is given back later. */
  leave(user: BudgetUser): void {
    this.#users.delete(user);
    this.#full.delete(user);
    if (this.#queue.delete(user) && this.#queue.size > 0) this.#wakeSoon();
    if (this.#users.size > 0) return;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }

  #wake(): void {
    this.#waking = false;
    for (const user of [...this.#full]) {
      this.#full.delete(user);
      user.budgetFreed();
    }
    // A connection that gets memory and asks for more comes again, at the end of the queue.
    for (const user of this.#queue) {
      this.#asking = user;
      user.budgetFreed();
      // It does not need its place any more.
      if (this.#asking === user) this.#queue.delete(user);
    }
    this.#asking = null;
  }

  /** Looks again after `STARVATION_MS`. If a connection is still starving then, one whose client is stalled is dropped. */
  #watch(): void {
    const before = new Map<BudgetUser, number>();
    for (const user of this.#users) before.set(user, user.bytesMoved);
    this.#cancelTimer = this.#clock.timer(STARVATION_MS, () => {
      this.#cancelTimer = null;
      if (this.#queue.size === 0) return;
      let worst: BudgetUser | null = null;
      for (const [user, moved] of before) {
        const stuck = this.#users.has(user) && user.waitsForClient && user.bytesMoved - moved < ENOUGH_BYTES;
        if (!stuck || user.bytesTaken <= this.#limits.guaranteedBytes) continue;
        if (worst === null || user.bytesTaken > worst.bytesTaken) worst = user;
      }
      this.#watch();
      worst?.tooSlow();
    });
  }
}
