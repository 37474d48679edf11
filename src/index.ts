// The public face: what is exported here is documented, typed and stable; nothing else is public.
//
// The functions work on one workspace of the process, opened when it is first needed. It keeps the process alive while something is
// under way only; `shutdown` closes it. Who needs another host, or a gate in front of backing files, makes a `Workspace`.

import type { Writable } from 'node:stream';
import type { CompareResult } from './block/compare.js';
import type { NewImageOptions } from './block/create.js';
import type { OpenOptions } from './block/open.js';
import type { SalvageReport } from './block/salvage.js';
import { openRealHost } from './host/real/index.js';
import type { Image } from './library/image.js';
import type { Job } from './library/job.js';
import type {
  BackupRequest,
  BackupSettings,
  CheckSettings,
  CommitSettings,
  CompactPlan,
  CompactSettings,
  CompareSettings,
  ConvertSettings,
  DdSettings,
  ImageCheckResult,
  ImageName,
  InfoOptions,
  MapSettings,
  MeasuredImage,
  MeasureSettings,
  MirrorSettings,
  RebaseSettings,
  SalvageSettings,
  SnapshotOrder,
  SnapshotSettings,
  StreamImageSettings,
  StreamIntoSettings,
  StreamSettings,
} from './library/options.js';
import type { QmpClient } from './library/qmp.js';
import type { NbdService, ServeOptions } from './library/service.js';
import { Workspace } from './library/workspace.js';
import type { ConnectQmpOptions, QmpAddress } from './qmp/client/types.js';
import type { BlockMeasureInfo, ImageInfo, MapEntry, ObjectOptions } from './schema/generated/types.js';

export type { CheckResult, RepairKind } from './block/abilities.js';
export type { DirtyRun } from './block/bitmap.js';
export type { CompareOptions, CompareResult } from './block/compare.js';
export type { ImageCreateOptions, NewImageOptions } from './block/create.js';
export type { DeviceStats } from './block/device-options.js';
export type { CheckFinding, Exact, FindingKind, Hex } from './block/finding.js';
export {
  denyGate,
  type ImageReference,
  type OpenedReference,
  type OpenGate,
  type ReferenceSource,
  sameFolderGate,
} from './block/gate.js';
export type { SnapshotKey } from './block/internal-snapshots.js';
export type { OpenOptions } from './block/open.js';
export type { OrphanTable, SalvageHints, SalvageRange, SalvageReason, SalvageReport } from './block/salvage.js';
export type { ExportOptions } from './exports/nbd/export.js';
export type { NbdClient } from './exports/nbd/server.js';
export type { V86Disk, V86DiskOptions, V86Emulator } from './exports/v86/disk.js';
export type { Host } from './host/host.js';
export type { NetAddress } from './host/net.js';
export { type EngineName, openRealHost, type RealHostOptions } from './host/real/index.js';
export type { JobEvent, JobEventMap, JobEventName } from './jobs/events.js';
export type { ProgressSnapshot } from './jobs/progress.js';
export { Bitmap } from './library/bitmap.js';
export { findingText } from './library/finding-text.js';
export {
  type AmendOptions,
  type AmendSettings,
  type BitmapSettings,
  Image,
  type ImageRange,
  type ReadStreamOptions,
  type ResizeOptions,
  type WriteOptions,
  type WriteStreamOptions,
  type ZeroOptions,
} from './library/image.js';
export { Job, type JobChange, type JobWatch } from './library/job.js';
export type {
  BackupRequest,
  BackupSettings,
  BackupTargetImage,
  CheckSettings,
  CommitSettings,
  CompareSettings,
  ConvertedImage,
  ConvertSettings,
  DdSettings,
  ImageCheckResult,
  ImageName,
  InfoOptions,
  JobSettings,
  JobTargetImage,
  MapSettings,
  MeasuredImage,
  MeasureSettings,
  MirrorSettings,
  RebaseSettings,
  SalvageSettings,
  SnapshotOrder,
  SnapshotSettings,
  StreamImageSettings,
  StreamIntoSettings,
  StreamSettings,
  TargetJobSettings,
  WorkspaceOptions,
} from './library/options.js';
export { QmpClient } from './library/qmp.js';
export { NbdService, type NbdServiceEvents, type ServeOptions, type ServiceTls } from './library/service.js';
export { v86Disk } from './library/v86.js';
export { Workspace } from './library/workspace.js';
export type {
  AnyQmpEvent,
  ConnectQmpOptions,
  ExecuteOptions,
  QmpAddress,
  QmpArguments,
  QmpClientEvent,
  QmpCommandName,
  QmpEventName,
  QmpReturn,
} from './qmp/client/types.js';
export type {
  BlockdevOptions,
  BlockMeasureInfo,
  ImageInfo,
  JobStatus,
  JobType,
  JobVerb,
  MapEntry,
  ObjectOptions,
  SnapshotInfo,
  ThrottleLimits,
} from './schema/generated/types.js';
export { BlockError, type BlockErrorCode } from './util/errors.js';
export type { ImageExtent } from './workspace/extents.js';

