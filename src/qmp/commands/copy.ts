// Commands that start a job which copies.

import type { CommonArguments } from '../../jobs/job-type.js';
import { BlockError } from '../../util/errors.js';
import { startCommit } from '../../workspace/commit.js';
import { startNamedJob } from '../../workspace/start-job.js';
import { startStream } from '../../workspace/stream.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';
import { findNode } from '../find.js';

/** Throws `device-not-found`, which block-commit has where other commands say it without a class. */
function checkDevice({ graph }: QmpContext, device: string): void {
  if (!graph.nodes.has(device)) throw new BlockError('device-not-found', `Device '${device}' not found`);
}

/** A job that is given no id has its device's name, and what has no device has the empty one: that is refused where ids are checked. */
function named<A extends Pick<CommonArguments, 'job-id'>>(args: A): A & { 'job-id': string } {
  return { ...args, 'job-id': args['job-id'] ?? '' };
}

export const COPY_COMMANDS = {
  async 'block-stream'(context, { device, bottom, ...args }) {
    await startStream(context.jobs, findNode(context, device), { ...named(args), 'bottom-node': bottom });
  },

  async 'block-commit'(context, { device, ...args }) {
    checkDevice(context, device);
    await startCommit(context.jobs, findNode(context, device), named(args));
  },

  async 'blockdev-mirror'(context, args) {
    await startNamedJob(context.jobs, 'mirror', named(args));
  },

  async 'blockdev-backup'(context, args) {
    await startNamedJob(context.jobs, 'backup', named(args));
  },
} satisfies Partial<CommandTable>;
