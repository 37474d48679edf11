// What the calls of the library take. Names are ours, in camelCase; three things are QAPI's, with QAPI's names throughout: the options that open an
// image (`ImageName`), those that make one (`create`), and the limits of an image.

import type { CheckResult, RepairKind } from '../block/abilities.js';
import type { CompareOptions } from '../block/compare.js';
import type { ImageCreateOptions } from '../block/create.js';
import type { CheckFinding } from '../block/finding.js';
import type { OpenGate } from '../block/gate.js';
import type { OpenOptions } from '../block/open.js';
import type { SalvageHints } from '../block/salvage.js';
import type { ConvertOptions } from '../jobs/convert.js';
import type {
  BitmapSyncMode,
  BlockdevOnError,
  MirrorCopyMode,
  MirrorSyncMode,
  NewImageMode,
} from '../schema/generated/types.js';
import type { ImageOptions } from '../schema/options.js';
import type { Image } from './image.js';
import type { JobWatch } from './job.js';

/** A file name, `json:{...}`, or options as `blockdev-add` has them. */
export type ImageName = string | ImageOptions;

export interface WorkspaceOptions {
  /** Opens, or refuses, what an image names as its backing file. Default: all is opened that an image may name (docs/security.md). */
  gate?: OpenGate;
  /** Is called with warnings of one line. */
  warn?: (message: string) => void;
  /** Jobs that run at once on one disk (file system, or block device); the others wait in state `created`. Default: all run. */
  jobsPerDisk?: number;
}

export interface CheckSettings extends OpenOptions {
  /** Repair what is found: lost space alone, or everything. The image is opened for writing then. */
  repair?: RepairKind;
  /** Read all data instead, and compare it with the checksums that the image has of it (dmg). Not together with `repair`. */
  data?: boolean;
}

/** What a check finds; after a repair, of the image as it is then. */
export interface ImageCheckResult extends CheckResult {
  /** After a repair: leaked clusters, and corruptions, that are no more. */
  leaksFixed?: number;
  corruptionsFixed?: number;
  findings: CheckFinding[];
}

export interface InfoOptions extends OpenOptions {
  /** The image, its backing file and so on. */
  backingChain?: boolean;
}

export interface MapSettings extends OpenOptions {
  /** Bytes of the disk: from here on. Default: 0. */
  from?: number;
  /** Up to, and without, this byte; what lies behind the end of the disk is left out. Default: its size. */
  to?: number;
}

export interface SnapshotSettings {
  /** Format of the overlay. Default: qcow2. */
  format?: string;
  /** Name for the overlay's node. */
  nodeName?: string;
  /**
   * `absolute-paths` (default) makes the overlay's file; an existing one is replaced. `existing` takes an existing image: over this one as its
   * backing file it must read as this one does, which is not checked.
   */
  mode?: NewImageMode;
}

/** One of several snapshots of the same moment. */
export interface SnapshotOrder extends SnapshotSettings {
  image: Image;
  /** Name of the overlay's file. */
  file: string;
}

/** Distributes over the formats, so that each keeps its own members. */
type MadeFor<T, Without extends PropertyKey> = T extends { driver: infer D }
  ? Omit<T, Without | 'driver'> & {
      /** Default: the format that the file's name ends with, as `.qcow2`, `.raw`, `.img`. */
      driver?: D;
    }
  : never;

/**
 * An image that a job makes: QAPI's `BlockdevCreateOptions` of a format, with QAPI's names. Without a `driver` (`{}`) its format is that which the file's
 * name ends with; qcow2 for a name that ends with none, as on the command line. Its size is the source's; its backing file follows from `sync`: the source's with `top`, the source itself with `none`, otherwise it
 * has none.
 */
export type JobTargetImage = MadeFor<ImageCreateOptions, 'size' | 'backing-file' | 'backing-fmt'>;

/** The image that a backup makes: as `JobTargetImage`. `compress: true` is the same as `compress` in the settings of the backup: give one of them. */
export type BackupTargetImage = JobTargetImage & { compress?: boolean };

/** The image that `convert` makes: QAPI's `BlockdevCreateOptions` of a format, which the name or `driver` must say. `size` is the source's where it is left out. */
export type ConvertedImage = MadeFor<ImageCreateOptions, 'size'> & { size?: number };

