// A job as the library hands it out.

import { JOB_EVENTS, type JobEventMap, type JobEventName } from '../jobs/events.js';
import type { Job } from '../jobs/job.js';
import type { ProgressSnapshot } from '../jobs/progress.js';
import type { BlockJobChangeOptionsMirror, JobStatus, JobType } from '../schema/generated/types.js';
import { bool, callback, choice, integer } from '../schema/shape.js';
import { validate } from '../schema/validate.js';

/** A running job. The verbs throw `bad-state` in a state that does not take them (QAPI `JobVerb`). */
export class JobHandle {
  /** Resolves when the job has succeeded and let go of everything; rejects with its error, `cancelled` where it was cancelled. */
  readonly done: Promise<void>;
  readonly #job: Job;

  /** `after` runs when the job is over, before `done` settles. */
  constructor(job: Job, after: () => Promise<void>) {
    this.#job = job;
    this.done = job.done.finally(after);
    // Whoever does not look at it is told by `on` and `status`.
    this.done.catch(() => undefined);
  }

  get id(): string {
    return this.#job.id;
  }
  get type(): JobType {
    return this.#job.type;
  }
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

  /** Listens to an event (`JOB_STATUS_CHANGE`, `BLOCK_JOB_READY`, ...); the result ends that. */
  on<K extends JobEventName>(name: K, listener: (data: JobEventMap[K]) => unknown): () => void {
    choice(...JOB_EVENTS)(name, 'name');
    callback()(listener, 'listener');
    return this.#job.on(name, listener);
  }

  /** Resolves when source and target agree for the first time (mirror, active commit); rejects where the job ends before. */
  ready(): Promise<void> {
    if (this.status === 'ready' || this.status === 'standby') return Promise.resolve();
    return new Promise((resolve, reject) => {
      const stop = this.on('BLOCK_JOB_READY', () => {
        stop();
        resolve();
      });
      this.done.then(resolve, reject);
    });
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
  /** Changes what a running job can change: a mirror's `copy-mode`. Throws `unsupported` where that is nothing, `invalid-argument`. */
  change(options: BlockJobChangeOptionsMirror): void {
    this.#job.change(validate('BlockJobChangeOptionsMirror', options, { suggest: true }));
  }
  /** Ends a ready job with its last step: a mirror's target takes the source's place. */
  complete(): Promise<void> {
    return this.#job.complete();
  }
  /** Ends the job; a ready mirror without `force` keeps a valid copy and does not pivot. Wait for `done`. */
  cancel(force = false): void {
    this.#job.cancel(bool(force, 'force'));
  }
  /** For jobs with `auto-finalize: false`. */
  finalize(): Promise<void> {
    return this.#job.finalize();
  }
  /** For jobs with `auto-dismiss: false`. */
  dismiss(): void {
    this.#job.dismiss();
  }
}
