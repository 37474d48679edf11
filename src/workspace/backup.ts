// Starting backup jobs, of one image or of several as they are at one moment, to targets that are made for them, or exist.

import type { BlockNode } from '../block/node/node.js';
import { type BackupArguments, backupJob } from '../jobs/backup.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import { startJobs } from '../jobs/start.js';
import type { TargetJob } from './mirror.js';
import { orRelease } from './open.js';
import { type OpenedTarget, openTarget, type TargetPlan } from './target.js';

export interface BackupRequest {
  source: BlockNode;
  target: TargetPlan;
  args: Omit<BackupArguments, 'device' | 'target'>;
}

/**
 * Starts to copy each source, as it is now, to its target. Several are one transaction: all succeed, or all fail. Rejects as `openTarget`,
 * `busy`, ...: then no job is left, and what was made is gone.
 */
export async function startBackups(env: JobEnvironment, requests: readonly BackupRequest[]): Promise<TargetJob[]> {
  const targets: OpenedTarget[] = [];
  return orRelease(env.graph, targets, async () => {
    const list: BackupArguments[] = [];
    for (const { source, target, args } of requests) {
      const opened = await openTarget(env.graph, source, target, args.sync);
      targets.push(opened);
      list.push({ ...args, device: source.nodeName, target: opened.node.nodeName });
    }
    const jobs = await startJobs(env, backupJob, list);
    return jobs.map((job, i) => ({ job, target: targets[i].node }));
  });
}
