// A job of the library.
//
//   const job = await backup(image, 'monday.qcow2', { create: { driver: 'qcow2' } })
//   job.on(...), job.events(), job.progress       what it does
//   job.pause(), job.setSpeed(), job.cancel()     the verbs of QAPI
//   await job.done                                its end
//
// A job is no promise: what starts one resolves when it runs (or waits for its turn), `done` when it is over.

import { inspect } from 'node:util';
import { JOB_EVENTS, type JobEvent, type JobEventMap, type JobEventName } from '../jobs/events.js';
import type { Job as InnerJob } from '../jobs/job.js';
import type { ProgressSnapshot } from '../jobs/progress.js';
import type { JobStatus, JobType, MirrorCopyMode } from '../schema/generated/types.js';
import { qapi } from '../schema/qapi-shape.js';
import { bool, callback, choice, integer, type Shape, takeSettings } from '../schema/shape.js';
import { detach } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { once } from '../util/listeners.js';
import { Waiters } from '../util/waiters.js';

/** What can be changed of a running job. */
export interface JobChange {
  /** A mirror's: `write-blocking` from now on. */
  copyMode: MirrorCopyMode;
}

/** How a program follows a job, and ends it. */
export interface JobWatch {
  /**
   * Cancels the job by force; its error (`cancelled`) has the signal's reason as its cause. With a signal that is aborted already, the call that starts
   * the job rejects so.
   */
  signal?: AbortSignal;
  /**
   * Is called with the bytes that are done, all of them, and how many of the first were copied (which is what the speed limit counts; the others were passed
   * over), at each change; the total may grow, and is 0 where there is nothing to copy.
   */
  onProgress?: (current: number, total: number, moved: number) => void;
}

const CHANGE: Shape<JobChange> = { copyMode: qapi('MirrorCopyMode') };

/** The states of a job that is over. */
const OVER: readonly JobStatus[] = ['concluded', 'null'];

/** Wraps a job. `after` runs when it is over, before `done` settles. */
export let wrapJob: (job: InnerJob, after: () => Promise<void>, watch: JobWatch) => Job;

/** A running job. The verbs throw `bad-state` in a state that does not take them (QAPI `JobVerb`). */
export class Job {
  readonly #job: InnerJob;
  readonly #ended: Promise<void>;
  /** As `#ended`, but a failure is an unhandled rejection until somebody waits. */
  readonly #done: Promise<void>;
  /** The program learns of a failure: it has asked for `done`, or `ready` has rejected. */
  #told = false;

