// What the calls of the library take, as shapes: every call checks its arguments here before it touches anything.

import type { Writable } from 'node:stream';
import { checkCompresses } from '../block/compression.js';
import { checkCreateOptions, type ImageCreateOptions, refuseFormat } from '../block/create.js';
import type { OpenGate } from '../block/gate.js';
import type { SnapshotKey } from '../block/internal-snapshots.js';
import type { OpenOptions } from '../block/open.js';
import { bareFormat, findDriver } from '../block/registry.js';
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
import { SECTOR_BYTES } from '../util/numbers.js';
import { checkStreamTarget } from '../workspace/convert-in.js';
import { formatOfName } from '../workspace/format-name.js';
import type { RebaseRequest } from '../workspace/rebase.js';
import { MEMBERS_OF_THE_JOB } from '../workspace/target.js';
import { anImage, Image } from './image.js';
import type {
  CheckSettings,
  CompareSettings,
  ConvertSettings,
  DdSettings,
  ImageName,
  InfoOptions,
  MapSettings,
  MeasureSettings,
  RebaseSettings,
  SalvageSettings,
  SnapshotOrder,
  SnapshotSettings,
  StreamImageSettings,
  StreamIntoSettings,
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
export const MAP: Shape<MapSettings> = { ...OPEN, from: integer(0), to: integer(0) };
export const CHECK: Shape<CheckSettings> = { ...OPEN, repair: choice('leaks', 'all'), data: bool };

export const onProgress: Check<OnProgress> = (value, path) => progressListener(callback<OnProgress>()(value, path));

export const COMPARE: Shape<CompareSettings> = { strict: bool, forceShare: bool, signal: abortSignal, onProgress };

export const SNAPSHOT: Shape<SnapshotSettings> = { format: text, nodeName: text, mode: qapi('NewImageMode') };

const SNAPSHOT_ORDER: Shape<SnapshotOrder> = { ...SNAPSHOT, image: anImage, file: fileName };

/** Options of a new image: the format says which there are. */
export const creation =
  <T>(): Check<T> =>
  (value, path) =>
    plainObject(value, path) as T;

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

const STREAM_IMAGE: Shape<StreamImageSettings> = {
  create: creation(),
  source: settings(OPEN),
  sparseSize: integer(0),
  speed: integer(0),
  signal: abortSignal,
  onProgress,
};

const STREAM_INTO: Shape<StreamIntoSettings> = {
  create: creation(),
  format: choice('raw'),
  sparseSize: integer(0),
  compress: bool,
  speed: integer(0),
  signal: abortSignal,
  onProgress: (value, path) => {
    const tell = callback<(bytes: number) => void>()(value, path);
    const listener = progressListener((bytes) => tell(bytes));
    return (bytes) => listener(bytes, bytes);
  },
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

const MEASURE: Shape<MeasureSettings> = {
  image: imageName as Check<ImageName>,
  source: settings(OPEN),
  signal: abortSignal,
  onProgress,
};

const REBASE: Shape<RebaseSettings> = {
  format: text,
  backingFormat: text,
  unsafe: bool,
  compress: bool,
  cache,
  backingCache: cache,
  forceShare: bool,
  signal: abortSignal,
  onProgress,
};

const DD: Shape<DdSettings> = {
  create: creation(),
  source: settings(OPEN),
  from: integer(0),
  to: integer(0),
  signal: abortSignal,
  onProgress,
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

/** In the place of a size that is not known yet, where options are checked: one that every format takes (qcow has no image of 0 bytes). */
const SOME_SIZE = SECTOR_BYTES;

/** `sized`: the size was given, and is not to be the backing file's. */
export function createOptions(filename: string, value: unknown): { options: ImageCreateOptions; sized: boolean } {
  const given: { size?: unknown; 'backing-file'?: unknown } = plainObject(value, 'options');
  const sized = given.size !== undefined || given['backing-file'] === undefined;
  if (sized) return { options: checkCreateOptions(given, filename), sized };
  return { options: { ...checkCreateOptions({ ...given, size: SOME_SIZE }, filename), size: 0 }, sized };
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

/** An image that is written in order, once that is checked. */
export interface CheckedStream extends Pick<CheckedConversion, 'create'>, Omit<StreamImageSettings, 'create'> {}

/** `value` is a format, or settings. */
export function streamImageSettings(value: unknown): CheckedStream {
  const given = typeof value === 'string' ? { create: { driver: value } } : value;
  const { create = {}, ...others } = takeSettings(STREAM_IMAGE, given, 'settings');
  return { ...others, create: madeByCopy({ driver: bareFormat().name, ...create }, 'the stream') };
}

/** Bytes that become an image, once that is checked. */
export interface CheckedBytes extends Pick<CheckedConversion, 'create'>, Omit<StreamIntoSettings, 'create'> {}

/** `value` is a format, or settings. */
export function streamIntoSettings(target: string, value: unknown): CheckedBytes {
  const given = typeof value === 'string' ? { create: { driver: value } } : value;
  const { create = {}, ...others } = takeSettings(STREAM_INTO, given, 'settings');
  const made = madeByCopy(create, target, others.compress);
  checkStreamTarget(made, "'settings.create.size'");
  return { ...others, create: made };
}

/** A stream that bytes are written to. */
export function writable(value: unknown, path: string): Writable {
  const { write, end, destroy, on } = (value ?? {}) as Partial<Writable>;
  if ([write, end, destroy, on].every((member) => typeof member === 'function')) return value as Writable;
  throw wrongType(path, 'Writable', value);
}

/** Bytes, one chunk after the other. */
export function chunksOf(value: unknown, path: string): AsyncIterable<Uint8Array> {
  const chunks = value as AsyncIterable<Uint8Array> | null | undefined;
  if (typeof chunks?.[Symbol.asyncIterator] === 'function') return chunks;
  throw wrongType(path, 'Readable or AsyncIterable', value);
}

/** A measurement, once it is checked. */
export interface CheckedMeasurement extends Omit<MeasureSettings, 'image'> {
  /** The new image's options, without a size where it is to have that of `image`. */
  create: CheckedConversion['create'];
  /** Undefined: nothing is copied, and `create` has a size. */
  image?: CheckedImage;
}

/** `made` is a format, or options. */
export function measureSettings(made: unknown, value: unknown): CheckedMeasurement {
  const { image, ...others } = takeSettings(MEASURE, value, 'settings');
  const given = typeof made === 'string' ? { driver: made } : plainObject(made, 'options');
  if (image === undefined) {
    if (others.source !== undefined) {
      throw new BlockError('invalid-argument', "Parameter 'settings.source' goes with 'settings.image'");
    }
    return { ...others, create: checkCreateOptions(given) };
  }
  const { size, ...create } = checkCreateOptions({ size: SOME_SIZE, ...given });
  return {
    ...others,
    image: image as CheckedImage,
    create: Object.hasOwn(given, 'size') ? { size, ...create } : create,
  };
}

/** A rebase, once it is checked. */
export interface CheckedRebase extends RebaseRequest {
  unsafe?: boolean;
}

export function rebaseSettings(image: unknown, backing: unknown, value: unknown): CheckedRebase {
  const {
    format,
    backingFormat,
    cache: mode,
    backingCache,
    forceShare,
    unsafe,
    compress,
    ...others
  } = takeSettings(REBASE, value, 'settings');
  const [name, how] = imageAndOptions(image, { format, cache: mode });
  const to = backing === null ? null : { name: fileName(backing, 'backing'), format: backingFormat };
  if (to === null && backingFormat !== undefined) {
    throw new BlockError(
      'invalid-argument',
      "Parameter 'settings.backingFormat' is that of a backing file: there is none",
    );
  }
  if (to?.name === '')
    throw new BlockError('invalid-argument', "Parameter 'backing' is empty: null stands for no backing file");
  if (backingFormat !== undefined) findDriver(backingFormat);
  if (unsafe && compress) {
    throw new BlockError('invalid-argument', "'settings.compress' has no effect with 'unsafe': no data is written");
  }
  return { ...others, unsafe, compress, image: name, how, to, below: { cache: backingCache, forceShare } };
}

/** A copy of blocks, once it is checked. */
export interface CheckedBlocks extends Omit<DdSettings, 'create'> {
  /** The new image's options, without its size. */
  create: Omit<ImageCreateOptions, 'size'>;
}

/** `value` is a format, or settings. */
export function ddSettings(target: string, value: unknown): CheckedBlocks {
  const given = typeof value === 'string' ? { create: { driver: value } } : value;
  const { create = {}, ...others } = takeSettings(DD, given, 'settings');
  refuseMembersOfJob(create, 'settings', {
    size: 'the new image is as large as what is copied',
    backing: 'all that is copied is in the new image',
  });
  const { size: _, ...made } = newImage(create, target, formatOfName);
  return { ...others, create: made };
}

/** Refuses options of a new image that follow from the call, for the reasons `why`. Throws `invalid-argument`. */
export function refuseMembersOfJob(create: object, path: string, why: { size: string; backing: string }): void {
  for (const given of MEMBERS_OF_THE_JOB) {
    if (!Object.hasOwn(create, given)) continue;
    const reason = given === 'size' ? why.size : why.backing;
    throw new BlockError('invalid-argument', `Parameter '${path}.create.${given}' cannot be given: ${reason}`);
  }
}

function madeByCopy(create: { size?: number }, target: string, compress = false): CheckedConversion['create'] {
  const { size, ...made } = newImage(create, target, formatOfName);
  if (compress) checkCompresses(findDriver(made.driver), { ...made, size } as ImageCreateOptions);
  return create.size === undefined ? made : { size, ...made };
}

/**
 * Checks the options of an image to be made as `name`, as far as that can be done before its size is known. `formatOf` says its format where the
 * options do not.
 */
export function newImage(given: object, name: string, formatOf: (name: string) => string): ImageCreateOptions {
  if ((given as { driver?: unknown }).driver === undefined) refuseFormat(given);
  const { driver = formatOf(name), size = SOME_SIZE, ...others } = given as { driver?: string; size?: number };
  return checkCreateOptions({ ...others, driver, size }, name);
}

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
