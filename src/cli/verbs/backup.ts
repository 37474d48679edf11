// `diskwright backup`: copies an image as it is at the start.

import { startBackup } from '../../jobs/start.js';
import { choiceOption, FORMAT, HELP, IMAGE_OPTS, OBJECT, oneImage, QUIET, sizeOption } from '../arguments.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { COPY_POLICIES, JOB_RATE, policyOption, speedOption } from '../job-options.js';
import { openTarget, TARGET_OPTIONS, targetOf } from '../job-target.js';
import { PROGRESS, PROGRESS_BAR, progressKind } from '../progress.js';
import { runJob } from '../run-job.js';
import { imageArguments, openImage, withSession } from '../session.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'backup',
  synopsis: '--target=FILENAME [--format=FMT] [--sync=SYNC] [--compress] [-r BYTES] [-p] FILENAME',
  description:
    'Copies FILENAME, as it is at the start, to a target by a backup job. FILENAME is only read; an image that is in use is refused.',
  options: [
    ...TARGET_OPTIONS,
    {
      key: 'sync',
      long: 'sync',
      argument: 'SYNC',
      help: 'full (default): the content of the whole chain. top: what FILENAME itself holds, into an overlay of its backing file.',
    },
    { key: 'compress', long: 'compress', help: 'Compress the target (qcow2).' },
    {
      key: 'max-workers',
      long: 'max-workers',
      argument: 'COUNT',
      help: 'Requests in flight.',
    },
    { key: 'max-chunk', long: 'max-chunk', argument: 'BYTES', help: 'Bytes of a request; 0 (default) for no limit.' },
    JOB_RATE,
    ...COPY_POLICIES,
    FORMAT,
    IMAGE_OPTS,
    PROGRESS_BAR,
    PROGRESS,
    QUIET,
    HELP,
    { key: 'bitmap', long: 'bitmap', argument: 'NAME', help: 'Only what a bitmap says.', refused: true },
    { key: 'bitmap-mode', long: 'bitmap-mode', argument: 'MODE', help: 'What becomes of it.', refused: true },
    OBJECT,
  ],
  notes: [
    ['Exit codes', '0    done\n1    failed\n130  interrupted'],
    ['After Ctrl-C or a failure', 'FILENAME is as it was. The target is incomplete: delete it or start again.'],
  ],
  examples: [
    ['diskwright backup --target=monday.qcow2 --compress disk.qcow2', 'a full, compressed backup'],
    ['diskwright backup --target=/dev/vg/copy --mode=existing --format=raw disk.qcow2', 'to a device'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const filename = oneImage(options);
  const target = targetOf(options);
  const sync = choiceOption(options, 'sync', ['full', 'top']) ?? 'full';
  const compress = options.has('compress');
  if (compress && target.format === 'raw') throw new UsageError('Compression not supported for this file format');
  const maxWorkers = countOption(options, 'max-workers');
  const maxChunk = sizeOption(options, 'max-chunk', 'max-chunk');
  const common = {
    speed: speedOption(options),
    'on-source-error': policyOption(options, 'on-source-error'),
    'on-target-error': policyOption(options, 'on-target-error'),
  };
  const progress = progressKind(options, true);
  return withSession(async (session) => {
    const source = await openImage(session, filename, imageArguments(options));
    const node = await openTarget(session, source, target, sync);
    if (node === null) return 1;
    const incomplete = `'${filename}' is as it was; '${target.name}' is incomplete: delete it or start again.`;
    return runJob(session, {
      start: (env) =>
        startBackup(env, {
          ...common,
          device: source.nodeName,
          target: node.nodeName,
          sync,
          compress,
          'x-perf': { 'max-workers': maxWorkers, 'max-chunk': maxChunk },
        }),
      progress,
      done: options.has('quiet') ? undefined : 'Image backed up.',
      stateWhenCancelled: incomplete,
      stateWhenFailed: incomplete,
    });
  });
}

function countOption(options: ParsedOptions, key: string): number | undefined {
  const text = options.get(key);
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text) || Number(text) < 1) throw new UsageError(`Parameter '${key}' expects a positive number`);
  return Number(text);
}
