// Events of jobs, under QAPI's names and with QAPI's data. A job has an emitter of its own, which hands everything on to its manager's.

import type {
  BlockJobCancelledEvent,
  BlockJobCompletedEvent,
  BlockJobErrorEvent,
  BlockJobPendingEvent,
  BlockJobReadyEvent,
  JobStatusChangeEvent,
} from '../schema/generated/types.js';
import { type Listener, Listeners } from '../util/listeners.js';

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

/** Events of one job that are kept for whoever comes later: the last ones, where there are more. */
const MAX_LOG = 1000;

export interface JobEventsOptions {
  /** Keeps past events, for `log`. */
  logs?: boolean;
  /** Receives every event after this emitter's own listeners. */
  parent?: JobEvents;
}

export class JobEvents {
  readonly #listeners = new Listeners<JobEventMap & { '*': JobEvent }>('job listener');
  readonly #queue: JobEvent[] = [];
  readonly #log: JobEvent[] | null;
  readonly #parent: JobEvents | undefined;
  #delivering = false;

  constructor(options: JobEventsOptions = {}) {
    this.#parent = options.parent;
    this.#log = options.logs ? [] : null;
  }

  /** What has happened, in order: all of it, or the last thousand events. */
  get log(): readonly JobEvent[] {
    return this.#log ?? [];
  }

  /** Adds a listener; the result removes it. */
  on<K extends JobEventName>(name: K, listener: Listener<JobEventMap[K]>): () => void {
    return this.#listeners.on<JobEventName>(name, listener as Listener<JobEventMap[JobEventName]>);
  }

  /** Adds a listener for all events. */
  onAny(listener: Listener<JobEvent>): () => void {
    return this.#listeners.on('*', listener);
  }

  /** Listeners are called in the order of the events: for one that a listener causes, after the current one. */
  emit<K extends JobEventName>(name: K, data: JobEventMap[K]): void {
    this.#queue.push({ event: name, data } as JobEvent);
    if (this.#delivering) return;
    this.#delivering = true;
    for (let event = this.#queue.shift(); event !== undefined; event = this.#queue.shift()) this.#deliver(event);
    this.#delivering = false;
  }

  #deliver(event: JobEvent): void {
    if (this.#log !== null && this.#log.push(event) > MAX_LOG) this.#log.shift();
    // Who begins to listen in one of the calls finds this event in the log.
    const [callOwn, callAll] = [this.#listeners.now(event.event), this.#listeners.now('*')];
    callOwn(event.data);
    callAll(event);
    this.#parent?.emit(event.event, event.data);
  }
}
