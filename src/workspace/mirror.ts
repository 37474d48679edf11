// Starts a mirror job. Its target is created, or exists.

import type { BlockNode } from '../block/node/node.js';
import type { Job } from '../jobs/job.js';
import { checkJobArguments, type JobEnvironment } from '../jobs/job-type.js';
import { type MirrorArguments, mirrorJob } from '../jobs/mirror.js';
import { startJob, withClaims } from '../jobs/start.js';
import { orRelease } from './open.js';
import { openTargets, type TargetPlan } from './target.js';

export type MirrorRequest = Omit<MirrorArguments, 'device' | 'target'>;

/** A job, and the target that was opened for it. The caller releases the target when the job has concluded. */
export interface TargetJob {
  job: Job;
  target: BlockNode;
}

/** Refuses arguments that no mirror takes, before an image is opened. Throws `invalid-argument`, `unsupported`. */
export function checkMirror(request: MirrorRequest): void {
  checkJobArguments(mirrorJob, request);
}

/**
 * Starts to copy `source` to the target, and to keep the target in step with what is written meanwhile. Rejects as `openTargets`, with `busy`, ...:
 * then a target that was created is removed.
 */
export async function startMirror(
  env: JobEnvironment,
  source: BlockNode,
  plan: TargetPlan,
  request: MirrorRequest,
): Promise<TargetJob> {
  return withClaims(env, mirrorJob, [{ ...request, device: source.nodeName }], async (own) => {
    const [target] = await openTargets(own.graph, [{ source, plan, sync: request.sync }]);
    return orRelease(own.graph, [target], async () => {
      const nodes = { device: source.nodeName, target: target.node.nodeName };
      return { job: await startJob(own, mirrorJob, { ...request, ...nodes }), target: target.node };
    });
  });
}