export interface CompareSettings extends CompareOptions {
  /** Reads images that somebody else writes to, or that this program has open; what is compared may change meanwhile. */
  forceShare?: boolean;
}

export interface ConvertSettings
  extends Pick<
    ConvertOptions,
    'sparseSize' | 'compress' | 'copyRange' | 'parallel' | 'salvage' | 'onSalvaged' | 'speed' | 'signal' | 'onProgress'
  > {
  /** How the source is opened. */
  source?: OpenOptions;
  /** The image to be made. Default: one of the format that its name ends with. */
  create?: ConvertedImage;
  /**
   * The persistent bitmaps of the source are copied, too: `all` rejects with `bad-state` where one is inconsistent, `consistent` leaves those out. Default: `none`.
   * Rejects with `unsupported` where one of the images can have no bitmaps.
   */
  bitmaps?: 'none' | 'all' | 'consistent';
}

export interface StreamImageSettings extends Pick<ConvertOptions, 'sparseSize' | 'speed' | 'signal' | 'onProgress'> {
  /** How the source is opened. */
  source?: OpenOptions;
  /** The image that is written: raw, qcow2 without preallocation, encryption and a data file, or vmdk of the subformat `streamOptimized`. Default: raw. */
  create?: ConvertedImage;
}

export interface StreamIntoSettings extends Pick<ConvertOptions, 'sparseSize' | 'compress' | 'speed' | 'signal'> {
  /** The image to be made. Default: one of the format that its name ends with. With a `size` it has that size: more bytes are refused, behind fewer there are zeroes. Formats other than raw, qcow2 and LUKS do not grow with the bytes, and need one. */
  create?: ConvertedImage;
  /** The bytes are raw, whatever they look like. Default: bytes that look like an image of another format are refused. */
  format?: 'raw';
  /** Bytes that have been written, in whole sectors. */
  onProgress?: (bytes: number) => void;
}

/**
 * An image that is measured: as `create` makes it. Its `size` (bytes) is that of the image that is copied, where there is one; a larger one may be given,
 * as to `convert`.
 */
export type MeasuredImage = Sized<ImageCreateOptions>;

/** Distributes over the formats, so that each keeps its own members. */
type Sized<T> = T extends unknown ? Omit<T, 'size'> & { size?: number } : never;

/** How a program follows a call, and ends it. */
export interface CallWatch {
  signal?: AbortSignal;
  /** Bytes of the disk that are done, and all of them. */
  onProgress?: (current: number, total: number) => void;
}

export interface MeasureSettings extends CallWatch {
  /** The image that would be copied. Default: none, the new one is empty. */
  image?: ImageName;
  /** How it is opened. With `snapshot`, that snapshot would be copied. */
  source?: OpenOptions;
}

export interface RebaseSettings extends CallWatch {
  /** Format of the image; found out where it is left out. */
  format?: string;
  /** Format of the new backing file. Required where there is one: without it, the backing file would be probed each time the image is opened. */
  backingFormat?: string;
  /** Only the name in the header changes: for a backing file that was moved. Where the new one has another content, so has the image. Default: false. */
  unsafe?: boolean;
  /** What has to be written into the image is compressed. Default: false. */
  compress?: boolean;
  /** How the image and its present backing files are opened, and how the new backing file is. */
  cache?: OpenOptions['cache'];
  backingCache?: OpenOptions['cache'];
  /** The new backing file is read while somebody else writes to it. Default: false. */
  forceShare?: boolean;
}

export interface DdSettings extends CallWatch {
  /** How the source is opened. */
  source?: OpenOptions;
  /** The image to be made. Default: one of the format that its name ends with. */
  create?: JobTargetImage;
  /** Bytes of the source: from here on. Default: 0. */
  from?: number;
  /** Up to, and without, this byte. Default: the size of the source. */
  to?: number;
}

export interface SalvageSettings
  extends Pick<ConvertOptions, 'compress' | 'parallel' | 'speed' | 'signal' | 'onProgress'>,
    SalvageHints {
  /** How the damaged image is opened. `backing: false`: its backing file is not read, and what is in it is lost. */
  source?: OpenOptions;
  /** The image to be made. Default: one of the format that its name ends with. */
  create?: ConvertedImage;
}

