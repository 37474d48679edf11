// Waiting for all that began before a moment, and for nothing that began later: counting by epochs.
//
//   epoch 1            | epoch 2
//   --a-----------.    |      `passed` begins epoch 2, and resolves when the counter of epoch 1, and of what is older, is zero:
//      --b--------|----|--.   a and b are over then
//          passed |----|--|-->
//                    --c--|-------   began later: it is not waited for
//
// What begins costs an increment, what ends a decrement. A wait is as long as the longest of those that it waits for: the counter of an epoch that is over
// only falls, so a load that never lets up does not prolong it.

import { assert } from './assert.js';
import { Waiters } from './waiters.js';

export class Epoch {
  /** What began in it and has not ended. */
  count = 0;
  readonly ended = new Waiters();

  /** One that began in it has ended. */
  leave(): void {
    if (--this.count > 0) return;
    assert(this.count === 0, 'what began in an epoch ends once');
    this.ended.wake();
  }
}

export class Epochs<E extends Epoch = Epoch> {
  readonly #make: () => E;
  #current: E;
  /** Earlier ones that are not known to be empty. */
  #older: E[] = [];

  constructor(make: () => E) {
    this.#make = make;
    this.#current = make();
  }

  /** Something begins: call `leave` of the result when it ends. */
  enter(): E {
    this.#current.count++;
    return this.#current;
  }

  /** Resolves when all has ended that began before this call. */
  async passed(): Promise<void> {
    if (this.#current.count > 0) {
      this.#older.push(this.#current);
      this.#current = this.#make();
    }
    for (const epoch of [...this.#older]) while (epoch.count > 0) await epoch.ended.wait();
    this.#older = this.#older.filter(({ count }) => count > 0);
  }
}
