// `diskwright backup`: copies an image, as it is at the start, by a backup job.

import { checkBackup, startBackups } from '../../workspace/backup.js';
import { choiceOption, limitOption } from '../arguments.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { COPY_POLICIES, JOB_EXIT_CODES, JOB_OPTIONS } from '../job-options.js';
import {
  IMAGE_IN_USE,
  runTargetJob,
  TARGET_AFTER_FAILURE,
  TARGET_OPTIONS,
  type Target,
  targetOf,
  targetOptionHelp,
} from '../job-target.js';
import { write } from '../output.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'backup',
  synopsis: '--target=TARGET [--format=FMT] [--sync=SYNC] [--compress] [-r BYTES] [-p] FILENAME',
  description: `Copies FILENAME, as it is at the start, to a target by a backup job.\n\n${IMAGE_IN_USE}`,
  peer: 'QMP',
  options: [
    ...TARGET_OPTIONS,
    {
      key: 'sync',
      long: 'sync',
      argument: 'SYNC',
      help: 'full (default): copy the content of the whole chain. top: copy the data of FILENAME itself into an overlay of its backing file.',
    },
    { key: 'compress', long: 'compress', help: ({ compressed }) => `Compress the target (${compressed}).` },
    {
      key: 'max-workers',
      long: 'max-workers',
      argument: 'COUNT',
      help: 'Requests in flight.',
    },
    {
      key: 'max-chunk',
      long: 'max-chunk',
      argument: 'BYTES',
      help: 'Largest size of a request in bytes; 0 (default): chosen automatically.',
    },
    ...COPY_POLICIES,
    ...JOB_OPTIONS,
    { key: 'bitmap', long: 'bitmap', argument: 'NAME', help: 'Copy only what a bitmap marks.', refused: true },
    { key: 'bitmap-mode', long: 'bitmap-mode', argument: 'MODE', help: 'What happens to the bitmap.', refused: true },
  ],
  notes: [JOB_EXIT_CODES, TARGET_AFTER_FAILURE],
  examples: [
    ['diskwright backup --target=monday.qcow2 --compress disk.qcow2', 'a full, compressed backup'],
    ['diskwright backup --target=/dev/vg/copy --mode=existing --format=raw disk.qcow2', 'to a device'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const help = targetOptionHelp(options);
  if (help !== null) {
    write(help);
    return 0;
  }
  const target = targetOf(options);
  const sync = choiceOption(options, 'sync', ['full', 'top']) ?? 'full';
  const compress = options.has('compress');
  const maxWorkers = countOption(options, 'max-workers');
  const maxChunk = limitOption(options, 'max-chunk', 'max-chunk');
  const own = { compress, 'x-perf': { 'max-workers': maxWorkers, 'max-chunk': maxChunk } };
  checkBackup({ ...own, sync }, { format: target.format, clusterBytes: clusterBytesOf(target) });
  return runTargetJob(options, target, sync, 'Image backed up.', async (env, source, plan, common) => {
    const [{ job }] = await startBackups(env, [{ source, target: plan, args: { ...common, ...own } }]);
    return job;
  });
}

/** Cluster size of a target that is to be created, in bytes; 0: not known yet, as for an existing target. */
function clusterBytesOf({ existing, values }: Target): number {
  return existing ? 0 : Number(values.get('cluster_size') ?? 0);
}

function countOption(options: ParsedOptions, key: string): number | undefined {
  const text = options.get(key);
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text) || Number(text) < 1 || Number(text) > 64) {
    throw new UsageError(`Parameter '${key}' expects a number from 1 to 64`);
  }
  return Number(text);
}