/** What all jobs take. */
export interface JobSettings extends JobWatch {
  /** Name of the job. Default: its type and a number. */
  jobId?: string;
  /** Rate limit, bytes a second; 0 (default) is none. */
  speed?: number;
  /** Becomes final without being asked. Default: true. */
  autoFinalize?: boolean;
  /** Is forgotten without being asked. Default: true. */
  autoDismiss?: boolean;
  /** Of a workspace with `jobsPerDisk`: when the job gets its turn, 0 (first) to 9. Default: 5. */
  priority?: number;
}

export interface StreamSettings extends JobSettings {
  /** The backing image that stays, by its file's name or by its node's. Default: none stays. */
  base?: string;
  baseNode?: string;
  /** The last image that is copied; what lies below it stays. Instead of `base`. */
  bottom?: string;
  bottomNode?: string;
  /** What the image's header will name as backing file. Default: a name of the base that holds where the image lies. */
  backingFile?: string;
  /** What a failed request leads to. Default: `report`. */
  onError?: BlockdevOnError;
}

export interface CompactSettings extends JobSettings {
  /** Clusters that are equal to what the backing image has there are dropped. */
  dedupeBacking?: boolean;
  /** The content is not searched for clusters of zeroes: nothing is read but what moves. */
  keepZeroes?: boolean;
}

/** What a compact would do, of a file; in bytes. */
export interface CompactPlan {
  /** Length of the file now, and as it would be. */
  before: number;
  after: number;
  /** What would be written elsewhere. */
  moved: number;
  /** Clusters that would not be stored any more. */
  dropped: number;
  /** Clusters, their number, that nothing refers to. */
  leaked: number;
}

export interface CommitSettings extends JobSettings {
  /** The topmost image whose data is committed, by its file's name or by its node's. Default: the image itself. */
  top?: string;
  topNode?: string;
  /** The image that is written to. Default: the lowest. */
  base?: string;
  baseNode?: string;
  /** What the header of the image above `top` will name as backing file. */
  backingFile?: string;
  /** What a failed request leads to. Default: `report`. */
  onError?: BlockdevOnError;
  /** The image, which has to be open with `readOnly`, is emptied at the end, and stays, as with `qemu-img commit`. */
  empty?: boolean;
}

/** What the jobs to a target take. */
export interface TargetJobSettings extends JobSettings {
  /** Format of an existing target; found out where it is left out. */
  format?: string;
  /**
   * `full` (default): the content of the whole chain. `top`: what the image itself holds, into an overlay of its backing file. `none`: what is
   * written from now on, into an overlay of the image. `incremental`, `bitmap`: what a bitmap says.
   */
  sync?: MirrorSyncMode;
  /** The bitmap that says what is copied. */
  bitmap?: string;
  /** What the bitmap holds at the end. */
  bitmapMode?: BitmapSyncMode;
  /** What a failed read, a failed write leads to. Default: `report`. */
  onSourceError?: BlockdevOnError;
  onTargetError?: BlockdevOnError;
  /** An existing target reads as zeroes. Default: its block status says. */
  targetIsZero?: boolean;
}

export interface MirrorSettings extends TargetJobSettings {
  /** The target is made: an image of this format, with these options. Default: the target exists. */
  create?: JobTargetImage;
  /** Node that the target takes the place of. Default: the image's. */
  replaces?: string;
  /** Bytes that are copied together, a power of two from 512 to 64 MiB. Default: the target's cluster size, from 4096 to 65536. */
  granularity?: number;
  /** Bytes in flight. */
  bufSize?: number;
  /** How a guest's writes reach the target. Default: `background`. */
  copyMode?: MirrorCopyMode;
  /** Zeroes may become holes on the target. Default: true. */
  unmap?: boolean;
}

export interface BackupSettings extends TargetJobSettings {
  /** The target is made: an image of this format, with these options. Default: the target exists. */
  create?: BackupTargetImage;
  /** Write compressed clusters. */
  compress?: boolean;
  /** Whether the guest's write fails, or the backup, where old data cannot be saved. Default: `break-guest-write`. */
  onCbwError?: 'break-guest-write' | 'break-snapshot';
  /** The target may share blocks with the source, where the file system can; data is not looked through for zeroes then. */
  copyRange?: boolean;
  /** Requests side by side. */
  maxWorkers?: number;
  /** Bytes of a request at most; 0 (default): Diskwright chooses. */
  maxChunk?: number;
}

/** One of several backups of the same moment. */
export interface BackupRequest extends BackupSettings {
  image: Image;
  target: ImageName;
}
