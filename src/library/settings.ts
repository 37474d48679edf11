// What the calls of the library take, as shapes: every call checks its arguments here before it touches anything.

import { checkCompresses, checkCreateOptions, type ImageCreateOptions, refuseFormat } from '../block/create.js';
import type { OpenGate } from '../block/gate.js';
import type { SnapshotKey } from '../block/internal-snapshots.js';
import type { OpenOptions } from '../block/open.js';
import { findDriver } from '../block/registry.js';
import type { BackupArguments } from '../jobs/backup.js';
import type { MirrorArguments } from '../jobs/mirror.js';
import type { ObjectOptions } from '../schema/generated/types.js';
import { LooseOptions } from '../schema/loose-options.js';
import { checkImageOptions } from '../schema/options.js';
import { qapi } from '../schema/qapi-shape.js';
import {
  abortSignal,
  bool,
  bytes,
  type Check,
  callback,
  choice,
  fileName,
  integer,
  list,
  plainObject,
  type Shape,
  settings,
  takeSettings,
  text,
  wrongType,
} from '../schema/shape.js';
import { BlockError } from '../util/errors.js';
import type { CommitRequest } from '../workspace/commit.js';
import type { CompactRequest } from '../workspace/compact.js';
import { formatOfName, formatOfTarget } from '../workspace/format-name.js';
import type { StreamRequest } from '../workspace/stream.js';
import { MEMBERS_OF_THE_JOB, type TargetPlan } from '../workspace/target.js';
import { anImage, Image } from './image.js';
import type { JobWatch } from './job.js';
import type {
  BackupRequest,
  BackupSettings,
  CheckSettings,
  CommitSettings,
  CompactSettings,
  CompareSettings,
  ConvertSettings,
  InfoOptions,
  JobSettings,
  MirrorSettings,
  SalvageSettings,
  SnapshotOrder,
  SnapshotSettings,
  StreamSettings,
  TargetJobSettings,
  WorkspaceOptions,
} from './options.js';
import { type OnProgress, progressListener } from './progress-listener.js';
import type { ServeOptions } from './service.js';

const cache: Check<NonNullable<OpenOptions['cache']>> = settings({ direct: bool, noFlush: bool });

const SNAPSHOT_KEY: Check<SnapshotKey> = settings({ id: text, name: text });

const OPEN: Shape<OpenOptions> = {
  format: text,
  nodeName: text,
  readOnly: bool,
  autoReadOnly: bool,
  forceShare: bool,
  cache,
  discard: qapi('BlockdevDiscardOptions'),
  detectZeroes: qapi('BlockdevDetectZeroesOptions'),
  backing: bool,
  snapshot: SNAPSHOT_KEY,
};

export const INFO: Shape<InfoOptions> = { ...OPEN, backingChain: bool };
export const CHECK: Shape<CheckSettings> = { ...OPEN, repair: choice('leaks', 'all') };

const onProgress: Check<OnProgress> = (value, path) => progressListener(callback<OnProgress>()(value, path));

export const COMPARE: Shape<CompareSettings> = { strict: bool, forceShare: bool, signal: abortSignal, onProgress };

export const SNAPSHOT: Shape<SnapshotSettings> = { format: text, nodeName: text, mode: qapi('NewImageMode') };

const SNAPSHOT_ORDER: Shape<SnapshotOrder> = { ...SNAPSHOT, image: anImage, file: fileName };

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

/** Options of a new image: the format says which there are. */
const creation =
  <T>(): Check<T> =>
  (value, path) =>
    plainObject(value, path) as T;

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

export const WORKSPACE: Shape<WorkspaceOptions> = {
  gate: (value, path) => {
    if (typeof (value as OpenGate | null)?.open !== 'function') throw wrongType(path, 'OpenGate', value);
    return value as OpenGate;
  },
  warn: callback(),
  jobsPerDisk: integer(1),
};

