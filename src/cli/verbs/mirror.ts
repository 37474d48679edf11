// `diskwright mirror`: copies an image by a mirror job, which is completed as soon as it is ready.

import { checkMirror, startMirror } from '../../workspace/mirror.js';
import { choiceOption, limitOption } from '../arguments.js';
import type { ParsedOptions } from '../getopt.js';
import { COPY_POLICIES, JOB_EXIT_CODES, JOB_OPTIONS } from '../job-options.js';
import {
  IMAGE_IN_USE,
  runTargetJob,
  TARGET_AFTER_FAILURE,
  TARGET_OPTIONS,
  targetOf,
  targetOptionHelp,
} from '../job-target.js';
import { write } from '../output.js';
import type { Verb } from '../verb.js';

const SYNCS = ['full', 'top', 'none'] as const;
const COPY_MODES = ['background', 'write-blocking'] as const;
const SWITCH = ['on', 'off'] as const;

export const verb: Verb = {
  name: 'mirror',
  synopsis: '--target=TARGET [--format=FMT] [--sync=SYNC] [-r BYTES] [-p] FILENAME',
  description: `Copies FILENAME to a target by a mirror job, and ends when both have the same content.\n\n${IMAGE_IN_USE}`,
  peer: 'QMP',
  options: [
    ...TARGET_OPTIONS,
    {
      key: 'sync',
      long: 'sync',
      argument: 'SYNC',
      values: SYNCS,
      help: 'full (default): copy the content of the whole chain. top: copy the data of FILENAME itself into an overlay of its backing file. none: copy nothing; the target is an overlay of FILENAME.',
    },
    {
      key: 'granularity',
      long: 'granularity',
      argument: 'BYTES',
      help: 'Granularity of the dirty bitmap in bytes, a power of two from 512 to 64M (default: the cluster size of the target, 4k to 64k).',
    },
    { key: 'buf-size', long: 'buf-size', argument: 'BYTES', help: 'Bytes in flight at most.' },
    {
      key: 'copy-mode',
      long: 'copy-mode',
      argument: 'MODE',
      values: COPY_MODES,
      help: 'background (default) or write-blocking: how writes during the job reach the target.',
    },
    {
      key: 'unmap',
      long: 'unmap',
      argument: 'on|off',
      values: SWITCH,
      help: 'Zeroes may become holes on the target (default: on).',
    },
    ...COPY_POLICIES,
    ...JOB_OPTIONS,
    { key: 'bitmap', long: 'bitmap', argument: 'NAME', help: 'Copy only what a bitmap marks.', refused: true },
  ],
  notes: [JOB_EXIT_CODES, TARGET_AFTER_FAILURE],
  examples: [
    ['diskwright mirror --target=copy.qcow2 -p disk.qcow2', 'a full copy'],
    ['diskwright mirror --target=snap-copy.qcow2 --sync=top snap.qcow2', 'of the top image only'],
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
  const granularity = limitOption(options, 'granularity', 'granularity');
  const bufSize = limitOption(options, 'buf-size', 'buf-size');
  const copyMode = choiceOption(options, 'copy-mode', COPY_MODES);
  const unmap = choiceOption(options, 'unmap', SWITCH) !== 'off';
  const own = { granularity, 'buf-size': bufSize, 'copy-mode': copyMode, unmap };
  checkMirror({ ...own, sync });
  return runTargetJob(options, target, { sync }, 'Image mirrored.', async (env, source, plan, common) => {
    const { job } = await startMirror(env, source, plan, { ...common, ...own });
    return job;
  });
}