let shared: Workspace | null = null;

function workspace(): Workspace {
  shared ??= new Workspace(openRealHost());
  return shared;
}

/**
 * Opens an image with its backing chain, for reading and writing unless `readOnly` says otherwise.
 * Rejects with `not-found`, `locked`, `permission`, `invalid-image`, `unsupported`, `loop`, ...
 */
export function open(image: ImageName, settings?: OpenOptions): Promise<Image> {
  return workspace().open(image, settings);
}

/** Makes an object that options name by its id: `addObject('tls-creds-psk,id=tls0,dir=/keys')`. */
export function addObject(object: string | ObjectOptions): Promise<void> {
  return workspace().addObject(object);
}

/**
 * Makes an image file; one that is there is replaced. A backing file is opened before that, and must be there; an overlay whose `size` (bytes) is
 * left out is as large. Rejects with `invalid-argument`, `not-found`, `locked`, `no-space`, ...
 */
export function create(filename: string, options: NewImageOptions): Promise<void> {
  return workspace().create(filename, options);
}

/**
 * Copies the content of an image into a new one: `qemu-img convert`. The new image's format is that which `settings` name (or which they are:
 * `'qcow2'`), or which `target` ends with. Rejects with `cancelled` after an abort.
 */
export function convert(source: ImageName, target: string, settings?: string | ConvertSettings): Promise<void> {
  return workspace().convert(source, target, settings);
}

/**
 * Writes an image into a stream, from its first byte to its last, without a temporary copy: `diskwright convert IMAGE -`. It is raw, or qcow2 with its tables first, as `settings`
 * say (or which they are: `'qcow2'`). The stream is ended behind the last byte, and destroyed after a failure or an abort. Rejects with `unsupported` for a format, or options, that cannot be
 * written in order, before anything is written; with `cancelled`, and with the stream's own error.
 */
export function streamImage(
  image: ImageName,
  target: Writable,
  settings?: string | StreamImageSettings,
): Promise<void> {
  return workspace().streamImage(image, target, settings);
}

/**
 * Makes an image of the bytes of a stream (a `Readable`, or any async iterable of `Uint8Array`), which are raw: `diskwright convert - IMAGE`. The target grows with them, up to whole sectors
 * (512 bytes); an existing file is replaced. Rejects with `unsupported` for bytes of another format, before there is a target; with `no-space` for more than the `size` that was given, with
 * `cancelled`, and with the stream's own error; then the target is incomplete.
 */
export function streamIntoImage(
  source: AsyncIterable<Uint8Array>,
  target: string,
  settings?: string | StreamIntoSettings,
): Promise<void> {
  return workspace().streamIntoImage(source, target, settings);
}

/** What an image is (QAPI `ImageInfo`); with `backingChain`, what each image of the chain is, the top first. */
export function info(image: ImageName, settings: InfoOptions & { backingChain: true }): Promise<ImageInfo[]>;
export function info(image: ImageName, settings?: InfoOptions): Promise<ImageInfo>;
export function info(image: ImageName, settings?: InfoOptions): Promise<ImageInfo | ImageInfo[]> {
  return workspace().info(image, settings);
}

/** The runs of an image (QAPI `MapEntry`), or of the part of it that `settings` say, in order. */
export function map(image: ImageName, settings?: MapSettings): AsyncGenerator<MapEntry> {
  return workspace().map(image, settings);
}

/**
 * Checks the consistency of an image's metadata; `findings` has each fault, and `findingText` the words for one. The counts are those of
 * `diskwright check --output=json`, with names in camelCase. Rejects with `unsupported` for raw images.
 */
export function check(image: ImageName, settings?: CheckSettings): Promise<ImageCheckResult> {
  return workspace().check(image, settings);
}

/**
 * Writes what can be read of a damaged image into a new one, of the format that `settings` name (or which they are: `'qcow2'`), or which `target` ends
 * with. Resolves with what is lost: everything that is not in that list was read. The damaged image is only read.
 */
export function salvage(image: ImageName, target: string, settings?: string | SalvageSettings): Promise<SalvageReport> {
  return workspace().salvage(image, target, settings);
}