  private constructor(job: InnerJob, after: () => Promise<void>, { signal, onProgress }: JobWatch) {
    this.#job = job;
    const stops = [this.#cancelBy(signal), this.#tellProgress(onProgress)];
    this.#ended = job.done.finally(async () => {
      for (const stop of stops) stop();
      await after();
    });
    this.#done = knownWhenCancelled(this.#ended);
  }

  static {
    wrapJob = (job, after, watch) => new Job(job, after, watch);
  }

  /**
   * Resolves when the job has succeeded and has released everything. Rejects with its error, `cancelled` where it was cancelled. A failure that
   * nobody waits for, here or with `ready`, `events` or `await using`, is an unhandled rejection, as of every promise; a cancellation is not.
   */
  get done(): Promise<void> {
    this.#told = true;
    return this.#done;
  }
  /** Name of the job: `jobId` of its settings, or its type and a number. */
  get id(): string {
    return this.#job.id;
  }
  /** `stream`, `commit`, `mirror` or `backup`. */
  get type(): JobType {
    return this.#job.type;
  }
  /** State of the job (docs/jobs.md); `null` once it is over and was dismissed. */
  get status(): JobStatus {
    return this.#job.status;
  }
  /** Bytes done and in all, rate, time that is left. */
  get progress(): ProgressSnapshot {
    return this.#job.progress.snapshot();
  }
  /** Rate limit in bytes a second, 0 = none. */
  get speed(): number {
    return this.#job.speed;
  }
  /** Why it failed; undefined where it has not. */
  get error(): BlockError | undefined {
    return this.#job.error;
  }

  /** Listens to an event (`JOB_STATUS_CHANGE`, `BLOCK_JOB_READY`, ...). Returns a function that ends the listening. Throws `invalid-argument`. */
  on<K extends JobEventName>(name: K, listener: (data: JobEventMap[K]) => unknown): () => void {
    choice(...JOB_EVENTS)(name, 'name');
    callback()(listener, 'listener');
    return this.#job.on(name, listener);
  }

  /** Listens to the next event of that name only. Returns as `on`. */
  once<K extends JobEventName>(name: K, listener: (data: JobEventMap[K]) => unknown): () => void {
    callback()(listener, 'listener');
    return once((own) => this.on(name, own), listener);
  }

  /**
   * All events in order, from the first one on (`created`), until the job is over and, where that is done without being asked, dismissed. Of more
   * than a thousand past ones the last thousand.
   */
  async *events(): AsyncGenerator<JobEvent, void, undefined> {
    this.#somebodyWaits();
    const queue = [...this.#job.log];
    const arrivals = new Waiters();
    const stop = this.#job.onAny((event) => {
      queue.push(event);
      arrivals.wake();
    });
    try {
      for (;;) {
        for (let event = queue.shift(); event !== undefined; event = queue.shift()) {
          yield event;
          if (this.#isLast(event)) return;
        }
        await arrivals.wait();
      }
    } finally {
      stop();
    }
  }

  /**
   * Resolves when source and target agree for the first time (mirror, active commit). Rejects with the job's error where it fails before, and with
   * `bad-state` where it ends otherwise, as jobs of other types do.
   */
  ready(): Promise<void> {
    this.#somebodyWaits();
    if (this.status === 'ready' || this.status === 'standby') return Promise.resolve();
    const ready = new Promise<void>((resolve) => this.once('BLOCK_JOB_READY', () => resolve()));
    const failed = this.#ended.then(
      () => {
        throw new BlockError('bad-state', `job '${this.id}' ended without becoming ready`);
      },
      (error: unknown) => {
        this.#told = true;
        throw error;
      },
    );
    return knownWhenCancelled(Promise.race([ready, failed]));
  }

  /** The job is at rest when its status is `paused` or `standby`. */
  pause(): void {
    this.#job.pause();
  }
  resume(): void {
    this.#job.resume();
  }
  /** Bytes a second from now on; 0 = no limit. */
  setSpeed(bytesPerSecond: number): void {
    this.#job.setSpeed(integer(0)(bytesPerSecond, 'bytesPerSecond'));
  }
  /** Changes a running mirror. Throws `unsupported` where a job has nothing to change, `invalid-argument`. */
  change(change: JobChange): void {
    const { copyMode } = takeSettings(CHANGE, change, 'change', ['copyMode']);
    this.#job.change({ 'copy-mode': copyMode });
  }
  /**
   * Asks a ready job for its last step: a mirror's target takes the source's place. Resolves when the job has agreed to that, not when it is done:
   * wait for `done`.
   */
  complete(): Promise<void> {
    return this.#job.complete();
  }
  /** Ends the job; a ready mirror without `force` keeps a valid copy and does not pivot. Wait for `done`. */
  cancel(force = false): void {
    this.#job.cancel(bool(force, 'force'));
  }
  /** For jobs with `autoFinalize: false`, once they are `pending`. Resolves when the last step is over; `done` says how it went. */
  finalize(): Promise<void> {
    return this.#job.finalize();
  }
  /** For jobs with `autoDismiss: false`. */
  dismiss(): void {
    this.#job.dismiss();
  }

  /**
   * Cancels the job by force where it is not over, and resolves when it is. Rejects where it has failed and `done` was never asked for, nor has
   * `ready` said so; not for having been cancelled.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelNow();
    if (!this.#told) this.#somebodyWaits();
    const [end] = await Promise.allSettled([this.#ended]);
    if (end.status === 'rejected' && !this.#told && toBlockError(end.reason).code !== 'cancelled') throw end.reason;
  }

  /** What `console.log` and `util.inspect` show. */
  [inspect.custom](_depth: number, options: object): string {
    const { id, type, status, progress } = this;
    return `Job ${inspect({ id, type, status, progress }, options)}`;
  }

  /** A failure is no unhandled rejection of `done` any more: the program learns of it in another way. */
  #somebodyWaits(): void {
    this.#done.catch(() => undefined);
  }

  #isLast({ event, data }: JobEvent): boolean {
    if (event !== 'JOB_STATUS_CHANGE') return false;
    return data.status === 'null' || (data.status === 'concluded' && !this.#job.autoDismiss);
  }

  #cancelBy(signal: AbortSignal | undefined): () => void {
    if (signal === undefined) return () => undefined;
    const abort = (): void => this.#cancelNow(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    return () => signal.removeEventListener('abort', abort);
  }

  /** Where it is too late for that, the job ends as it would have. */
  #cancelNow(reason?: unknown): void {
    if (OVER.includes(this.status) || this.status === 'aborting') return;
    try {
      this.#job.cancel(true, reason);
    } catch (error) {
      if (!(error instanceof BlockError) || error.code !== 'bad-state') throw error;
    }
  }

  #tellProgress(onProgress: JobWatch['onProgress']): () => void {
    if (onProgress === undefined) return () => undefined;
    const { progress } = this.#job;
    const tell = (): void => onProgress(progress.current, progress.total, progress.moved);
    detach('progress listener', Promise.resolve().then(tell));
    return progress.watch(tell);
  }
}

/** The same promise, whose rejection with `cancelled` need not be handled: whoever cancels a job knows that it fails. */
function knownWhenCancelled(end: Promise<void>): Promise<void> {
  const known: Promise<void> = end.catch((error: unknown) => {
    if (toBlockError(error).code === 'cancelled') known.catch(() => undefined);
    throw error;
  });
  return known;
}
