// What a driver can do beyond I/O. Each driver says its own in `BlockNode.abilities`, and there alone it is asked for them: what is
// missing there, the driver cannot do.

import type { BlockStatsSpecific, ImageInfoSpecific, QCryptoBlockAmendOptionsLUKS } from '../schema/generated/types.js';
import type { Breakpoints } from './debug-events.js';
import type { CheckFinding } from './finding.js';
import type { InternalSnapshots } from './internal-snapshots.js';
import type { BlockNode } from './node/node.js';
import type { BlockStatus } from './types.js';

export interface Abilities {
  /** What the driver says of the image without reading its data; missing where nothing can be said, as of an export. */
  readonly details?: () => FormatDetails;
  /** What the driver has counted. */
  readonly stats?: () => BlockStatsSpecific;
  /**
   * Checks the consistency of all metadata; each finding is one call of `report`. Changes nothing. Rejects with `io`, and with `limit`
   * where the image is too large or too broken to be checked.
   */
  readonly check?: (report: (finding: CheckFinding) => void) => Promise<CheckResult>;
  /**
   * Reads all that the image stores and compares it with the checksums that the image has of it; each that is wrong is one call of `report`. Changes nothing. Rejects with
   * `io`, and as reads do where something cannot be read at all.
   */
  readonly checkData?: (report: (finding: CheckFinding) => void) => Promise<CheckResult>;
  /**
   * Checks, repairs what it finds (`leaks`: lost space alone), and checks again. Each finding of the first check is one call of `report`; those that the
   * repair is for have `repairs`. Rejects as `check`, and with `no-space`; the image can be repaired again then. Only of a node that is
   * writable, and that nobody else uses meanwhile.
   */
  readonly repair?: (kind: RepairKind, report: (finding: CheckFinding) => void) => Promise<RepairResult>;
  /** Its images can hold snapshots of themselves. */
  readonly snapshots?: InternalSnapshots;
  /** Changes what the image says of itself, its version say. */
  readonly amend?: Amendment;
  /** Fills and erases key slots of a writable image. Rejects with `invalid-argument`, `not-found`, `permission`, `limit`, `io`. */
  readonly keySlots?: (change: KeySlotChange) => Promise<void>;
  /**
   * Gives the unused space of its file back, while the node may be in use; `control` is asked before each piece of work. Rejects with `corrupt-image` for an image with
   * errors, `unsupported`, `invalid-argument`, `limit`, `read-only`, `no-space`, `io`: the content is as before whatever happens.
   */
  readonly compact?: (options: CompactOptions, control: CompactControl) => Promise<CompactResult>;
  /** Dirty bitmaps of the node that are persistent are stored in its image. */
  readonly bitmaps?: BitmapAbility;
  /** Nodes can become its children, or cease to be, while it is open. */
  readonly children?: ChangeableChildren;
  /** It can hold up those who use it. */
  readonly breakpoints?: Breakpoints;
  /** Cuts its connections to the outside at once, and makes no others: requests fail from then on. May be called again. */
  readonly cut?: () => void;
  /** What the node held at an earlier moment. */
  readonly moment?: Moment;
}

export interface CompactOptions {
  /** Nothing is written: the result says what would be done. Also of a node that is read-only. */
  dryRun?: boolean;
  /** Clusters that are equal to what the backing node has there are dropped. */
  dedupeBacking?: boolean;
  /** The content is not searched for clusters of zeroes. */
  keepZeroes?: boolean;
}

/** What a compact asks of whoever runs it. */
export interface CompactControl {
  /** Runs `action`, which reads or writes about so many bytes, when that is allowed. Rejects where no more work is to be done. */
  work<T>(bytes: number, action: () => Promise<T>): Promise<T>;
  /** So many bytes more will be worked on. */
  expect(bytes: number): void;
}

/** In bytes, where nothing else is said. */
export interface CompactResult {
  /** Length of the file before and after. */
  before: number;
  after: number;
  /** What was written elsewhere. */
  moved: number;
  /** Clusters of zeroes, and of what the backing file has, that are not stored any more. */
  dropped: number;
  /** Clusters, their number, that nothing referred to. */
  leaked: number;
}

/** A change of key slots. */
export interface KeySlotChange {
  options: QCryptoBlockAmendOptionsLUKS;
  /** What would lose data, or overwrite a key, is done all the same. */
  force: boolean;
  /** Called when all is checked, before anything is changed: where it rejects, so does the change. */
  checked?: () => Promise<void>;
}

/** Called with how much of the work is done. */
export type AmendProgress = (done: number, total: number) => void;

/** Called within a drained section of a writable node. */
export interface Amendment {
  /** Checks `options`, by the names of QAPI, and changes nothing. Rejects with `invalid-argument`, `unsupported`, `io`, `corrupt-image`. */
  prepare(options: object): Promise<PreparedAmend>;
}

/** The parts of a change: what comes before the image gets another size, if it gets one, and what comes after that. */
export interface PreparedAmend {
  before(progress: AmendProgress): Promise<void>;
  after(progress: AmendProgress): Promise<void>;
}

export interface BitmapAbility {
  /** The image can store bitmaps at all: not every version of a format can. */
  readonly storable: boolean;
  /** Throws where a new bitmap of this name and granularity (bytes) cannot be stored: `unsupported`, `limit`, `read-only`. */
  checkNew(name: string, granularity: number): void;
  /**
   * Makes the image durable, with the bitmaps as they are now; those that are not there any more are removed from it. Flushes and the close do so, too. Rejects
   * with `no-space`, `io`, `limit`.
   */
  store(): Promise<void>;
}

/** All are called within a drained section of the node. */
export interface ChangeableChildren {
  /** Throws `unsupported`, `permission`, `loop`, ... */
  add(node: BlockNode): void;
  /** Resolves when the child is closed, where nobody else uses it. Rejects with `unsupported`. */
  remove(name: string): Promise<void>;
}

/** What a node held at one moment, whatever is written to it since. All reject with `permission` where that is not kept (any more). */
export interface Moment {
  read(offset: number, buffer: Uint8Array): Promise<void>;
  /** As `BlockNode.blockStatus`, of everything that the moment's content came from. */
  blockStatus(offset: number, length: number): Promise<BlockStatus>;
  /** The range is not needed any more. */
  discard(offset: number, length: number): Promise<void>;
}

/** What a format says of itself. */
export interface FormatDetails {
  /** Bytes of a cluster, where the format has clusters. */
  clusterSize?: number;
  /** Its content is encrypted. */
  encrypted?: boolean;
  /** It was not closed properly. */
  dirty?: boolean;
  specific?: ImageInfoSpecific;
}

/** What is repaired: lost space alone, or everything. */
export type RepairKind = 'leaks' | 'all';

/** The image before and after a repair. */
export interface RepairResult {
  before: CheckResult;
  after: CheckResult;
}

/** The outcome of a consistency check, in clusters where nothing else is said. */
export interface CheckResult {
  /** Errors that kept the check from looking further. */
  checkErrors: number;
  corruptions: number;
  leaks: number;
  /** Bytes up to which the file is in use. */
  imageEndOffset: number;
  totalClusters: number;
  allocatedClusters: number;
  fragmentedClusters: number;
  compressedClusters: number;
}
