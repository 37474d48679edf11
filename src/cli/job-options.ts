// Options of the verbs that run jobs, by QMP's names.

import type { BlockdevOnError } from '../schema/generated/types.js';
import { BY_SIGNAL, choiceOption, FORMAT, HELP, IMAGE_OPTS, limitOption, OBJECT, QUIET, RATE } from './arguments.js';
import type { OptionSpec, ParsedOptions } from './getopt.js';
import { PROGRESS, PROGRESS_BAR } from './progress.js';

/** `stop` and `enospc` are missing: on the command line, nobody could resume a job that stops. */
const POLICIES = ['report', 'ignore'] as const satisfies readonly BlockdevOnError[];
const POLICY_HELP = 'report (default): the job fails. ignore: the job tries the range again later.';

export const ON_ERROR: OptionSpec = {
  key: 'on-error',
  long: 'on-error',
  argument: 'POLICY',
  values: POLICIES,
  help: POLICY_HELP,
};
export const COPY_POLICIES: readonly OptionSpec[] = [
  {
    key: 'on-source-error',
    long: 'on-source-error',
    argument: 'POLICY',
    values: POLICIES,
    help: `When a read fails. ${POLICY_HELP}`,
  },
  {
    key: 'on-target-error',
    long: 'on-target-error',
    argument: 'POLICY',
    values: POLICIES,
    help: `When a write fails. ${POLICY_HELP}`,
  },
];
const JOB_RATE: OptionSpec = { ...RATE, help: 'Rate limit in bytes per second: 50M. 0 (default): no limit.' };

/** The options that come last in the help of every verb that runs a job, and its exit codes. */
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
export const JOB_EXIT_CODES = ['Exit codes', `0    done\n1    failed\n${BY_SIGNAL}`] as const;

/** Parses `--speed`, in bytes per second. Throws `UsageError`. */
export function speedOption(options: ParsedOptions): number | undefined {
  return limitOption(options, 'speed', 'rate limit');
}

/** Parses one of the error policies above, by its key. Throws `UsageError`. */
export function policyOption(options: ParsedOptions, key: string): BlockdevOnError | undefined {
  return choiceOption(options, key, POLICIES);
}
