// The target of `mirror` and `backup`, as QMP's drive-mirror and drive-backup make it: created like the source, or there already.

import { backingNameFor, idOfFile } from '../block/backing-name.js';
import { backingOf } from '../block/chain.js';
import { createImage } from '../block/create.js';
import { refuseSourceFile } from '../block/identity.js';
import type { NewFile } from '../block/new-file.js';
import type { BlockNode } from '../block/node/node.js';
import type { Job } from '../jobs/job.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import type { BlockdevOnError, MirrorSyncMode } from '../schema/generated/types.js';
import { CACHE, type CacheMode, choiceOption, oneImage, targetCache } from './arguments.js';
import { type CreateValues, creatableFormat, imageCreateOptions, parseCreateOptions } from './create-options.js';
import { type OptionSpec, type ParsedOptions, UsageError } from './getopt.js';
import { policyOption, speedOption } from './job-options.js';
import { reportError } from './output.js';
import { progressKind } from './progress.js';
import { runJob } from './run-job.js';
import { imageArguments, openImage, orRemove, type Session, withSession } from './session.js';
import { creationFailure } from './verbs/create.js';

export const TARGET_OPTIONS: readonly OptionSpec[] = [
  { key: 'target', long: 'target', argument: 'FILENAME', help: 'Where the copy goes. Needed.' },
  { key: 'target-format', long: 'format', argument: 'FMT', help: 'Format of the target: raw or qcow2 (default).' },
  {
    key: 'mode',
    long: 'mode',
    argument: 'MODE',
    help: 'absolute-paths (default): make the target; a file that is there is replaced. existing: it is there.',
  },
  {
    key: 'options',
    short: 'o',
    argument: 'OPTIONS',
    help: 'Options of the new target, as for create: cluster_size=..., compression_type=...',
  },
  CACHE,
];

export const TARGET_AFTER_FAILURE = [
  'After Ctrl-C or a failure',
  'FILENAME is as it was. The target is incomplete: delete it or start again.',
] as const;

export interface Target {
  name: string;
  format: string;
  existing: boolean;
  values: CreateValues;
  cache: CacheMode;
}

/** Reads the options above. */
export function targetOf(options: ParsedOptions): Target {
  const name = options.get('target');
  if (name === undefined) throw new UsageError("Parameter '--target' is missing", true);
  const format = creatableFormat(options.get('target-format') ?? 'qcow2');
  const mode = choiceOption(options, 'mode', ['absolute-paths', 'existing']) ?? 'absolute-paths';
  if (mode === 'existing' && options.has('options')) {
    throw new UsageError('-o has no effect when the target exists');
  }
  const cache = targetCache(options, 'writeback');
  return {
    name,
    format,
    existing: mode === 'existing',
    values: parseCreateOptions(format, options.all('options')),
    cache,
  };
}

/**
 * The target, opened for writing; null after its failure has been reported. For `sync` top it is made as an overlay of the source's backing file,
 * for none of the source itself.
 */
async function openTarget(
  session: Session,
  source: BlockNode,
  target: Target,
  sync: MirrorSyncMode,
): Promise<OpenedTarget | null> {
  const { name, format, cache } = target;
  let newFile: NewFile | null = null;
  await refuseSourceFile(source, await idOfFile(session.host, name), name);
  if (!target.existing) {
    const values = new Map(target.values);
    if (values.has('size'))
      throw new UsageError("the target has the size of the source: option 'size' cannot be given");
    values.set('size', String(source.length));
    const base = sync === 'top' ? backingOf(source) : sync === 'none' ? source : null;
    if (base !== null) {
      if (format !== 'qcow2')
        throw new UsageError(`--sync=${sync} needs a target format with backing files, not '${format}'`);
      values.set('backing_file', await backingNameFor(name, base));
      values.set('backing_fmt', base.driver);
    }
    try {
      ({ newFile } = await createImage(session.graph, name, imageCreateOptions(format, values)));
    } catch (error) {
      reportError(`${name}: ${creationFailure(name, format, error)}`);
      return null;
    }
  }
  const how = { format, writable: true, cache, discard: 'unmap', backing: sync !== 'none' } as const;
  const node = await orRemove(session, newFile, () => openImage(session, name, { ...how, apartFrom: [source] }));
  return { node, newFile };
}

interface OpenedTarget {
  node: BlockNode;
  /** What was made for it, and goes again where the job cannot begin. */
  newFile: NewFile | null;
}

/** What the jobs from one image to another are told alike, in QMP's words. */
export interface TargetJobArguments<S extends MirrorSyncMode> {
  device: string;
  target: string;
  sync: S;
  speed?: number;
  'on-source-error'?: BlockdevOnError;
  'on-target-error'?: BlockdevOnError;
}

/** Opens the image that was named and the target, and runs the job between them. Resolves with the exit code. */
export async function runTargetJob<S extends MirrorSyncMode>(
  options: ParsedOptions,
  target: Target,
  sync: S,
  done: string,
  start: (env: JobEnvironment, common: TargetJobArguments<S>) => Promise<Job>,
): Promise<number> {
  const filename = oneImage(options);
  const common = {
    sync,
    speed: speedOption(options),
    'on-source-error': policyOption(options, 'on-source-error'),
    'on-target-error': policyOption(options, 'on-target-error'),
  };
  const progress = progressKind(options, true);
  return withSession(options.all('object'), async (session) => {
    const source = await openImage(session, filename, { ...imageArguments(options), purpose: 'copy' });
    const opened = await openTarget(session, source, target, sync);
    if (opened === null) return 1;
    const { node, newFile } = opened;
    const nodes = { device: source.nodeName, target: node.nodeName };
    const incomplete = `'${filename}' is as it was; '${target.name}' is incomplete: delete it or start again.`;
    return runJob(session, {
      start: (env) => orRemove(session, newFile, () => start(env, { ...common, ...nodes })),
      progress,
      done: options.has('quiet') ? undefined : done,
      stateWhenCancelled: incomplete,
      stateWhenFailed: incomplete,
    });
  });
}
