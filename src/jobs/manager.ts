// The jobs of one host, by id: creation, look-up, `query-jobs`. A job leaves when it is dismissed.

import type { Clock } from '../host/host.js';
import type { BlockJobInfo, JobInfo } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { JobEvents } from './events.js';
import { Job, type JobOptions } from './job.js';

/** A letter, then letters, digits, `-`, `.`, `_`: as every id of QEMU's. */
const ID = /^[A-Za-z][A-Za-z0-9._-]*$/;

/** Throws `invalid-argument`. */
function checkJobId(id: string): void {
  if (!ID.test(id)) throw new BlockError('invalid-argument', `Invalid job ID '${id}'`);
}

export interface ManagedJobOptions extends Omit<JobOptions, 'id' | 'clock' | 'events' | 'errorText'> {
  /** Default: the job's type and a number. */
  id?: string;
  /** The id was claimed for this job. */
  claimed?: boolean;
}

export class JobManager {
  /** Events of all jobs. */
  readonly events = new JobEvents();
  readonly #clock: Clock;
  readonly #errorText: JobOptions['errorText'];
  readonly #jobs = new Map<string, Job>();
  /** Ids of jobs whose targets are being made. */
  readonly #claimed = new Set<string>();
  #next = 0;

  /** `errorText`: of all jobs, see `JobOptions`. */
  constructor(clock: Clock, errorText?: JobOptions['errorText']) {
    this.#clock = clock;
    this.#errorText = errorText;
  }

  /** Makes a job in state `created`. Throws `invalid-argument` for a bad id or speed, `exists` where the id is taken. */
  create(options: ManagedJobOptions): Job {
    const { claimed = false, ...own } = options;
    const id = own.id ?? this.#autoId(own.driver.type);
    if (!claimed) this.checkFree(id);
    const events = new JobEvents({ parent: this.events, logs: true });
    const job = new Job({ ...own, id, clock: this.#clock, errorText: this.#errorText, events });
    this.#jobs.set(id, job);
    events.on('JOB_STATUS_CHANGE', ({ status }) => {
      if (status === 'null') this.#jobs.delete(id);
    });
    return job;
  }

  /** Keeps an id for a job that is about to be created with `claimed`, until `unclaim`. Throws `invalid-argument` for a bad id, `exists` where it is taken. */
  claim(id: string): void {
    this.checkFree(id);
    this.#claimed.add(id);
  }

  unclaim(id: string): void {
    this.#claimed.delete(id);
  }

  /** Throws `not-found`. */
  get(id: string): Job {
    const job = this.#jobs.get(id);
    if (job === undefined) throw new BlockError('not-found', 'Job not found');
    return job;
  }

  list(): Job[] {
    return [...this.#jobs.values()];
  }
  query(): JobInfo[] {
    return this.list().map((job) => job.info());
  }
  queryBlock(): BlockJobInfo[] {
    return this.list()
      .filter((job) => job.isBlockJob)
      .map((job) => job.blockInfo());
  }

  /** Cancels every job by force, and resolves when all are concluded. */
  async cancelAll(): Promise<void> {
    const jobs = this.list();
    for (const job of jobs) {
      if (!['aborting', 'concluded', 'null'].includes(job.status)) job.cancel(true);
    }
    await Promise.allSettled(jobs.map((job) => job.done));
  }

  /** Throws `invalid-argument` for a bad id, `exists` where it is taken. */
  checkFree(id: string): void {
    checkJobId(id);
    if (this.#jobs.has(id) || this.#claimed.has(id)) throw new BlockError('exists', `Job ID '${id}' already in use`);
  }

  #autoId(type: string): string {
    let id: string;
    do id = `${type}${this.#next++}`;
    while (this.#jobs.has(id) || this.#claimed.has(id));
    return id;
  }
}
