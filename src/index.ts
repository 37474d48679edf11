// The public face: what is exported here is documented, typed and stable; nothing else is public.
//
// The functions work on one workspace of the process, opened when it is first needed. It keeps the process alive while something is
// under way only; `shutdown` closes it. Who needs another host, or a gate in front of backing files, makes a `Workspace`.

import type { CompareOptions, CompareResult } from './block/compare.js';
import type { NewImageOptions } from './block/create.js';
import type { CheckResult } from './block/info.js';
import type { OpenOptions } from './block/open.js';
import type { NbdService, ServeOptions } from './exports/nbd/serve.js';
import { V86Disk, type V86DiskOptions } from './exports/v86/disk.js';
import { openRealHost } from './host/real/index.js';
import type { Image } from './library/image.js';
import type { JobHandle } from './library/job-handle.js';
import {
  type BackupRequest,
  type BackupSettings,
  type CommitSettings,
  type ConvertSettings,
  type ImageName,
  type InfoOptions,
  type MirrorSettings,
  type SnapshotOrder,
  type SnapshotSettings,
  type StreamSettings,
  Workspace,
} from './library/workspace.js';
import type { ImageInfo, MapEntry, ObjectOptions } from './schema/generated/types.js';

export { DirtyBitmap } from './block/bitmap.js';
export type { CompareOptions, CompareResult } from './block/compare.js';
export type { ImageCreateOptions, NewImageOptions } from './block/create.js';
export type { Device } from './block/device.js';
export { denyGate, type OpenGate, sameFolderGate } from './block/gate.js';
export type { CheckResult } from './block/info.js';
export type { OpenOptions } from './block/open.js';
export type { NbdService, ServeOptions } from './exports/nbd/serve.js';
export { V86Disk, type V86DiskOptions, type V86Emulator } from './exports/v86/disk.js';
export type { NetAddress, TlsSettings } from './host/net.js';
export { type EngineName, openRealHost, type RealHostOptions } from './host/real/index.js';
export type { JobEventMap, JobEventName } from './jobs/events.js';
export type { ProgressSnapshot } from './jobs/progress.js';
export { Image } from './library/image.js';
export { JobHandle } from './library/job-handle.js';
export type {
  BackupRequest,
  BackupSettings,
  CommitSettings,
  ConvertSettings,
  ImageName,
  InfoOptions,
  MirrorSettings,
  SnapshotOrder,
  SnapshotSettings,
  StreamSettings,
  WorkspaceOptions,
} from './library/workspace.js';
export type {
  BlockdevOptions,
  ImageInfo,
  JobStatus,
  JobVerb,
  MapEntry,
  ObjectOptions,
  ThrottleLimits,
} from './schema/generated/types.js';
export { BlockError, type BlockErrorCode } from './util/errors.js';
export { Workspace };

let shared: Workspace | null = null;

function workspace(): Workspace {
  shared ??= new Workspace(openRealHost());
  return shared;
}

/**
 * Opens an image with its backing chain, for reading and writing unless `readOnly` says otherwise.
 * Rejects with `not-found`, `locked`, `permission`, `invalid-image`, `unsupported`, `loop`, ...
 */
export function open(image: ImageName, options?: OpenOptions): Promise<Image> {
  return workspace().open(image, options);
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

/** Copies the content of an image into a new one: `qemu-img convert`. Rejects with `cancelled` after an abort. */
export function convert(source: ImageName, target: string, settings: ConvertSettings): Promise<void> {
  return workspace().convert(source, target, settings);
}

/** What an image is (QAPI `ImageInfo`); with `backingChain`, what each image of the chain is, the top first. */
export function info(image: ImageName, options: InfoOptions & { backingChain: true }): Promise<ImageInfo[]>;
export function info(image: ImageName, options?: InfoOptions): Promise<ImageInfo>;
export function info(image: ImageName, options?: InfoOptions): Promise<ImageInfo | ImageInfo[]> {
  return workspace().info(image, options);
}

/** The runs of an image (QAPI `MapEntry`), in order. */
export function map(image: ImageName, options?: OpenOptions): AsyncGenerator<MapEntry> {
  return workspace().map(image, options);
}

/** Checks the consistency of an image's metadata; `findings` has one line for each fault. */
export function check(image: ImageName, options?: OpenOptions): Promise<CheckResult & { findings: string[] }> {
  return workspace().check(image, options);
}

/** Do two images read the same? */
export function compare(a: ImageName, b: ImageName, options?: CompareOptions): Promise<CompareResult> {
  return workspace().compare(a, b, options);
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
export function stream(image: Image, settings?: StreamSettings): Promise<JobHandle> {
  return workspace().stream(image, settings);
}

/** Starts a job that writes `image` down into its base; it becomes ready, and `complete` puts the base in the image's place. */
export function commit(image: Image, settings?: CommitSettings): Promise<JobHandle> {
  return workspace().commit(image, settings);
}

/** Starts a job that copies `image`, and all that is written to it meanwhile, to an image that is there. */
export function mirror(image: Image, target: ImageName, settings: MirrorSettings): Promise<JobHandle> {
  return workspace().mirror(image, target, settings);
}

/** Starts a job that copies `image`, as it is now, to an image that is there. */
export function backup(image: Image, target: ImageName, settings: BackupSettings): Promise<JobHandle> {
  return workspace().backup(image, target, settings);
}

/** Starts backups of several images as they are at one moment: one transaction, in which all succeed or all fail. */
export function backups(requests: readonly BackupRequest[]): Promise<JobHandle[]> {
  return workspace().backups(requests);
}

/** `image` as a disk of the emulator v86: `new V86({hda: v86Disk(image)})`. The image stays the caller's to close. Throws `invalid-argument`. */
export function v86Disk(image: Image, options?: V86DiskOptions): V86Disk {
  return new V86Disk(image, options);
}

/** Serves an open image by NBD, at a UNIX socket (`path`) or over TCP (`host`, `port`), until the service is closed. */
export function serve(image: Image, options: ServeOptions): Promise<NbdService> {
  return workspace().serve(image, options);
}

/** Ends all services and jobs and closes all images of the functions above, and what they run on. The next call begins anew. */
export async function shutdown(): Promise<void> {
  const closing = shared;
  shared = null;
  await closing?.close();
}
