// `diskwright backup`: copies an image, as it is at the start, by a backup job.

import type { BitmapSyncMode } from '../../schema/generated/types.js';
import { checkBackup, startBackups } from '../../workspace/backup.js';
import { choiceOption, limitOption } from '../arguments.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { COPY_POLICIES, JOB_EXIT_CODES, JOB_OPTIONS } from '../job-options.js';
import {
  clusterBytesOf,
  IMAGE_IN_USE,
  runTargetJob,
  TARGET_AFTER_FAILURE,
  TARGET_OPTIONS,
  targetOf,
  targetOptionHelp,
} from '../job-target.js';
import { write } from '../output.js';
import type { Verb } from '../verb.js';

const SYNCS = ['full', 'top', 'incremental', 'bitmap'] as const;
const BITMAP_MODES = ['on-success', 'always', 'never'] as const satisfies readonly BitmapSyncMode[];

export const verb: Verb = {
  name: 'backup',
  synopsis: '--target=TARGET [--format=FMT] [--sync=SYNC] [--bitmap=NAME] [--compress] [-r BYTES] [-p] FILENAME',
  description: `Copies FILENAME, as it is at the start, to a target by a backup job.

With --sync=incremental only those parts are copied that a persistent bitmap marks as changed; afterwards they are marked no more. The target is an overlay of the backup before: create it, and give --mode=existing. A target that this command makes has no backing file, and holds nothing but what has changed.

${IMAGE_IN_USE} With --bitmap, the bitmap in FILENAME changes, too.`,
  peer: 'QMP',
  options: [
    ...TARGET_OPTIONS,
    {
      key: 'sync',
      long: 'sync',
      argument: 'SYNC',
      values: SYNCS,
      help: 'full (default): copy the content of the whole chain. top: copy the data of FILENAME itself into an overlay of its backing file. incremental: copy what --bitmap marks as changed; bitmap: the same, with any --bitmap-mode.',
    },
    {
      key: 'bitmap',
      long: 'bitmap',
      argument: 'NAME',
      help: 'The persistent bitmap of FILENAME that records what has changed since the last backup.',
    },
    {
      key: 'bitmap-mode',
      long: 'bitmap-mode',
      argument: 'MODE',
      values: BITMAP_MODES,
      help: 'What the bitmap holds afterwards. on-success (default): nothing, where the backup has succeeded, else what it held before. always: only what was not copied. never: what it held before.',
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
  ],
  notes: [
    JOB_EXIT_CODES,
    [
      TARGET_AFTER_FAILURE[0],
      `${TARGET_AFTER_FAILURE[1]} The bitmap marks what it did before, unless --bitmap-mode=always was given. After a kill or a loss of power it is inconsistent, and refused: remove it, and make a full backup.`,
    ],
  ],
  examples: [
    ['diskwright backup --target=monday.qcow2 --compress disk.qcow2', 'a full, compressed backup'],
    [
      'diskwright backup --sync=full --bitmap=nightly --target=sunday.qcow2 disk.qcow2',
      'a full backup, from which on the bitmap "nightly" records anew',
    ],
    [
      'diskwright backup --sync=incremental --bitmap=nightly --target=monday.qcow2 --mode=existing disk.qcow2',
      'what has changed since, into an overlay of sunday.qcow2',
    ],
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
  const sync = choiceOption(options, 'sync', SYNCS) ?? 'full';
  const bitmap = options.get('bitmap');
  const mode = choiceOption(options, 'bitmap-mode', BITMAP_MODES) ?? (bitmap === undefined ? undefined : 'on-success');
  if (bitmap === undefined && (sync === 'incremental' || sync === 'bitmap')) {
    throw new UsageError(`--sync=${sync} copies what a dirty bitmap marks: name the bitmap with --bitmap=NAME`);
  }
  if (bitmap === undefined && mode !== undefined) {
    throw new UsageError('--bitmap-mode says what becomes of a dirty bitmap: name the bitmap with --bitmap=NAME');
  }
  const compress = options.has('compress');
  const maxWorkers = countOption(options, 'max-workers');
  const maxChunk = limitOption(options, 'max-chunk', 'max-chunk');
  const own = { compress, bitmap, 'bitmap-mode': mode, 'x-perf': { 'max-workers': maxWorkers, 'max-chunk': maxChunk } };
  checkBackup({ ...own, sync }, { format: target.format, clusterBytes: clusterBytesOf(target) });
  const writesSource = mode !== undefined && mode !== 'never';
  return runTargetJob(
    options,
    target,
    { sync, writesSource },
    'Image backed up.',
    async (env, source, plan, common) => {
      const [{ job }] = await startBackups(env, [{ source, target: plan, args: { ...common, ...own } }]);
      return job;
    },
  );
}

function countOption(options: ParsedOptions, key: string): number | undefined {
  const text = options.get(key);
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text) || Number(text) < 1 || Number(text) > 64) {
    throw new UsageError(`Parameter '${key}' expects a number from 1 to 64`);
  }
  return Number(text);
}
