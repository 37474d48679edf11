// From a job type's driver to a running job: it takes what it needs of the graph first, and gives it back where that fails.

import type { NodeUser } from '../block/child.js';
import { toBlockError } from '../util/errors.js';
import type { JobDriver } from './driver.js';
import type { Job } from './job.js';
import type { JobManager, ManagedJobOptions } from './manager.js';

/** A driver that takes nodes before it runs. */
export interface LaunchableDriver extends JobDriver {
  begin(user: NodeUser): Promise<void>;
}

/**
 * Makes a job of `driver`, lets it take what it needs and starts it. Rejects with what `begin` rejects with (`busy`, `permission`,
 * `locked`, ...), with `exists` for the id and `invalid-argument` for the options; then nothing is left of it.
 */
export async function launchJob(
  manager: JobManager,
  driver: LaunchableDriver,
  options: Omit<ManagedJobOptions, 'driver'> = {},
): Promise<Job> {
  const job = manager.create({ ...options, driver });
  try {
    await driver.begin(job);
  } catch (cause) {
    const error = toBlockError(cause, { operation: driver.type });
    // What it took goes back; why it could not begin is what the caller must learn.
    await driver.clean?.().catch(() => undefined);
    job.abandon(error);
    throw error;
  }
  job.start();
  return job;
}
