// Listeners to events by name. One that throws, or whose promise rejects, harms neither the others nor what it listens to.

import { callback, choice } from '../schema/shape.js';
import { reportUnexpected } from '../util/diagnostics.js';

type Listener<T> = (data: T) => unknown;

export class Listeners<Events extends object> {
  readonly #names: readonly (keyof Events & string)[];
  readonly #listeners = new Map<string, Set<Listener<never>>>();

  constructor(...names: readonly (keyof Events & string)[]) {
    this.#names = names;
  }

  /** The result ends it. Throws `invalid-argument`. */
  on<K extends keyof Events & string>(name: K, listener: Listener<Events[K]>): () => void {
    choice(...this.#names)(name, 'name');
    callback()(listener, 'listener');
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set);
    // A wrapper of its own, so that one function can listen twice.
    const own: Listener<never> = (data) => listener(data);
    set.add(own);
    return () => {
      set.delete(own);
    };
  }

  /** The same for the next event only. */
  once<K extends keyof Events & string>(name: K, listener: Listener<Events[K]>): () => void {
    callback()(listener, 'listener');
    const stop = this.on(name, (data) => {
      stop();
      return listener(data);
    });
    return stop;
  }

  emit<K extends keyof Events & string>(name: K, data: Events[K]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        const result = (listener as Listener<Events[K]>)(data);
        if (result instanceof Promise) result.catch((error: unknown) => reportUnexpected('listener', error));
      } catch (error) {
        reportUnexpected('listener', error);
      }
    }
  }
}
