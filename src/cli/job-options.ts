// Options that all jobs of the command line have, in QMP's words.

import type { BlockdevOnError } from '../schema/generated/types.js';
import { choiceOption, FORMAT, HELP, IMAGE_OPTS, limitOption, OBJECT, QUIET, RATE } from './arguments.js';
import type { OptionSpec, ParsedOptions } from './getopt.js';
import { PROGRESS, PROGRESS_BAR } from './progress.js';

/** Nobody is there to resume a job that stops: `stop` and `enospc` are for the daemon. */
const POLICIES = ['report', 'ignore'] as const satisfies readonly BlockdevOnError[];
const POLICY_HELP = 'report (default): the job fails. ignore: the range is tried again later.';

export const ON_ERROR: OptionSpec = { key: 'on-error', long: 'on-error', argument: 'POLICY', help: POLICY_HELP };
export const COPY_POLICIES: readonly OptionSpec[] = [
  {
    key: 'on-source-error',
    long: 'on-source-error',
    argument: 'POLICY',
    help: `When a read fails. ${POLICY_HELP}`,
  },
  {
    key: 'on-target-error',
    long: 'on-target-error',
    argument: 'POLICY',
    help: `When a write fails. ${POLICY_HELP}`,
  },
];
const JOB_RATE: OptionSpec = { ...RATE, help: 'Rate limit, bytes a second: 50M. 0 (default) is none.' };

/** The last options of every job's verb, and what it exits with. */
export const JOB_OPTIONS: readonly OptionSpec[] = [
  JOB_RATE,
  FORMAT,
  IMAGE_OPTS,
  PROGRESS_BAR,
  PROGRESS,
  QUIET,
  HELP,
  OBJECT,
];
export const JOB_EXIT_CODES = ['Exit codes', '0    done\n1    failed\n130  interrupted'] as const;

/** `speed` of a job's arguments. */
export function speedOption(options: ParsedOptions): number | undefined {
  return limitOption(options, 'speed', 'rate limit');
}

/** One of the policies above, by its key. */
export function policyOption(options: ParsedOptions, key: string): BlockdevOnError | undefined {
  return choiceOption(options, key, POLICIES);
}
