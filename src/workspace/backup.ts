// Starts backup jobs: of one image, or of several as they are at one moment. The targets are created, or exist.

import type { BlockNode } from '../block/node/node.js';
import { type BackupArguments, backupJob, checkTarget } from '../jobs/backup.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import { startJobs, withClaims } from '../jobs/start.js';
import type { TargetJob } from './mirror.js';
import { orRelease } from './open.js';
import { openTargets, type TargetPlan } from './target.js';

export interface BackupRequest {
  source: BlockNode;
  target: TargetPlan;
  args: Omit<BackupArguments, 'device' | 'target'>;
}

/**
 * Starts to copy each source, as it is now, to its target. Several jobs form one transaction: all succeed, or all fail. Rejects as
 * `openTargets`, with `busy`, ...: then there is no job, and the targets that were created are removed.
 */
export async function startBackups(env: JobEnvironment, requests: readonly BackupRequest[]): Promise<TargetJob[]> {
  const list = requests.map(({ source, args }) => ({ ...args, device: source.nodeName }));
  return withClaims(env, backupJob, list, async (own) => {
    const targets = await openTargets(
      own.graph,
      requests.map(({ source, target: plan, args: { sync } }) => ({
        source,
        plan,
        sync,
        check: (target) => checkTarget(source, target),
      })),
    );
    return orRelease(own.graph, targets, async () => {
      const args = list.map((one, i) => ({ ...one, target: targets[i].node.nodeName }));
      const jobs = await startJobs(own, backupJob, args);
      return jobs.map((job, i) => ({ job, target: targets[i].node }));
    });
  });
}
