// Starts a job of a type that is known by its name, on nodes that are open: all that its arguments name are nodes or layers of the chain.

import type { Job } from '../jobs/job.js';
import type { CommonArguments, JobEnvironment } from '../jobs/job-type.js';
import { findJobType } from '../jobs/registry.js';
import { startJob } from '../jobs/start.js';

/** Rejects with `invalid-argument` for an unknown type, and as `startJob`. */
export function startNamedJob<A extends CommonArguments>(env: JobEnvironment, type: string, args: A): Promise<Job> {
  return startJob(env, findJobType<A>(type), args);
}
