// Commands that start a job which copies.

import { backupJob } from '../../jobs/backup.js';
import { commitJob } from '../../jobs/commit.js';
import { mirrorJob } from '../../jobs/mirror.js';
import { startJob } from '../../jobs/start.js';
import { streamJob } from '../../jobs/stream.js';
import { BlockError } from '../../util/errors.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';

/** Throws `device-not-found`, which block-commit has where other commands say it without a class. */
function checkDevice({ graph }: QmpContext, device: string): void {
  if (!graph.nodes.has(device)) throw new BlockError('device-not-found', `Device '${device}' not found`);
}

export const COPY_COMMANDS = {
  async 'block-stream'(context, args) {
    await startJob(context.jobs, streamJob, args);
  },

  async 'block-commit'(context, args) {
    checkDevice(context, args.device);
    await startJob(context.jobs, commitJob, args);
  },

  async 'blockdev-mirror'(context, args) {
    await startJob(context.jobs, mirrorJob, args);
  },

  async 'blockdev-backup'(context, args) {
    await startJob(context.jobs, backupJob, args);
  },
} satisfies Partial<CommandTable>;