const CONVERT: Shape<ConvertSettings> = {
  create: creation(),
  source: settings(OPEN),
  bitmaps: choice('none', 'all', 'consistent'),
  sparseSize: integer(0),
  compress: bool,
  copyRange: bool,
  parallel: integer(1, 16),
  salvage: bool,
  onSalvaged: callback(),
  speed: integer(0),
  signal: abortSignal,
  onProgress,
};

const placedTable: Check<{ guest: number; host: number }> = (value, path) => {
  const { guest, host } = takeSettings<Partial<{ guest: number; host: number }>>(
    { guest: integer(0), host: integer(0) },
    value,
    path,
  );
  if (guest === undefined || host === undefined) throw wrongType(path, 'object with guest and host', value);
  return { guest, host };
};

const SALVAGE: Shape<SalvageSettings> = {
  create: creation(),
  source: settings(OPEN),
  compress: bool,
  parallel: integer(1, 16),
  speed: integer(0),
  signal: abortSignal,
  onProgress,
  clusterSize: integer(0),
  size: integer(0),
  l1Offset: integer(0),
  tables: list(placedTable),
  snapshot: (value, path) => (typeof value === 'string' ? value : SNAPSHOT_KEY(value, path)),
};

/** Credentials of either `kind`. The caller names no `side`: this program is always the server. */
const TLS: Shape<NonNullable<ServeOptions['tls']>> = {
  kind: choice('x509', 'psk'),
  ca: bytes,
  crl: bytes,
  cert: bytes,
  key: bytes,
  passphrase: text,
  verifyPeer: bool,
  keys: (value, path) => {
    if (!(value instanceof Map)) throw wrongType(path, 'Map', value);
    for (const [name, key] of value) bytes(key, `${path}['${text(name, path)}']`);
    return value;
  },
};

const BITMAP: Shape<{ node: string; name: string }> = { node: text, name: text };

const SERVE: Shape<ServeOptions> = {
  path: fileName,
  host: text,
  port: integer(0, 65535),
  maxConnections: integer(0, 0xffffffff),
  tls: (value, path) => takeSettings(TLS, value, path, ['kind']),
  authorise: callback(),
  name: text,
  description: text,
  readOnly: bool,
  bitmaps: list((value, path) =>
    typeof value === 'string' ? value : takeSettings(BITMAP, value, path, ['node', 'name']),
  ),
  allocationDepth: bool,
  multiConnection: choice('auto', 'on', 'off'),
  writethrough: bool,
  resize: bool,
};

/** What images are opened by, once it is checked: a name, or options. */
export type CheckedImage = string | LooseOptions;

export function imageName(value: unknown, path: string): CheckedImage {
  return typeof value === 'string' ? fileName(value, path) : takeImageOptions(value, path);
}

function takeImageOptions(value: unknown, path: string): LooseOptions {
  // It was checked already.
  if (value instanceof LooseOptions) return value;
  if (value instanceof Image) {
    throw new BlockError(
      'invalid-argument',
      `Parameter '${path}' is a file name or options, not an open Image: close it first, or copy it with backup()`,
    );
  }
  if (typeof value !== 'object') throw wrongType(path, 'string or object', value);
  return checkImageOptions(plainObject(value, path));
}

/** What `open` and its kin take; `what` is the image's name in messages. */
export function imageAndOptions(image: unknown, options: unknown, what = 'image'): [CheckedImage, OpenOptions] {
  const name = imageName(image, what);
  const checked = takeSettings(OPEN, options, 'settings');
  if (typeof name !== 'string' && checked.format !== undefined) {
    throw new BlockError('invalid-argument', "Parameter 'format' goes with a file name: options name a 'driver'");
  }
  return [name, checked];
}

/** `sized`: the size was given, and is not to be the backing file's. */
export function createOptions(filename: string, value: unknown): { options: ImageCreateOptions; sized: boolean } {
  const given: { size?: unknown; 'backing-file'?: unknown } = plainObject(value, 'options');
  const sized = given.size !== undefined || given['backing-file'] === undefined;
  return { options: checkCreateOptions(sized ? given : { ...given, size: 0 }, filename), sized };
}

