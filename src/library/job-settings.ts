// What the calls that start jobs take, as shapes, and the same in QAPI's words, which the jobs have their arguments in.

import { clusterBytesWanted, type ImageCreateOptions } from '../block/create.js';
import type { BackupArguments } from '../jobs/backup.js';
import type { MirrorArguments } from '../jobs/mirror.js';
import { qapi } from '../schema/qapi-shape.js';
import {
  abortSignal,
  bool,
  type Check,
  choice,
  integer,
  list,
  type Shape,
  takeSettings,
  text,
  wrongType,
} from '../schema/shape.js';
import { BlockError } from '../util/errors.js';
import type { CommitRequest } from '../workspace/commit.js';
import type { CompactRequest } from '../workspace/compact.js';
import { formatOfTarget } from '../workspace/format-name.js';
import type { StreamRequest } from '../workspace/stream.js';
import type { TargetPlan } from '../workspace/target.js';
import { anImage, type Image } from './image.js';
import type { JobWatch } from './job.js';
import type {
  BackupRequest,
  BackupSettings,
  CommitSettings,
  CompactSettings,
  JobSettings,
  MirrorSettings,
  StreamSettings,
  TargetJobSettings,
} from './options.js';
import { creation, imageAndOptions, imageName, newImage, onProgress, refuseMembersOfJob } from './settings.js';

const JOB: Shape<JobSettings> = {
  jobId: text,
  speed: integer(0),
  autoFinalize: bool,
  autoDismiss: bool,
  priority: integer(0, 9),
  signal: abortSignal,
  onProgress,
};

const STREAM: Shape<StreamSettings> = {
  ...JOB,
  base: text,
  baseNode: text,
  bottom: text,
  bottomNode: text,
  backingFile: text,
  onError: qapi('BlockdevOnError'),
};

const COMPACT_PLAN: Shape<Pick<CompactSettings, 'dedupeBacking' | 'keepZeroes'>> = {
  dedupeBacking: bool,
  keepZeroes: bool,
};

const COMPACT: Shape<CompactSettings> = { ...JOB, ...COMPACT_PLAN };

const COMMIT: Shape<CommitSettings> = {
  ...JOB,
  top: text,
  topNode: text,
  base: text,
  baseNode: text,
  backingFile: text,
  onError: qapi('BlockdevOnError'),
  empty: bool,
};

const TARGET_JOB: Shape<TargetJobSettings> = {
  ...JOB,
  format: text,
  sync: qapi('MirrorSyncMode'),
  bitmap: text,
  bitmapMode: qapi('BitmapSyncMode'),
  onSourceError: qapi('BlockdevOnError'),
  onTargetError: qapi('BlockdevOnError'),
  targetIsZero: bool,
};

const MIRROR: Shape<MirrorSettings> = {
  ...TARGET_JOB,
  create: creation(),
  replaces: text,
  granularity: integer(0),
  bufSize: integer(0),
  copyMode: qapi('MirrorCopyMode'),
  unmap: bool,
};

const BACKUP: Shape<BackupSettings> = {
  ...TARGET_JOB,
  create: creation(),
  compress: bool,
  onCbwError: choice('break-guest-write', 'break-snapshot'),
  copyRange: bool,
  maxWorkers: integer(0),
  maxChunk: integer(0),
};

const BACKUP_REQUEST: Shape<BackupRequest> = {
  ...BACKUP,
  image: anImage,
  target: imageName as Check<BackupRequest['target']>,
};

/** A job's settings, apart: what the job does in QAPI's words, and what is between it and the program. */
export interface CheckedJob<A> {
  args: A;
  watch: JobWatch;
  priority: number | undefined;
}

export function streamSettings(value: unknown): CheckedJob<StreamRequest> {
  return apart(takeSettings(STREAM, value, 'settings'));
}

export function compactSettings(value: unknown): CheckedJob<CompactRequest> {
  return apart(takeSettings(COMPACT, value, 'settings'));
}

