// Starts backup jobs: of one image, or of several as they are at one moment. The targets are created, or exist.

import { checkCompresses } from '../block/compression.js';
import type { BlockNode } from '../block/node/node.js';
import { knownDriver } from '../block/registry.js';
import { type BackupArguments, backupJob } from '../jobs/backup.js';
import { checkTarget } from '../jobs/backup-options.js';
import { checkJobArguments, type JobEnvironment } from '../jobs/job-type.js';
import { type BegunJobs, beginJobs, withClaims } from '../jobs/start.js';
import { JobTransaction } from '../jobs/transaction.js';
import type { TargetJob } from './mirror.js';
import { orRelease, undoOpening } from './open.js';
import { openTargets, type TargetPlan } from './target.js';

export interface BackupRequest {
  source: BlockNode;
  target: TargetPlan;
  args: Omit<BackupArguments, 'device' | 'target'>;
}

/** What is known of a backup's target before it is opened, or created. */
export interface ExpectedTarget {
  /** Undefined: probed when it is opened. */
  format?: string;
  /** Cluster size, 0 where it is not known. */
  clusterBytes: number;
}

/** Refuses arguments that no backup to such a target takes, before an image is opened. Throws `invalid-argument`, `unsupported`. */
export function checkBackup(args: BackupRequest['args'], { format, clusterBytes }: ExpectedTarget): void {
  const driver = format === undefined ? null : knownDriver(format);
  if (args.compress && driver !== null) checkCompresses(driver);
  checkJobArguments(backupJob, args, clusterBytes);
}

/** Backups that have begun, and their targets. */
export interface BegunBackups extends BegunJobs {
  readonly targets: readonly BlockNode[];
}

/**
 * Starts to copy each source, as it is now, to its target. Several jobs form one transaction: all succeed, or all fail. Rejects as
 * `openTargets`, with `busy`, ...: then there is no job, and the targets that were created are removed.
 */
export async function startBackups(env: JobEnvironment, requests: readonly BackupRequest[]): Promise<TargetJob[]> {
  const { jobs, targets, launch } = await beginBackups(env, requests, new JobTransaction());
  launch();
  return jobs.map((job, i) => ({ job, target: targets[i] }));
}

/** As `startBackups`, but for the last step. The jobs belong to `transaction`; what is abandoned leaves no target that was created. */
export async function beginBackups(
  env: JobEnvironment,
  requests: readonly BackupRequest[],
  transaction: JobTransaction,
): Promise<BegunBackups> {
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
      const { jobs, launch, abandon } = await beginJobs(own, backupJob, args, transaction);
      const abandonAll = async () => {
        await abandon();
        await undoOpening(own.graph, targets, jobs[0]?.error);
      };
      return { jobs, targets: targets.map(({ node }) => node), launch, abandon: abandonAll };
    });
  });
}
