// Grace periods: space that was unmapped may be used again only when no request is under way that looked the mapping up before.
// Requests enter and leave; `settle` resolves when all that had entered before it was called have left.

import type { Stay } from '../../../block/types.js';

/** The requests of one period. */
export class Period implements Stay {
  count = 0;
  wake: (() => void) | null = null;
  /** The same period, to be left by a write. */
  readonly writing: Stay;

  constructor(written: Written) {
    this.writing = new WriteStay(this, written);
  }

  leave(): void {
    if (--this.count === 0) this.wake?.();
  }
}

/** Who is to know that something was written. */
interface Written {
  unflushed: boolean;
}

class WriteStay implements Stay {
  readonly #period: Period;
  readonly #written: Written;

  constructor(period: Period, written: Written) {
    this.#period = period;
    this.#written = written;
  }

  leave(): void {
    // Not sooner: a flush that began while the write was under way has not covered it.
    this.#written.unflushed = true;
    this.#period.leave();
  }
}

export class Grace {
  readonly #written: Written;
  #current: Period;
  /** Earlier periods that are not known to be over. */
  #older: Period[] = [];

  /** `written` is marked by each write that leaves. */
  constructor(written: Written) {
    this.#written = written;
    this.#current = new Period(written);
  }

  enter(): Stay {
    this.#current.count++;
    return this.#current;
  }

  enterToWrite(): Stay {
    this.#current.count++;
    return this.#current.writing;
  }

  /** One caller at a time. */
  async settle(): Promise<void> {
    this.#older.push(this.#current);
    this.#current = new Period(this.#written);
    while (this.#older.length > 0) {
      const period = this.#older[0];
      if (period.count > 0) {
        await new Promise<void>((resolve) => {
          period.wake = resolve;
        });
      }
      this.#older.shift();
    }
  }
}
