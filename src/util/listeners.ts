// Listeners to events by name. One that throws, or whose promise rejects, is reported; the other listeners and the emitter go on.
//
//   on(name, listener) -> stop()                          `now(name)` keeps the listeners of this moment, so that one event
//   emit(name, data)   -> each listener, in their order    can be passed to the listeners of several names

import { reportUnexpected } from './diagnostics.js';

export type Listener<T> = (data: T) => unknown;

export class Listeners<Events extends object> {
  readonly #where: string;
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** `where`: the place that is named when a listener fails, see `reportUnexpected`. */
  constructor(where: string) {
    this.#where = where;
  }

  /** Adds a listener; the result removes it. One that was added twice is called twice. */
  on<K extends keyof Events>(name: K, listener: Listener<Events[K]>): () => void {
    let set = this.#listeners.get(name);
    if (set === undefined) {
      set = new Set();
      this.#listeners.set(name, set);
    }
    const own: Listener<never> = (data) => listener(data);
    set.add(own);
    return () => {
      set.delete(own);
    };
  }

  /** Calls all listeners to `name`. */
  emit<K extends keyof Events>(name: K, data: Events[K]): void {
    this.now(name)(data);
  }

  /** Returns a function that calls the present listeners to `name`, and none that are added later. */
  now<K extends keyof Events>(name: K): (data: Events[K]) => void {
    const listeners = [...(this.#listeners.get(name) ?? [])];
    return (data) => {
      for (const listener of listeners) this.#call(listener as Listener<Events[K]>, data);
    };
  }

  #call<T>(listener: Listener<T>, data: T): void {
    try {
      const result = listener(data);
      if (result instanceof Promise) result.catch((error: unknown) => reportUnexpected(this.#where, error));
    } catch (error) {
      reportUnexpected(this.#where, error);
    }
  }
}

/** Adds `listener`, by `on`, for the next event only; the result removes it. */
export function once<T>(on: (listener: Listener<T>) => () => void, listener: Listener<T>): () => void {
  const stop = on((data) => {
    stop();
    return listener(data);
  });
  return stop;
}