/** Of `planCompact`. */
export function compactPlanSettings(value: unknown): Pick<CompactSettings, 'dedupeBacking' | 'keepZeroes'> {
  return takeSettings(COMPACT_PLAN, value, 'settings');
}

export function commitSettings(value: unknown): CheckedJob<CommitRequest> {
  return apart(takeSettings(COMMIT, value, 'settings'));
}

/** The same of a job to a target. */
export interface CheckedTargetJob<A> extends CheckedJob<A> {
  target: TargetPlan;
  /** Cluster size of a target that is made; 0: not known. */
  clusterBytes: number;
}

type MirrorArgs = Omit<MirrorArguments, 'device' | 'target'>;
type BackupArgs = Omit<BackupArguments, 'device' | 'target'>;

export function mirrorSettings(target: unknown, value: unknown): CheckedTargetJob<MirrorArgs> {
  const { create, format, ...others } = takeSettings(MIRROR, value, 'settings');
  return { ...apart<MirrorArgs>({ sync: 'full', ...others }), ...targetOf(target, create, format, 'settings') };
}

/** A backup, once it is checked. */
export interface CheckedBackup extends CheckedTargetJob<BackupArgs> {
  image: Image;
}

/** The request of a backup whose parts are the caller's own arguments. */
export function backupRequest(of: unknown, target: unknown, given: unknown): CheckedBackup {
  return {
    image: anImage(of, 'image'),
    ...backupSettings(target, takeSettings(BACKUP, given, 'settings'), 'settings'),
  };
}

export function backupRequests(value: unknown): CheckedBackup[] {
  return list((request, path): CheckedBackup => {
    const { image: of, target, ...others } = takeSettings(BACKUP_REQUEST, request, path, ['image', 'target']);
    return { image: of, ...backupSettings(target, others, path) };
  })(value, 'requests');
}

function backupSettings(target: unknown, given: BackupSettings, path: string): CheckedTargetJob<BackupArgs> {
  const { create, format, copyRange, maxWorkers, maxChunk, compress: asked, ...others } = given;
  const { compress: inCreate, ...made } = create ?? {};
  const compress = asked || (inCreate !== undefined && bool(inCreate, `${path}.create.compress`));
  const perf = { 'use-copy-range': copyRange, 'max-workers': maxWorkers, 'max-chunk': maxChunk };
  const checked = targetOf(target, create && made, format, path);
  const args = apart<BackupArgs>({ sync: 'full', ...others, compress });
  return { ...args, ...checked, args: { ...args.args, 'x-perf': perf } };
}

function targetOf(
  target: unknown,
  create: object | undefined,
  format: string | undefined,
  path: string,
): Pick<CheckedTargetJob<never>, 'target' | 'clusterBytes'> {
  const [name, { format: existing }] = imageAndOptions(target, { format }, 'target');
  if (create === undefined) return { target: { image: name, format: existing, create: null }, clusterBytes: 0 };
  if (typeof name !== 'string') throw wrongType('target', 'string: the name of the file that is made', target);
  refuseMembersOfJob(create, path, {
    size: 'the target has the size of the image',
    backing: "'sync' determines the backing file",
  });
  if (format !== undefined) {
    throw new BlockError('invalid-argument', `Parameter '${path}.format' is that of an existing target`);
  }
  const options = newImage(create, name, formatOfTarget) as ImageCreateOptions;
  return {
    target: {
      image: name,
      format: options.driver,
      create: (members) => ({ ...options, ...members }) as ImageCreateOptions,
    },
    clusterBytes: clusterBytesWanted(options),
  };
}

/** Splits settings of a job, and spells the arguments of the job as QAPI does. */
function apart<A>(given: object): CheckedJob<A> {
  const { signal, onProgress, priority, ...others } = given as JobSettings;
  const args = Object.entries(others).map(([name, value]) => [
    name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    value,
  ]);
  return { args: Object.fromEntries(args) as A, watch: { signal, onProgress }, priority };
}