/** Do two images read the same? */
export function compare(a: ImageName, b: ImageName, settings?: CompareSettings): Promise<CompareResult> {
  return workspace().compare(a, b, settings);
}

/**
 * How large a file must be for a new image, bytes: for an empty one of `create` (a format, or options as those of `create` with its size), or with
 * `settings.image`, for the copy that `convert` makes of that. Nothing is written. Rejects with `unsupported` for a format that cannot say so, ...
 */
export function measure(create: string | MeasuredImage, settings?: MeasureSettings): Promise<BlockMeasureInfo> {
  return workspace().measure(create, settings);
}

/**
 * Gives an image another backing file, or with null none; its content stays, unless with `unsafe` only the name in the header changes. After a failure or an
 * abort it has its old backing file, and its content.
 */
export function rebase(image: ImageName, backing: string | null, settings?: RebaseSettings): Promise<void> {
  return workspace().rebase(image, backing, settings);
}

/**
 * Copies the bytes of an image from `from` up to `to` into a new one: `qemu-img dd`, whose `skip` and `count` are counted in blocks from the begin of the source. The new
 * image is as large as what is copied, in whole sectors.
 */
export function dd(source: ImageName, target: string, settings?: string | DdSettings): Promise<void> {
  return workspace().dd(source, target, settings);
}

/** Keeps `image` as it is now: what is written from now on goes to an overlay in `file`. */
export function snapshot(image: Image, file: string, settings?: SnapshotSettings): Promise<void> {
  return workspace().snapshot(image, file, settings);
}

/** Snapshots of several images at one moment: one transaction, in which all are made or none. */
export function snapshots(orders: readonly SnapshotOrder[]): Promise<void> {
  return workspace().snapshots(orders);
}

/** Starts a job that pulls what the backing files hold into `image`. */
export function stream(image: Image, settings?: StreamSettings): Promise<Job> {
  return workspace().stream(image, settings);
}

/** Starts a job that gives the unused space of `image`'s file back (qcow2), in place, while it may be used. */
export function compact(image: Image, settings?: CompactSettings): Promise<Job> {
  return workspace().compact(image, settings);
}

/** What `compact` would do with the image; nothing is written. */
export function planCompact(
  image: Image,
  settings?: Pick<CompactSettings, 'dedupeBacking' | 'keepZeroes'>,
): Promise<CompactPlan> {
  return workspace().planCompact(image, settings);
}

/** Starts a job that writes `image` down into its base; it becomes ready, and `complete` puts the base in the image's place. */
export function commit(image: Image, settings?: CommitSettings): Promise<Job> {
  return workspace().commit(image, settings);
}

/**
 * Starts a job that copies `image`, and all that is written to it meanwhile, to an existing image or, with
 * `create`, to one that is made.
 */
export function mirror(image: Image, target: ImageName, settings?: MirrorSettings): Promise<Job> {
  return workspace().mirror(image, target, settings);
}

/** Starts a job that copies `image`, as it is now, to an existing image or, with `create`, to one that is made. */
export function backup(image: Image, target: ImageName, settings?: BackupSettings): Promise<Job> {
  return workspace().backup(image, target, settings);
}

/** Starts backups of several images as they are at one moment: one transaction, in which all succeed or all fail. */
export function backups(requests: readonly BackupRequest[]): Promise<Job[]> {
  return workspace().backups(requests);
}

/**
 * Serves an open image by NBD, at a UNIX socket (`path`) or over TCP (`host`, `port`; by default at 127.0.0.1, which no other machine reaches), until the
 * service is closed. When a mirror, a commit or a snapshot puts another file in the image's place, the clients go on with that one.
 */
export function serve(image: Image, settings?: ServeOptions): Promise<NbdService> {
  return workspace().serve(image, settings);
}

/**
 * Connects to a QMP monitor, at a UNIX socket (its path), over TCP (`host`, `port`) or over a descriptor: that of Diskwright's daemon, of
 * qemu-storage-daemon or of a machine of QEMU. Rejects with `not-found`, `permission`, `io` (refused, no QMP server), `cancelled` (no greeting within
 * `timeoutMs`, or the signal), `invalid-argument`.
 */
export function connectQmp(address: QmpAddress, settings?: ConnectQmpOptions): Promise<QmpClient> {
  return workspace().connectQmp(address, settings);
}

/** Ends all services, connections and jobs and closes all images of the functions above, and what they run on. The next call begins anew. */
export async function shutdown(): Promise<void> {
  const closing = shared;
  shared = null;
  await closing?.close();
}
