// `mirror` and `backup`: the options that describe their target, and running such a job.

import { backingOf } from '../block/chain.js';
import type { BlockNode } from '../block/node/node.js';
import { hasBackingFiles, knownDriver } from '../block/registry.js';
import { registerDrivers } from '../drivers/index.js';
import { ownContent, wholeContent } from '../jobs/copy-plan.js';
import { dataAhead } from '../jobs/data-ahead.js';
import type { Job } from '../jobs/job.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import type { BlockdevOnError, MirrorSyncMode } from '../schema/generated/types.js';
import { refuseAborted } from '../util/abort.js';
import { toBlockError } from '../util/errors.js';
import { formatOfTarget } from '../workspace/format-name.js';
import { MEMBERS_OF_THE_JOB, type TargetMembers, type TargetPlan, type TargetStage } from '../workspace/target.js';
import { type CacheMode, cacheOption, choiceOption, oneImage, targetCache } from './arguments.js';
import {
  asksForOptionHelp,
  type CreateValues,
  creatableFormat,
  fileCreateOptions,
  imageCreateOptions,
  optionHelp,
  optionOfMember,
  parseCreateOptions,
} from './create-options.js';
import { creationFailure, reportLeft } from './creation-failure.js';
import { type OptionSpec, type ParsedOptions, UsageError } from './getopt.js';
import { policyOption, speedOption } from './job-options.js';
import { incompleteImage, NewImageFile } from './new-image-file.js';
import { reportFailure, shown } from './output.js';
import { progressKind } from './progress.js';
import { runJob } from './run-job.js';
import { imageArguments, openImage, type Session, withSession } from './session.js';

const TARGET_MODES = ['absolute-paths', 'existing'] as const;

export const TARGET_OPTIONS: readonly OptionSpec[] = [
  { key: 'target', long: 'target', argument: 'TARGET', help: 'File name of the target. Required.' },
  {
    key: 'target-format',
    long: 'format',
    argument: 'FMT',
    namesNewFormat: true,
    help: ({ made, suffixes, overlay }) =>
      `Format of the target: ${made('')}. Default: by the suffix of TARGET (${suffixes}), otherwise ${overlay} (not raw, as for convert); an existing image is probed.`,
  },
  {
    key: 'mode',
    long: 'mode',
    argument: 'MODE',
    values: TARGET_MODES,
    help: 'absolute-paths (default): create the target; an existing file is replaced. existing: the target exists already.',
  },
  {
    key: 'options',
    short: 'o',
    argument: 'OPTIONS',
    help: 'Options of the new target, as for create: cluster_size=..., compression_type=...',
  },
  cacheOption('writeback', ['none', 'writeback', 'unsafe']),
];

/** What the description says of an image that a running program has open. */
export const IMAGE_IN_USE =
  'FILENAME is only read. An image that another program has open is refused: this command cannot see what is written meanwhile. The program that ' +
  'serves the image must run the job: diskwright daemon and diskwright nbd --monitor do so when told over QMP, and a program that serves it through ' +
  'the library.';

export const TARGET_AFTER_FAILURE = [
  'After Ctrl-C or a failure',
  'FILENAME is unchanged. The target is incomplete: delete it or start again.',
] as const;

export interface Target {
  name: string;
  /** Undefined: the existing image is probed. */
  format: string | undefined;
  existing: boolean;
  values: CreateValues;
  cache: CacheMode;
}

/** Parses the options above. Throws `UsageError`. */
export function targetOf(options: ParsedOptions): Target {
  const name = options.get('target');
  if (name === undefined) throw new UsageError("Parameter '--target' is missing", true);
  if (name === '') throw new UsageError("Parameter '--target' expects the name of a file");
  registerDrivers();
  const mode = choiceOption(options, 'mode', TARGET_MODES) ?? 'absolute-paths';
  const existing = mode === 'existing';
  if (existing && options.has('options')) throw new UsageError('-o has no effect when the target exists');
  const format = options.get('target-format') ?? (existing ? undefined : formatOfTarget(name));
  const values =
    format === undefined ? new Map() : parseCreateOptions(creatableFormat(format), options.all('options'), name);
  if (format !== undefined) refuseMembersOfTheJob(format, values);
  const cache = targetCache(options, 'writeback');
  if (cache.writethrough)
    throw new UsageError(`cache mode '${options.get('cache')}' is not supported for the target of a job`);
  return {
    name,
    format,
    existing,
    values,
    cache,
  };
}

/** Cluster size of a target that is to be created, in bytes; 0: not known yet, as for an existing target. */
export function clusterBytesOf({ existing, format, values }: Target): number {
  const member = existing || format === undefined ? undefined : knownDriver(format)?.clusterMember;
  const option = member === undefined ? undefined : optionOfMember(format!, member);
  return option === undefined ? 0 : Number(values.get(option) ?? 0);
}

/** Throws `UsageError` for an option that the job itself determines, by what the source is and by `--sync`. */
function refuseMembersOfTheJob(format: string, values: CreateValues): void {
  for (const member of MEMBERS_OF_THE_JOB) {
    const name = optionOfMember(format, member);
    if (name === undefined || !values.has(name)) continue;
    const why =
      member === 'size' ? 'the target has the size of the source' : 'the job determines the backing file by --sync';
    throw new UsageError(`${why}: option '${name}' cannot be given`);
  }
}

