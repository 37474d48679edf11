// Scheduled jobs: a job, or the jobs of one transaction, start when the scheduler has a free turn on all disks that their nodes are stored on.
//
//   nodes --> the disk of each node's storage --> scheduler: a turn on all of these --> the first job starts --> and with it the others

import { storageOf } from '../block/chain.js';
import type { BlockNode } from '../block/node/node.js';
import type { Host } from '../host/host.js';
import type { Job } from '../jobs/job.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import type { JobScheduler } from '../jobs/scheduler.js';
import { bestEffort, orElse } from '../util/best-effort.js';

/** Returns a `launch` function that starts jobs by `scheduler`; `priority` is from 0 (first) to 9. */
export function launchInTurn(
  host: Host,
  scheduler: JobScheduler,
  priority: number,
): NonNullable<JobEnvironment['launch']> {
  return ([first, ...others]: readonly Job[], nodes) => {
    first.on('JOB_STATUS_CHANGE', ({ status }) => {
      if (status === 'running') for (const job of others) if (job.status === 'created') job.start();
    });
    // The job's own handle reports how it ends.
    const run = disksOf(host, nodes).then((disks) => scheduler.run(first, { disks, priority }));
    run.catch(bestEffort('scheduler'));
  };
}

/** A name for each disk that the nodes are stored on. Never rejects: where the disk of a file cannot be found out, the file's path is used. */
async function disksOf(host: Host, nodes: readonly BlockNode[]): Promise<string[]> {
  const disks = new Set<string>();
  for (const node of nodes) {
    const file = storageOf(node).hostFile();
    if (file === null) continue;
    const disk =
      file.kind === 'block' ? host.realPath(file.path) : file.info().then(({ id }) => id.slice(0, id.indexOf(':')));
    disks.add(await disk.catch(orElse('scheduler', file.path)));
  }
  return [...disks];
}
