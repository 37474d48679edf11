// Memory that the requests of all connections may take together. Who gets nothing waits, and is woken in turn when something is
// given back; nobody is disconnected for it.
//
//   connection --take(bytes)--> yes: goes on
//                            \-> no: wait(connection) ... give(bytes) --> connection.budgetFreed()

/** Somebody who waits for memory. */
export interface BudgetUser {
  /** Bytes that it has taken. */
  readonly bytesTaken: number;
  /** There may be some again. */
  budgetFreed(): void;
}

export interface BudgetLimits {
  /** Bytes of one connection. A single request may be larger. */
  connectionBytes: number;
  /** Bytes of all connections. */
  totalBytes: number;
  /** What a connection may take even where the others have taken everything: they cannot starve it. */
  guaranteedBytes: number;
}

export class Budget {
  readonly #limits: BudgetLimits;
  #taken = 0;
  #waiting = new Set<BudgetUser>();
  #waking = false;

  constructor(limits: BudgetLimits) {
    this.#limits = limits;
  }

  get taken(): number {
    return this.#taken;
  }

  /** True: `bytes` are `user`'s until it gives them back. */
  take(user: BudgetUser, bytes: number): boolean {
    const own = user.bytesTaken + bytes;
    const { connectionBytes, totalBytes, guaranteedBytes } = this.#limits;
    if (own > connectionBytes && user.bytesTaken > 0) return false;
    if (this.#taken + bytes > totalBytes && own > guaranteedBytes) return false;
    this.#taken += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#taken -= bytes;
    if (this.#waiting.size === 0 || this.#waking) return;
    // Once for all that is given back in this turn, and never from within the giver's own work.
    this.#waking = true;
    queueMicrotask(() => this.#wake());
  }

  /** `user` is called when something was given back. */
  wait(user: BudgetUser): void {
    this.#waiting.add(user);
  }

  /** `user` does not wait any more. */
  leave(user: BudgetUser): void {
    this.#waiting.delete(user);
  }

  #wake(): void {
    this.#waking = false;
    // Who gets nothing again lines up behind the others.
    for (const user of [...this.#waiting]) {
      this.#waiting.delete(user);
      user.budgetFreed();
    }
  }
}
