// Events of jobs, under QAPI's names and with QAPI's data. A job has an emitter of its own, which hands everything on to its
// manager's. A listener that throws, or whose promise rejects, harms neither the job nor other listeners.

import type {
  BlockJobCancelledEvent,
  BlockJobCompletedEvent,
  BlockJobErrorEvent,
  BlockJobPendingEvent,
  BlockJobReadyEvent,
  JobStatusChangeEvent,
} from '../schema/generated/types.js';
import { reportUnexpected } from '../util/diagnostics.js';

export interface JobEventMap {
  JOB_STATUS_CHANGE: JobStatusChangeEvent;
  BLOCK_JOB_READY: BlockJobReadyEvent;
  BLOCK_JOB_PENDING: BlockJobPendingEvent;
  BLOCK_JOB_COMPLETED: BlockJobCompletedEvent;
  BLOCK_JOB_CANCELLED: BlockJobCancelledEvent;
  BLOCK_JOB_ERROR: BlockJobErrorEvent;
}

export type JobEventName = keyof JobEventMap;
export const JOB_EVENTS: readonly JobEventName[] = [
  'JOB_STATUS_CHANGE',
  'BLOCK_JOB_READY',
  'BLOCK_JOB_PENDING',
  'BLOCK_JOB_COMPLETED',
  'BLOCK_JOB_CANCELLED',
  'BLOCK_JOB_ERROR',
];
/** `{event, data}` as QMP sends it (without the timestamp). */
export type JobEvent = { [name in JobEventName]: { event: name; data: JobEventMap[name] } }[JobEventName];
type Listener<T> = (data: T) => unknown;

/** Events of one job that are kept for whoever comes later: the last ones, where there are more. */
const MAX_LOG = 1000;

export interface JobEventsOptions {
  /** Keeps past events, for `log`. */
  logs?: boolean;
  /** Gets every event after this emitter's own listeners. */
  parent?: JobEvents;
  /** Told what a listener threw; what this throws in turn is dropped. */
  onListenerError?: (error: unknown) => void;
}

export class JobEvents {
  readonly #listeners = new Map<JobEventName | '*', Set<Listener<never>>>();
  readonly #queue: JobEvent[] = [];
  readonly #log: JobEvent[] | null;
  #telling = false;
  readonly #parent: JobEvents | undefined;
  readonly #onListenerError: ((error: unknown) => void) | undefined;

  constructor(options: JobEventsOptions = {}) {
    this.#parent = options.parent;
    this.#log = options.logs ? [] : null;
    this.#onListenerError = options.onListenerError;
  }

  /** What has happened, in order: all of it, or the last thousand events. */
  get log(): readonly JobEvent[] {
    return this.#log ?? [];
  }

  /** Adds a listener; the result takes it away. */
  on<K extends JobEventName>(name: K, listener: Listener<JobEventMap[K]>): () => void {
    return this.#add(name, listener);
  }

  /** Adds a listener for all events. */
  onAny(listener: Listener<JobEvent>): () => void {
    return this.#add('*', listener);
  }

  /** Listeners are called in the order of the events: for one that a listener causes, after the current one. */
  emit<K extends JobEventName>(name: K, data: JobEventMap[K]): void {
    this.#queue.push({ event: name, data } as JobEvent);
    if (this.#telling) return;
    this.#telling = true;
    for (let event = this.#queue.shift(); event !== undefined; event = this.#queue.shift()) this.#deliver(event);
    this.#telling = false;
  }

  #deliver(event: JobEvent): void {
    if (this.#log !== null && this.#log.push(event) > MAX_LOG) this.#log.shift();
    const own = [...(this.#listeners.get(event.event) ?? [])];
    const all = [...(this.#listeners.get('*') ?? [])];
    for (const listener of own) this.#call(listener as Listener<unknown>, event.data);
    for (const listener of all) this.#call(listener as Listener<unknown>, event);
    this.#parent?.emit(event.event, event.data);
  }

  #add(name: JobEventName | '*', listener: Listener<never>): () => void {
    let set = this.#listeners.get(name);
    if (set === undefined) {
      set = new Set();
      this.#listeners.set(name, set);
    }
    // A wrapper of its own, so that one function can listen twice and be taken away once.
    const own: Listener<never> = (data) => listener(data);
    set.add(own);
    return () => {
      set.delete(own);
    };
  }

  #call<T>(listener: Listener<T>, data: T): void {
    try {
      const result = listener(data);
      if (result instanceof Promise) result.catch((error: unknown) => this.#tell(error));
    } catch (error) {
      this.#tell(error);
    }
  }

  #tell(error: unknown): void {
    if (this.#onListenerError === undefined) {
      reportUnexpected('job listener', error);
      return;
    }
    try {
      this.#onListenerError(error);
    } catch (failure) {
      reportUnexpected('job listener', failure);
    }
  }
}
