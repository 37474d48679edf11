// Commands that start a job which copies.

import type { CommonArguments, JobEnvironment } from '../../jobs/job-type.js';
import { checkGranularity } from '../../jobs/mirror-options.js';
import { checkStreamEnd } from '../../jobs/stream.js';
import type { BlockdevMirror, DriveBackup } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import { type BackupRequest, startBackups } from '../../workspace/backup.js';
import { startCommit } from '../../workspace/commit.js';
import { startCompact } from '../../workspace/compact.js';
import { startMirror } from '../../workspace/mirror.js';
import { startNamedJob } from '../../workspace/start-job.js';
import { startStream } from '../../workspace/stream.js';
import { planOfDrive } from '../../workspace/target.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';
import { findNode, findRootNode } from '../find.js';

/** Throws `device-not-found`, which block-commit has where other commands say it without a class. */
export function checkDevice({ graph }: QmpContext, device: string): void {
  if (graph.lookUp(device) === undefined) throw new BlockError('device-not-found', `Device '${device}' not found`);
}

/** A job that is given no id has its device's name, and what has no device has the empty one: that is refused where ids are checked. */
export function named<A extends Pick<CommonArguments, 'job-id'>>(
  { graph }: QmpContext,
  device: string,
  args: A,
): A & { 'job-id': string } {
  const node = graph.lookUp(device);
  const name = node === undefined ? undefined : graph.deviceOf(node);
  return { ...args, 'job-id': args['job-id'] ?? name ?? '' };
}

/** The arguments of a job that copies from one node to another: both are there. Throws `not-found`. */
export function copyArguments<A extends { 'job-id'?: string; device: string; target: string }>(
  context: QmpContext,
  args: A,
): A & { 'job-id': string } {
  for (const name of [args.device, args.target]) findNode(context, name);
  return named(context, args.device, args);
}

/** Throws `invalid-argument` for a mode that a mirror has in the library alone, where it can be given a bitmap. */
function mirrorArguments<A extends Pick<BlockdevMirror, 'granularity' | 'sync'>>(args: A): A {
  checkGranularity(args.granularity || undefined);
  if (args.sync !== 'bitmap' && args.sync !== 'incremental') return args;
  throw new BlockError('invalid-argument', `Sync mode '${args.sync}' not supported`);
}

/** Where jobs are started whose targets are opened by their file names: nobody but the job has them. */
export function driveJobs({ jobs }: QmpContext): JobEnvironment {
  return { ...jobs, closesTargets: true };
}

/** Throws `not-found`, `invalid-argument`. */
export function driveBackup(context: QmpContext, options: DriveBackup): BackupRequest {
  const { device, target, format, mode, ...args } = options;
  const source = findNode(context, device);
  return { source, target: planOfDrive(source, { target, format, mode }), args: named(context, device, args) };
}

export const COPY_COMMANDS = {
  async 'blockdev-compact'(context, args) {
    const { device, ...others } = args;
    await startCompact(context.jobs, findNode(context, device), named(context, device, others));
  },
  async 'block-stream'(context, args) {
    checkStreamEnd(args);
    const { device, bottom, ...others } = args;
    await startStream(context.jobs, findNode(context, device), {
      ...named(context, device, others),
      'bottom-node': bottom,
    });
  },

  async 'block-commit'(context, { device, ...args }) {
    checkDevice(context, device);
    await startCommit(context.jobs, findRootNode(context, device), named(context, device, args));
  },

  async 'blockdev-mirror'(context, args) {
    findRootNode(context, args.device);
    await startNamedJob(context.jobs, 'mirror', mirrorArguments(copyArguments(context, args)));
  },

  async 'blockdev-backup'(context, args) {
    await startNamedJob(context.jobs, 'backup', copyArguments(context, args));
  },

  async 'drive-mirror'(context, { device, target, format, mode, 'node-name': name, ...args }) {
    const source = findRootNode(context, device);
    const plan = planOfDrive(source, { target, format, mode, 'node-name': name });
    await startMirror(driveJobs(context), source, plan, mirrorArguments(named(context, device, args)));
  },

  async 'drive-backup'(context, args) {
    await startBackups(driveJobs(context), [driveBackup(context, args)]);
  },
} satisfies Partial<CommandTable>;