/** The text of `-o help` for the target's format; null where it was not asked for. Throws `UsageError`. */
export function targetOptionHelp(options: ParsedOptions): string | null {
  if (!asksForOptionHelp(options.all('options'))) return null;
  registerDrivers();
  const format = options.get('target-format') ?? formatOfTarget(options.get('target') ?? '');
  return optionHelp(creatableFormat(format), options.get('target') ?? null, MEMBERS_OF_THE_JOB);
}

/** Arguments that mirror and backup have in common, by QMP's names. */
export interface TargetJobArguments<S extends MirrorSyncMode> {
  sync: S;
  speed?: number;
  'on-source-error'?: BlockdevOnError;
  'on-target-error'?: BlockdevOnError;
}

type StartTargetJob<S extends MirrorSyncMode> = (
  env: JobEnvironment,
  source: BlockNode,
  target: TargetPlan,
  common: TargetJobArguments<S>,
) => Promise<Job>;

/** Which part is copied; `writesSource`: the job changes a bitmap that the source stores. */
interface Copied<S extends MirrorSyncMode> {
  sync: S;
  writesSource?: boolean;
}

/** Opens the image that is named on the command line, and runs a job that copies it to the target. Resolves with the exit code. */
export async function runTargetJob<S extends MirrorSyncMode>(
  options: ParsedOptions,
  target: Target,
  { sync, writesSource = false }: Copied<S>,
  done: string,
  start: StartTargetJob<S>,
): Promise<number> {
  const filename = oneImage(options);
  const common = {
    sync,
    speed: speedOption(options),
    'on-source-error': policyOption(options, 'on-source-error'),
    'on-target-error': policyOption(options, 'on-target-error'),
  };
  const progress = progressKind(options, true);
  const file = new NewImageFile(target.name);
  let isMade = false;
  const copied = withSession(options.all('object'), async (session) => {
    const how = { ...imageArguments(options), purpose: 'copy', writable: writesSource } as const;
    const source = await openImage(session, filename, how);
    const incomplete = `'${shown(filename)}' is unchanged; ${incompleteImage(target.name)}`;
    let begun = false;
    const state = (): string => `'${shown(filename)}' is unchanged; ${file.state(begun)}`;
    return runJob(session, {
      // A copy of the top image alone leaves out what the layers below hold.
      count: (signal) =>
        dataAhead(
          source,
          sync === 'top' ? backingOf(source) : null,
          sync === 'top' ? ownContent : wholeContent,
          signal,
        ),
      start: async (env, interrupt) => {
        const onCreate = (now: boolean): void => {
          // Before there is a target.
          if (now) refuseAborted(interrupt.signal);
          begun ||= now;
          interrupt.atOnce = now ? state : null;
        };
        const job = await startTo(session, { target, sync, file, onCreate }, (plan) =>
          start(env, source, plan, common),
        );
        isMade = true;
        return job;
      },
      progress,
      done: options.has('quiet') ? undefined : done,
      stateWhenCancelled: incomplete,
      stateWhenFailed: incomplete,
      stateBefore: state,
    });
  });
  try {
    return await copied;
  } catch (error) {
    if (!isMade) throw error;
    // Something could not be stored when all was closed.
    reportFailure(error);
    reportLeft(file.left(error));
    return 1;
  }
}

interface Start {
  target: Target;
  sync: MirrorSyncMode;
  /** The target, as it was before. */
  file: NewImageFile;
  /** Called with true when the target is being created, with false when it is not any more. */
  onCreate: (now: boolean) => void;
}

/** Runs `start` with the plan for the target. Where creating the target fails, the message is that of `create`. */
async function startTo(
  session: Session,
  { target, sync, file, onCreate }: Start,
  start: (plan: TargetPlan) => Promise<Job>,
): Promise<Job> {
  const { name, format, existing, values, cache } = target;
  let stage: TargetStage | null = null;
  const plan: TargetPlan = {
    image: name,
    format,
    cache,
    fileOptions: fileCreateOptions(values),
    create:
      existing || format === undefined ? null : (members) => imageCreateOptions(format, withMembers(values, members)),
    open: (_, how) => {
      stage = null;
      return openImage(session, name, { ...how, writable: true });
    },
    onStage: (next) => {
      onCreate(next === 'create');
      stage = next;
    },
  };
  try {
    return await start(plan);
  } catch (error) {
    // The variable is set by a callback, which the compiler does not follow.
    const failed = stage as TargetStage | null;
    if (format === undefined) throw error;
    if (failed === 'create') {
      const left = file.left(error);
      const [line, ...further] = creationFailure(name, format, error).split('\n');
      throw new UsageError(`${name}: ${line}`, false, left === null ? further : [...further, left]);
    }
    if (failed === 'overlay' && toBlockError(error).code === 'invalid-argument' && !hasBackingFiles(format)) {
      throw new UsageError(`--sync=${sync} needs a target format with backing files, not '${format}'`);
    }
    throw error;
  }
}

function withMembers(values: CreateValues, members: TargetMembers): CreateValues {
  const { size, 'backing-file': file, 'backing-fmt': backingFormat } = members;
  const all = new Map(values).set('size', String(size));
  if (file !== undefined) all.set('backing_file', file);
  if (backingFormat !== undefined) all.set('backing_fmt', backingFormat);
  return all;
}
