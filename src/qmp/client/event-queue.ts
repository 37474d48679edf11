// Events for one reader that takes them one after the other, in its own time.

import { BlockError } from '../../util/errors.js';
import { Waiters } from '../../util/waiters.js';
import type { AnyQmpEvent, QmpEventName } from './types.js';

/** Events that wait for the reader. */
const MAX_EVENTS = 16384;

export class EventQueue implements AsyncIterableIterator<AnyQmpEvent, undefined> {
  readonly #names: ReadonlySet<QmpEventName>;
  readonly #onEnd: () => void;
  readonly #arrivals = new Waiters();
  #events: AnyQmpEvent[] = [];
  #error: BlockError | null = null;
  #over = false;

  /** `names`: empty for all events. `onEnd` is called when the reader wants no more. */
  constructor(names: ReadonlySet<QmpEventName>, onEnd: () => void) {
    this.#names = names;
    this.#onEnd = onEnd;
  }

  push(event: AnyQmpEvent): void {
    if (this.#over || (this.#names.size > 0 && !this.#names.has(event.event))) return;
    if (this.#events.length < MAX_EVENTS) this.#events.push(event);
    else {
      this.#onEnd();
      this.end(new BlockError('limit', `more than ${MAX_EVENTS} events were not taken`, { operation: 'qmp' }));
    }
    this.#arrivals.wake();
  }

  /** No more events come: those that are there are still taken, and then `error` is thrown, if there is one. */
  end(error: BlockError | null): void {
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    this.#arrivals.wake();
  }

  async next(): Promise<IteratorResult<AnyQmpEvent, undefined>> {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) return { value: event, done: false };
      if (this.#error !== null) {
        const error = this.#error;
        this.#error = null;
        throw error;
      }
      if (this.#over) return { value: undefined, done: true };
      await this.#arrivals.wait();
    }
  }

  async return(): Promise<IteratorResult<AnyQmpEvent, undefined>> {
    this.#events = [];
    this.#onEnd();
    this.end(null);
    this.#error = null;
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
