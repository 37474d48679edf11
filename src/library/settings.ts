// What the calls of the library take, as shapes: every call checks its arguments here before it touches anything.

import type { CompareOptions } from '../block/compare.js';
import { checkCreateOptions, type ImageCreateOptions } from '../block/create.js';
import type { OpenGate } from '../block/gate.js';
import type { OpenOptions } from '../block/open.js';
import type { ServeOptions } from '../exports/nbd/serve.js';
import type { ObjectOptions } from '../schema/generated/types.js';
import { LooseOptions } from '../schema/loose-options.js';
import { checkImageOptions } from '../schema/options.js';
import { membersOf, qapi } from '../schema/qapi-shape.js';
import {
  abortSignal,
  bool,
  bytes,
  type Check,
  callback,
  choice,
  fileName,
  instance,
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
import { Image } from './image.js';
import type {
  BackupRequest,
  BackupSettings,
  CommitSettings,
  ConvertSettings,
  InfoOptions,
  JobTurn,
  MirrorSettings,
  SnapshotOrder,
  SnapshotSettings,
  StreamSettings,
  WorkspaceOptions,
} from './workspace.js';

const cache: Check<NonNullable<OpenOptions['cache']>> = settings({ direct: bool, noFlush: bool });

export const OPEN: Shape<OpenOptions> = {
  format: text,
  nodeName: text,
  readOnly: bool,
  autoReadOnly: bool,
  forceShare: bool,
  cache,
  discard: qapi('BlockdevDiscardOptions'),
  detectZeroes: qapi('BlockdevDetectZeroesOptions'),
  backing: bool,
};

export const INFO: Shape<InfoOptions> = { ...OPEN, backingChain: bool };

export const COMPARE: Shape<CompareOptions> = { strict: bool, signal: abortSignal, onProgress: callback() };

export const SNAPSHOT: Shape<SnapshotSettings> = { format: text, nodeName: text, mode: qapi('NewImageMode') };

const image = instance(Image, 'Image');

const SNAPSHOT_ORDER: Shape<SnapshotOrder> = { ...SNAPSHOT, image, file: fileName };

const TURN: Shape<JobTurn> = { priority: integer(0, 9) };

export const STREAM: Shape<StreamSettings> = { ...membersOf('BlockStreamArguments', ['device']), ...TURN };

export const COMMIT: Shape<CommitSettings> = { ...membersOf('BlockCommitArguments', ['device']), empty: bool, ...TURN };

export const MIRROR: Shape<MirrorSettings> = {
  ...membersOf('BlockdevMirror', ['device', 'target']),
  bitmap: text,
  'bitmap-mode': qapi('BitmapSyncMode'),
  unmap: bool,
  'target-is-zero': bool,
  format: text,
  ...TURN,
};

export const BACKUP: Shape<BackupSettings> = {
  ...membersOf('BlockdevBackup', ['device', 'target']),
  'on-cbw-error': choice('break-guest-write', 'break-snapshot'),
  'target-is-zero': bool,
  format: text,
  ...TURN,
};

export const WORKSPACE: Shape<WorkspaceOptions> = {
  gate: (value, path) => {
    if (typeof (value as OpenGate | null)?.check !== 'function') throw wrongType(path, 'OpenGate', value);
    return value as OpenGate;
  },
  warn: callback(),
  jobsPerDisk: integer(1),
};

const CONVERT: Shape<Omit<ConvertSettings, 'target'>> = {
  source: settings(OPEN),
  sparseSize: integer(0),
  compress: bool,
  parallel: integer(1, 16),
  salvage: bool,
  onSalvaged: callback(),
  speed: integer(0),
  signal: abortSignal,
  onProgress: callback(),
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
  tls: (value, path) => takeSettings(TLS, value, path, ['kind', 'verifyPeer']),
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
  if (typeof value !== 'object') throw wrongType(path, 'string or object', value);
  return checkImageOptions(plainObject(value, path));
}

/** What `open` and its kin take; `what` is the image's name in messages. */
export function imageAndOptions(image: unknown, options: unknown, what = 'image'): [CheckedImage, OpenOptions] {
  const name = imageName(image, what);
  const checked = takeSettings(OPEN, options, 'options');
  if (typeof name !== 'string' && checked.format !== undefined) {
    throw new BlockError('invalid-argument', "Parameter 'format' goes with a file name: options name a 'driver'");
  }
  return [name, checked];
}

/** `sized`: the size was given, and is not to be the backing file's. */
export function createOptions(value: unknown): { options: ImageCreateOptions; sized: boolean } {
  const given: { size?: unknown; 'backing-file'?: unknown } = plainObject(value, 'options');
  const sized = given.size !== undefined || given['backing-file'] === undefined;
  return { options: checkCreateOptions(sized ? given : { ...given, size: 0 }), sized };
}

export function objectOptions(value: unknown): string | ObjectOptions {
  // What it is made of, the table of objects knows.
  return typeof value === 'string' ? value : (plainObject(value, 'object') as object as ObjectOptions);
}

/** `target` may leave its size out. */
export function convertSettings(value: unknown): ConvertSettings {
  const { target, ...others } = plainObject(value === undefined ? {} : value, 'settings');
  const settingsOf = takeSettings(CONVERT, others, 'settings');
  if (target === undefined) throw new BlockError('invalid-argument', "Parameter 'settings.target' is missing");
  const given = plainObject(target, 'settings.target');
  const { size, ...made } = checkCreateOptions({ ...given, size: given['size'] ?? 0 });
  const options = given['size'] === undefined ? made : { size, ...made };
  if (settingsOf.compress && made.driver === 'raw') {
    throw new BlockError('invalid-argument', 'Compression not supported for this file format');
  }
  return { ...settingsOf, target: options as ConvertSettings['target'] };
}

/** The order of a snapshot whose parts are the caller's own arguments. */
export function snapshotOrder(of: unknown, file: unknown, given: unknown): SnapshotOrder {
  const settingsOf = takeSettings(SNAPSHOT, given, 'settings');
  return { ...settingsOf, image: image(of, 'image'), file: fileName(file, 'file') };
}

export function snapshotOrders(value: unknown): SnapshotOrder[] {
  return list((order, path) => takeSettings(SNAPSHOT_ORDER, order, path, ['image', 'file']))(value, 'orders');
}

/** A backup's request, once it is checked. */
export type CheckedBackup = Omit<BackupRequest, 'target'> & { target: CheckedImage };

/** The request of a backup whose parts are the caller's own arguments. */
export function backupRequest(of: unknown, target: unknown, given: unknown): CheckedBackup {
  const args = takeSettings(BACKUP, given, 'settings', ['sync']);
  return { image: image(of, 'image'), target: imageName(target, 'target'), args };
}

export function backupRequests(value: unknown): CheckedBackup[] {
  const REQUEST: Shape<CheckedBackup> = {
    image,
    target: imageName,
    args: (args, path) => takeSettings(BACKUP, args, path, ['sync']),
  };
  return list((request, path) => takeSettings(REQUEST, request, path, ['image', 'target', 'args']))(value, 'requests');
}

export function serveOptions(value: unknown): ServeOptions {
  const options = takeSettings(SERVE, value, 'options');
  if (options.path !== undefined && (options.host !== undefined || options.port !== undefined)) {
    throw new BlockError('invalid-argument', 'serve takes either a path or a host and port');
  }
  return options;
}
