// Grace periods: space that was unmapped may be used again only when no request is under way that looked the mapping up before.
// Requests enter and leave; `settle` resolves when all that had entered before it was called have left.

export interface Visit {
  count: number;
  wake: (() => void) | null;
}

export class Grace {
  #current: Visit = { count: 0, wake: null };
  /** Earlier periods that are not known to be over. */
  #older: Visit[] = [];

  enter(): Visit {
    this.#current.count++;
    return this.#current;
  }

  leave(visit: Visit): void {
    if (--visit.count === 0) visit.wake?.();
  }

  /** One caller at a time. */
  async settle(): Promise<void> {
    this.#older.push(this.#current);
    this.#current = { count: 0, wake: null };
    while (this.#older.length > 0) {
      const visit = this.#older[0];
      if (visit.count > 0) {
        await new Promise<void>((resolve) => {
          visit.wake = resolve;
        });
      }
      this.#older.shift();
    }
  }
}
