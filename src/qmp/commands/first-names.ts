// The first names (`--compat first-names`): streaming as it was before QEMU 1.1. Each hands on to what the command of today calls; `device` is a device,
// whose name its job has.

import { findLayer } from '../../block/find-layer.js';
import { takesVerb } from '../../jobs/verbs.js';
import { BlockError } from '../../util/errors.js';
import { startStream } from '../../workspace/stream.js';
import type { CommandTable } from '../command.js';
import { blockJob } from './jobs.js';

export const FIRST_COMMANDS = {
  async block_stream({ graph, jobs }, { device, base }) {
    const root = graph.devices.get(device);
    if (root === undefined) throw new BlockError('device-not-found', `Device '${device}' not found`);
    if (base !== undefined && (await findLayer(root.node, base)) === null) {
      throw new BlockError('not-found', `Base '${base}' not found`);
    }
    await startStream(jobs, root.node, { 'job-id': device, base });
  },

  block_job_set_speed(context, { device, value }) {
    const job = blockJob(context, device);
    if (value < 0) throw new BlockError('invalid-argument', "Parameter 'value' expects a non-negative value");
    job.setSpeed(value);
  },

  // A job that somebody else has paused is cancelled, too: these names have no pause.
  block_job_cancel(context, { device }) {
    const job = blockJob(context, device);
    if (job.isCancelled || !takesVerb(job.status, 'cancel'))
      throw new BlockError('busy', `Device '${device}' is in use`);
    job.cancel();
  },
} satisfies Partial<CommandTable>;
