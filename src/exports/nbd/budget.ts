// Memory that the requests of all connections of this process may take together. Who gets nothing waits, and is woken in turn when something is
// given back. Nobody is disconnected for being slow, unless the others have to go without for it.
//
// Who waits for others stands in a queue. What is given back is for its head: as long as somebody waits, nobody else takes more than what is
// guaranteed to each, so that the head gets what it needs, however large, and who keeps on taking lines up behind.
//
//   connection --take(bytes)--> yes: goes on
//                            \-> no: waits ... give(bytes) --> connection.budgetFreed()
//                                         \-> for long, since all is taken: of those with stuck clients, the one who holds most is dropped

import type { Clock } from '../../host/host.js';

/** Somebody who takes memory. */
export interface BudgetUser {
  /** Bytes that it has taken, and not given back. */
  readonly bytesTaken: number;
  /** Bytes that its client has sent or taken since it came. */
  readonly bytesMoved: number;
  /** It keeps what it has since its client does not send the rest of a payload, or does not take replies. */
  readonly waitsForClient: boolean;
  /** There may be some again. */
  budgetFreed(): void;
  /** Others wait for what it keeps: it has to go. */
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

/** For all servers of a process together: about what qemu-nbd takes for one client that does its worst. */
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

/** Who has to wait for others is patient for so long. */
export const PATIENCE_MS = 10_000;
/** A client that moves as much in that time is not stuck. */
const ENOUGH_BYTES = 1024 * 1024;

export class Budget {
  readonly #limits: BudgetLimits;
  readonly #clock: Clock;
  #taken = 0;
  readonly #users = new Set<BudgetUser>();
  /** Who waits for others, the head first. Each keeps its place until it gets what it asks for. */
  readonly #queue = new Set<BudgetUser>();
  /** Who waits for what it has itself. */
  readonly #full = new Set<BudgetUser>();
  #waking = false;
  /** Who is being woken, and has not asked yet. */
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

  /** True: `bytes` are `user`'s until it gives them back. Otherwise it waits: it is called when there may be some again. */
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

  /** Nobody waits before it, and there is room, or nobody has more than what is guaranteed: then there is nothing to wait for. */
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

  /** Once for all that is given back in this turn, and never from within the giver's own work. */
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
    // Who gets something and asks for more is met again, at the end.
    for (const user of this.#queue) {
      this.#asking = user;
      user.budgetFreed();
      // It has no more use for its place.
      if (this.#asking === user) this.#queue.delete(user);
    }
    this.#asking = null;
  }

  /** Looks again after a time; as long as somebody waits for others, one of those whose clients did nothing in it goes. */
  #watch(): void {
    const before = new Map<BudgetUser, number>();
    for (const user of this.#users) before.set(user, user.bytesMoved);
    this.#cancelTimer = this.#clock.timer(PATIENCE_MS, () => {
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
