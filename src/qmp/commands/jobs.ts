// Verbs of jobs, and the lists of them. The block-job commands are the older names: `device` is the job's id.

import type { Job } from '../../jobs/job.js';
import { BlockError } from '../../util/errors.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';

/** Throws `not-active`. */
export function blockJob({ manager }: QmpContext, device: string): Job {
  const found = manager.list().find(({ id, isBlockJob }) => isBlockJob && id === device);
  if (found !== undefined) return found;
  throw new BlockError('not-active', `Block job '${device}' not found`);
}

export const JOB_COMMANDS = {
  'job-pause': ({ manager }, { id }) => manager.get(id).pause(),
  'job-resume': ({ manager }, { id }) => manager.get(id).resume(),
  'job-cancel': ({ manager }, { id }) => manager.get(id).cancel(true),
  'job-complete': ({ manager }, { id }) => manager.get(id).complete(),
  'job-finalize': ({ manager }, { id }) => manager.get(id).finalize(),
  'job-dismiss': ({ manager }, { id }) => manager.get(id).dismiss(),
  // The newest is the first, as in QEMU.
  'query-jobs': ({ manager }) => manager.query().reverse(),

  'block-job-pause': (context, { device }) => blockJob(context, device).pause(),
  'block-job-resume': (context, { device }) => blockJob(context, device).resume(),
  'block-job-complete': (context, { device }) => blockJob(context, device).complete(),
  'block-job-finalize': (context, { id }) => blockJob(context, id).finalize(),
  'block-job-dismiss': (context, { id }) => blockJob(context, id).dismiss(),
  'block-job-set-speed': (context, { device, speed }) => blockJob(context, device).setSpeed(speed),

  'block-job-cancel'(context, { device, force = false }) {
    const job = blockJob(context, device);
    if (job.userPaused && !force) {
      throw new BlockError('bad-state', `The block job for device '${device}' is currently paused`);
    }
    job.cancel(force);
  },

  'block-job-change'(context, options) {
    const job = blockJob(context, options.id);
    if (job.type !== options.type) {
      throw new BlockError('invalid-argument', `Job '${job.id}' is of type '${job.type}', not '${options.type}'`);
    }
    job.change(options);
  },

  'query-block-jobs': ({ manager }) => manager.queryBlock().reverse(),
} satisfies Partial<CommandTable>;
