// Starts the jobs of a workspace, each of which uses an image until its end, and ends them with the workspace.

import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import type { Job as InnerJob } from '../jobs/job.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import { JobManager } from '../jobs/manager.js';
import { checkPriority, DEFAULT_PRIORITY, JobScheduler } from '../jobs/scheduler.js';
import { refuseAborted } from '../util/abort.js';
import { launchInTurn } from '../workspace/job-turns.js';
import { deviceOf, type Image } from './image.js';
import { type Job, type JobWatch, wrapJob } from './job.js';

/** A job that runs, and the target that was opened for it. */
export interface Begun {
  job: InnerJob;
  target: BlockNode | null;
}

/** One of the jobs that are started at one moment. */
export interface JobUse {
  image: Image;
  watch: JobWatch;
  priority: number | undefined;
}

export class JobDesk {
  readonly #graph: Graph;
  readonly #manager: JobManager;
  readonly #scheduler: JobScheduler | null;
  /** Jobs that are over, or will be, until they have released everything. */
  readonly #ending = new Set<Promise<unknown>>();

  constructor(graph: Graph, jobsPerDisk: number | undefined) {
    this.#graph = graph;
    this.#manager = new JobManager(graph.host.clock);
    this.#scheduler = jobsPerDisk === undefined ? null : new JobScheduler({ perDisk: jobsPerDisk });
  }

  /**
   * Starts jobs of one moment, each of which uses an image, and its target, until its end; `who` is what messages call such a job. Rejects with `cancelled` where
   * a signal says so, with `invalid-argument` for a bad priority, `closed`, and as `begin`.
   */
  async start(users: readonly JobUse[], who: string, begin: (env: JobEnvironment) => Promise<Begun[]>): Promise<Job[]> {
    for (const { watch } of users) refuseAborted(watch.signal);
    // Jobs that end together must not wait for each other's turn: the priority of the most urgent one is that of all.
    const env = this.#environment(Math.min(...users.map(({ priority = DEFAULT_PRIORITY }) => priority)));
    const releases = useAll(
      users.map(({ image }) => image),
      who,
    );
    try {
      const begun = await begin(env);
      return begun.map((one, i) => this.#follow(one, releases[i], users[i].watch));
    } catch (error) {
      for (const release of releases) release();
      throw error;
    }
  }

  /** Cancels all jobs, and resolves when each has released everything. */
  async endAll(): Promise<void> {
    await this.#manager.cancelAll();
    await Promise.allSettled(this.#ending);
  }

  #environment(priority: number): JobEnvironment {
    checkPriority(priority);
    const { host, warn } = this.#graph;
    const scheduler = this.#scheduler;
    const launch = scheduler === null ? undefined : launchInTurn(host, scheduler, priority);
    return { graph: this.#graph, manager: this.#manager, warn, launch };
  }

  #follow({ job, target }: Begun, release: () => void, watch: JobWatch): Job {
    const after = async (): Promise<void> => {
      release();
      if (target !== null) await this.#graph.release(target);
    };
    const over = job.done.then(after, after);
    this.#ending.add(over);
    const ended = (): void => {
      this.#ending.delete(over);
    };
    over.then(ended, ended);
    return wrapJob(job, () => over, watch);
  }
}

/** Uses all the images, or none. Throws `closed`. */
export function useAll(images: readonly Image[], who: string): (() => void)[] {
  const releases: (() => void)[] = [];
  try {
    for (const image of images) releases.push(deviceOf(image).use(who));
    return releases;
  } catch (error) {
    for (const release of releases) release();
    throw error;
  }
}