export function objectOptions(value: unknown): string | ObjectOptions {
  // The members of each type of object are checked where the object is made.
  return typeof value === 'string' ? value : (plainObject(value, 'object') as object as ObjectOptions);
}

/** A salvage, once it is checked. */
export interface CheckedSalvage extends Pick<CheckedConversion, 'create'>, Omit<SalvageSettings, 'create'> {}

/** `value` is a format, or settings. */
export function salvageSettings(target: string, value: unknown): CheckedSalvage {
  const given = typeof value === 'string' ? { create: { driver: value } } : value;
  const { create = {}, ...others } = takeSettings(SALVAGE, given, 'settings');
  return { ...others, create: madeByCopy(create, target, others.compress) };
}

/** A conversion, once it is checked. */
export interface CheckedConversion extends Omit<ConvertSettings, 'create'> {
  /** The new image's options, without a size where it is to have the source's. */
  create: Omit<ImageCreateOptions, 'size'> & { size?: number };
}

/** `value` is a format, or settings. */
export function convertSettings(target: string, value: unknown): CheckedConversion {
  const given = typeof value === 'string' ? { create: { driver: value } } : value;
  const { create = {}, ...others } = takeSettings(CONVERT, given, 'settings');
  if (others.bitmaps !== undefined && others.bitmaps !== 'none' && others.source?.snapshot !== undefined) {
    throw new BlockError('invalid-argument', "'settings.bitmaps' are those of the disk, not of a snapshot of it");
  }
  return { ...others, create: madeByCopy(create, target, others.compress) };
}

function madeByCopy(create: { size?: number }, target: string, compress = false): CheckedConversion['create'] {
  const { size, ...made } = newImage(create, target, formatOfName);
  if (compress) checkCompresses(findDriver(made.driver));
  return create.size === undefined ? made : { size, ...made };
}

/**
 * Checks the options of an image to be made as `name`, as far as that can be done before its size is known. `formatOf` says its format where the
 * options do not.
 */
function newImage(given: object, name: string, formatOf: (name: string) => string): ImageCreateOptions {
  if ((given as { driver?: unknown }).driver === undefined) refuseFormat(given);
  const { driver = formatOf(name), size = 0, ...others } = given as { driver?: string; size?: number };
  return checkCreateOptions({ ...others, driver, size }, name);
}

// ---- jobs -------------------------------------------------------------------------------------------------------

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
  for (const given of MEMBERS_OF_THE_JOB) {
    if (Object.hasOwn(create, given)) {
      const why = given === 'size' ? 'the target has the size of the image' : "'sync' determines the backing file";
      throw new BlockError('invalid-argument', `Parameter '${path}.create.${given}' cannot be given: ${why}`);
    }
  }
  if (format !== undefined) {
    throw new BlockError('invalid-argument', `Parameter '${path}.format' is that of an existing target`);
  }
  const options = newImage(create, name, formatOfTarget) as ImageCreateOptions & { 'cluster-size'?: number };
  return {
    target: {
      image: name,
      format: options.driver,
      create: (members) => ({ ...options, ...members }) as ImageCreateOptions,
    },
    clusterBytes: options['cluster-size'] ?? 0,
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

// ---- snapshots and services -------------------------------------------------------------------------------------

/** The order of a snapshot whose parts are the caller's own arguments. */
export function snapshotOrder(of: unknown, file: unknown, given: unknown): SnapshotOrder {
  const settingsOf = takeSettings(SNAPSHOT, given, 'settings');
  return { ...settingsOf, image: anImage(of, 'image'), file: fileName(file, 'file') };
}

export function snapshotOrders(value: unknown): SnapshotOrder[] {
  return list((order, path) => takeSettings(SNAPSHOT_ORDER, order, path, ['image', 'file']))(value, 'orders');
}

export function serveOptions(value: unknown): ServeOptions {
  const options = takeSettings(SERVE, value, 'settings');
  if (options.path !== undefined && (options.host !== undefined || options.port !== undefined)) {
    throw new BlockError('invalid-argument', 'serve takes either a path or a host and port');
  }
  return options;
}
