// Which jobs run at once, and in which order: a number of jobs per disk, by priority. For whole jobs only (npm's bottleneck starts
// a few hundred tasks a second); it keeps its own time, so nothing that runs on a simulated host uses it.
//
//   run(job, [sda, sdb]) --> queue of sda --> queue of sdb --> job.start() ... job.done --> both free
//
// Queues are entered in the order of their names, so that two jobs cannot wait for each other.

import type Bottleneck from 'bottleneck';
import { detach } from '../util/best-effort.js';
import { reportUnexpected } from '../util/diagnostics.js';
import { BlockError, toBlockError } from '../util/errors.js';
import type { Job } from './job.js';

export interface JobSchedulerOptions {
  /** Jobs that may run at once on one disk, at least 1. Default: 1. */
  perDisk?: number;
}

export interface ScheduleOptions {
  /** What the job reads and writes, by any name that is the same for the same disk. */
  disks: readonly string[];
  /** 0 (first) to 9. Default: 5. Equal ones run in the order of their arrival. */
  priority?: number;
}

interface Queue {
  limiter: Bottleneck;
  /** Jobs that run or wait in it; the last one takes it away. */
  users: number;
}

export const DEFAULT_PRIORITY = 5;

/** Throws `invalid-argument`. */
export function checkPriority(priority: number): void {
  if (!Number.isInteger(priority) || priority < 0 || priority > 9) {
    throw new BlockError('invalid-argument', `A job's priority is from 0 to 9, not ${priority}`);
  }
}

export class JobScheduler {
  readonly #perDisk: number;
  readonly #queues = new Map<string, Queue>();

  /** Throws `invalid-argument`. */
  constructor(options: JobSchedulerOptions = {}) {
    this.#perDisk = options.perDisk ?? 1;
    if (!Number.isSafeInteger(this.#perDisk) || this.#perDisk < 1) {
      throw new BlockError('invalid-argument', `Jobs per disk must be at least 1, not ${this.#perDisk}`);
    }
  }

  /** Disks with jobs that run or wait, and how many wait for each. */
  waiting(): Map<string, number> {
    return new Map([...this.#queues].map(([disk, queue]) => [disk, queue.limiter.queued()]));
  }

  /**
   * Starts a created job when its disks are free. Settles as `job.done` does; at once where the job is cancelled while it waits.
   * Rejects with `invalid-argument` for a bad priority.
   */
  async run(job: Job, options: ScheduleOptions): Promise<void> {
    const priority = options.priority ?? DEFAULT_PRIORITY;
    checkPriority(priority);
    const disks = [...new Set(options.disks)].sort();
    const { default: Limiter } = await import('bottleneck');
    let task = async (): Promise<void> => {
      if (job.status === 'created') job.start();
      // The next job's turn comes all the same; `run` rejects with the failure.
      await job.done.catch(() => undefined);
    };
    for (const disk of disks.reverse()) {
      const inner = task;
      const queue = this.#queues.get(disk) ?? { limiter: new Limiter({ maxConcurrent: this.#perDisk }), users: 0 };
      queue.users++;
      this.#queues.set(disk, queue);
      task = () => queue.limiter.schedule({ priority }, inner);
    }
    const over = task()
      .catch((error: unknown) => {
        if (job.status === 'created') job.abandon(toBlockError(error, { operation: 'schedule' }));
        else reportUnexpected('scheduler', error);
      })
      .then(() => {
        for (const disk of disks) this.#leave(disk);
      });
    detach('scheduler', over);
    await job.done;
  }

  #leave(disk: string): void {
    const queue = this.#queues.get(disk);
    if (queue !== undefined && --queue.users === 0) this.#queues.delete(disk);
  }
}
