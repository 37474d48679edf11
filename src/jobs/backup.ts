// Backup: the source as it was at the moment of the start, whatever guests write afterwards. What is still to be copied
// is marked in the copy bitmap; a guest's write to such a place waits until the old data is saved.
//
//   worker:  claim -> read source -> write target                         (in the background)
//   guest:   [copy bitmap says old data is needed] -> claim, save it -> write source
//
// Both claim through one range lock, so that nothing is saved twice, and nothing is overwritten while it is being read.

import { DirtyBitmap } from '../block/bitmap.js';
import { backingOf, skipFilters } from '../block/chain.js';
import { type Child, checkPermissions, type NodeUser } from '../block/child.js';
import { refuseSameStorage } from '../block/identity.js';
import { Keeper, MIN_CLUSTER_BYTES } from '../block/keeper.js';
import { BlockNode } from '../block/node/node.js';
import { SAVED_TO_SHARED } from '../block/node/saving-filter.js';
import type { WriteObserver } from '../block/observer.js';
import { OverlayReaders } from '../block/overlay-readers.js';
import { knownDriver } from '../block/registry.js';
import { ROLES } from '../block/roles.js';
import { type Extent, PERM_ALL, Perm } from '../block/types.js';
import type { BitmapSyncMode, BlockdevBackup, MirrorSyncMode, OnCbwError } from '../schema/generated/types.js';
import { assert } from '../util/assert.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { roundDown } from '../util/numbers.js';
import { RangeLock } from '../util/range-lock.js';
import { BackupFilter } from './backup-filter.js';
import { type BitmapUse, bitmapFor, bitmapMode } from './bitmap-use.js';
import {
  CHUNK_BYTES,
  MAX_PIECE_BYTES,
  NO_ORDER,
  runCopy,
  type TransferOptions,
  transfer,
  WORKERS,
} from './copy-engine.js';
import { Chunker, type Classify, ownContent, Plan, wholeContent } from './copy-plan.js';
import { DirtyChunks } from './dirty-chunks.js';
import type { JobContext, JobDriver } from './driver.js';
import { type FilterPlan, type FilterUse, filterRefused, ONLY_THERE, putFilter } from './job-filter.js';
import { filterOf, type JobTypeDefinition, nodeOf } from './job-type.js';
import { awaitsBacking, restOf, zeroByItself } from './left-out.js';
import { JobResources, linkOf, refuseOtherSize, refuseReadOnly, sourceShared } from './resources.js';
import { copyScope } from './space.js';

export interface BackupOptions {
  source: BlockNode;
  /** Writable, as long as the source; for `sync: top`, `incremental` and `bitmap` its backing node holds the rest. */
  target: BlockNode;
  sync: MirrorSyncMode;
  bitmap?: string;
  bitmapMode?: BitmapSyncMode;
  /** Store as compressed clusters. */
  compress?: boolean;
  /** Default: `break-guest-write`. */
  onCbwError?: OnCbwError;
  /** The target reads as zeroes. Default: its block status says. */
  targetIsZero?: boolean;
  /** Requests of the background copy in flight, and bytes of each. */
  maxWorkers?: number;
  maxChunk?: number;
  /** The filter node that the job puts above the source. Default: it puts none there. */
  filter?: FilterPlan | null;
}

const INT_MAX = 2 ** 31 - 1;
/** More requests in flight, or larger ones, than these would only take memory. */
const MAX_WORKERS = 64;
const MAX_CHUNK_BYTES = 64 * 1024 * 1024;

class BackupDriver implements JobDriver, WriteObserver {
  readonly type = 'backup';
  readonly source: BlockNode;
  readonly #target: BlockNode;
  /** Who reads the target, reads the source where nothing is saved; null: nobody does. */
  #readers: OverlayReaders | null = null;
  readonly #options: BackupOptions;
  readonly #bitmapUse: BitmapUse | null;
  /** Still to be copied. */
  readonly #copy: DirtyBitmap;
  readonly #lock = new RangeLock();
  /** Saves what guests are about to write over. */
  readonly #keeper: Keeper;
  readonly #chunks: DirtyChunks;
  /** What lies below it is left out; null: nothing is. */
  #base: BlockNode | null;
  /** What the target reads as already is left out: its backing file is another one than the source's. */
  #compares = false;
  readonly #resources: JobResources;
  #user: NodeUser | null = null;
  /** Keeps the source as long as it is, until the filter does. */
  #until: Child | null = null;
  #sourceLink: Child | null = null;
  #targetLink: Child | null = null;
  #targetIsZero = false;
  #ctx: JobContext | null = null;
  #ran = false;
  /** Saved for guests before `run`. */
  #savedBytes = 0;

  /** Throws `invalid-argument`, `not-found`, `busy`. */
  constructor(options: BackupOptions) {
    const { source, target, sync } = options;
    if (source === target) throw new BlockError('invalid-argument', 'Source and target cannot be the same');
    this.source = source;
    this.#target = target;
    this.#options = options;
    this.#bitmapUse = bitmapFor(source, options);
    const granularity = Math.max(MIN_CLUSTER_BYTES, target.clusterBytes);
    checkPerformance(options, target.clusterBytes);
    this.#copy = new DirtyBitmap({ size: source.length, granularity });
    this.#base = sync === 'top' ? backingOf(source) : null;
    this.#chunks = new DirtyChunks({
      bitmap: this.#copy,
      lock: this.#lock,
      source,
      base: () => this.#base,
      classify: this.#classify,
      chunkBytes: chunkBytesOf(options.maxChunk, granularity),
    });
    this.#keeper = new Keeper({
      clock: source.host.clock,
      copy: this.#copy,
      lock: this.#lock,
      save: (run) => this.#saveRun(run),
      saved: (run) => this.#saved(run.length),
      readersPassed: () => this.#readers?.passed(),
      onError: options.onCbwError ?? 'break-guest-write',
      broken: () => this.#ctx?.wake(),
    });
    this.#resources = new JobResources(source.graph);
  }

  readonly #classify: Classify = (status) => (this.#base === null ? wholeContent : ownContent)(status);

  /** Links the job to both images, but does not freeze the content yet: see `takeMoment`. Throws `busy`, `permission`, `read-only`; `clean` releases everything. */
  async begin(user: NodeUser): Promise<void> {
    const { source } = this;
    const target = this.#target;
    checkTarget(source, target);
    const resources = this.#resources;
    this.#user = user;
    if (this.#options.filter) {
      // What works on the source meanwhile works below the filter, which says what it may do.
      this.#until = resources.keep(user, source, 'source', sourceShared(source));
      resources.block(target, this.type);
      resources.keep(user, target, 'target', PERM_ALL);
    } else {
      resources.block(source, this.type);
      resources.block(target, this.type);
      this.#sourceLink = resources.attach(user, source, Perm.CONSISTENT_READ, sourceShared(source));
      this.#targetLink = resources.attach(user, target, Perm.CONSISTENT_READ | Perm.WRITE, SAVED_TO_SHARED);
    }
    // Nobody resizes the source from here on; until here a guest could.
    this.#copy.truncate(source.length);
    const readers = new OverlayReaders(target, source);
    this.#readers = readers;
    resources.defer(() => readers.end());
    if (this.#options.sync === 'full') {
      this.#targetIsZero = this.#options.targetIsZero ?? (await zeroByItself(target));
    }
    // Over other images than the source, or with something of its own, the target would read other content where nothing is copied. One that
    // is to get its backing file later gets the top's data alone, as QEMU has it.
    if (this.#options.sync === 'top' && !(await awaitsBacking(target))) {
      this.#base = await restOf(source, target);
      this.#compares = this.#base === null && backingOf(target) !== null;
    }
  }

  /** The point in time. Within a drained section of the source (and of those of all backups that share the moment). Throws `busy`, `exists`. */
  takeMoment(): void {
    const plan = this.#options.filter;
    if (plan) {
      const user = this.#user;
      assert(user !== null, 'a backup has begun when it takes its moment');
      this.#putFilter(plan, user);
    } else this.#resources.observe(this.source, this);
    this.#bitmapUse?.freeze();
    const copy = this.#copy;
    if (this.#bitmapUse !== null) this.#bitmapUse.select(copy);
    else copy.set(0, copy.size);
  }

  #putFilter(plan: FilterPlan, user: NodeUser): void {
    const use: FilterUse = {
      plan,
      user,
      type: this.type,
      main: ONLY_THERE,
      make: (parts) => new BackupFilter(parts, this.#keeper),
      link: (node) => {
        this.#targetLink = (node as BackupFilter).linkTarget(this.#target, this.#targetPerm);
      },
    };
    this.#sourceLink = putFilter(this.#resources, use, this.source, this.#target).below;
    this.#resources.detach(linkOf(this.#until));
  }

  /** What the job does with the target. */
  get #targetPerm(): number {
    return this.#compares ? Perm.CONSISTENT_READ | Perm.WRITE : Perm.WRITE;
  }

  async run(ctx: JobContext): Promise<void> {
    const copy = this.#copy;
    ctx.progress.setTotal(Math.min(copy.dirtyBytes, copy.size) + this.#savedBytes);
    ctx.progress.advance(this.#savedBytes);
    this.#ctx = ctx;
    this.#ran = true;
    const chunks = this.#chunks;
    const moving = this.#moving;
    try {
      while (this.#options.sync === 'none' && this.#keeper.failure === null) await ctx.sleep(Number.POSITIVE_INFINITY);
      while ((await this.#unfinished(ctx)) && this.#keeper.failure === null) {
        chunks.rewind();
        await runCopy(ctx, {
          memory: this.source.host.memory,
          target: { link: linkOf(this.#targetLink), bytes: copy.dirtyBytes },
          chunks: { next: async () => (this.#keeper.failure === null ? chunks.next() : null) },
          chunkBytes: chunks.chunkBytes,
          workers: Math.min(this.#options.maxWorkers ?? WORKERS, MAX_WORKERS),
          copy: (chunk, buffer, order) => transfer(moving, chunk, buffer, order),
          finished: (chunk) => chunks.finished(chunk),
          abandoned: (chunk) => chunks.abandoned(chunk),
        });
      }
      if (this.#keeper.failure !== null) throw this.#keeper.failure;
      await ctx.enterIo();
      try {
        await linkOf(this.#targetLink).flush();
      } finally {
        ctx.leaveIo();
      }
    } finally {
      this.#ctx = null;
    }
  }

  cancelRequests(): void {
    this.#keeper.abandon();
    if (this.#targetLink !== null) BlockNode.cancelRequests(this.#targetLink);
  }

  /** Something is still to be copied, now that what is being saved for guests is on the target. */
  async #unfinished(ctx: JobContext): Promise<boolean> {
    if (this.#copy.dirtyBytes > 0) return true;
    await ctx.enterIo();
    try {
      await this.#lock.with(0, this.#copy.size, async () => {});
    } finally {
      ctx.leaveIo();
    }
    return this.#copy.dirtyBytes > 0;
  }

  get #moving(): TransferOptions {
    return {
      source: linkOf(this.#sourceLink),
      target: linkOf(this.#targetLink),
      zeroStep: this.#targetIsZero ? this.#copy.granularity : 0,
      zeroes: this.#targetIsZero ? 'skip' : 'write',
      unmap: false,
      compareStep: this.#compares ? this.#copy.granularity : 0,
      flags: this.#options.compress ? { compressed: true } : undefined,
    };
  }

  // ---- copy before write --------------------------------------------------------------------------------------

  origins(): readonly BlockNode[] {
    return [this.source];
  }

  beforeWrite(extents: readonly Extent[]): Promise<void> | undefined {
    return this.#keeper.beforeWrite(extents);
  }

  async #saveRun(run: Extent): Promise<BlockError | null> {
    const { memory } = this.source.host;
    const chunkBytes = this.#chunks.chunkBytes;
    const plan = new Plan(
      {
        source: this.source,
        base: this.#base,
        classify: this.#classify,
        align: this.#copy.granularity,
        maxPieceBytes: MAX_PIECE_BYTES,
      },
      run.offset,
      run.offset + run.length,
    );
    const chunker = new Chunker(plan, chunkBytes, 16);
    let buffer: Uint8Array | null = null;
    try {
      buffer = memory.allocate(Math.min(chunkBytes, run.length));
      for (let chunk = await chunker.next(); chunk !== null; chunk = await chunker.next()) {
        const fault = chunk.kind === 'skip' ? null : await transfer(this.#moving, chunk, buffer, NO_ORDER);
        if (fault !== null) return fault.error;
      }
      return null;
    } catch (error) {
      return toBlockError(error, { path: this.source.filename, operation: 'copy before write' });
    } finally {
      if (buffer !== null) memory.free(buffer);
    }
  }

  #saved(bytes: number): void {
    if (this.#ctx === null) this.#savedBytes += bytes;
    else this.#ctx.progress.advance(bytes);
  }

  // ---- the end ------------------------------------------------------------------------------------------------

  async commit(): Promise<void> {
    this.#bitmapUse?.succeed();
  }

  async abort(): Promise<void> {
    this.#bitmapUse?.fail(this.#ran ? this.#copy : null);
  }

  /** A guest's save that is under way ends first: it needs the target still, and its failure would be the guest's. */
  async clean(): Promise<void> {
    await this.#keeper.end();
    await this.#resources.release();
  }
}

/** Refuses a target that `source` cannot be copied to. Throws `invalid-argument`, `read-only`. */
export function checkTarget(source: BlockNode, target: BlockNode): void {
  refuseOtherSize(source, target);
  refuseReadOnly(target);
}

/** Refuses a target that the filter cannot take. Throws `permission`, `read-only`. */
function checkFilterTarget(target: BlockNode, { driver, name = target.graph.makeName() }: FilterPlan): void {
  const user = { userName: `node '${name}'` };
  try {
    checkPermissions(target, { user, name: 'target', role: ROLES.data, perm: Perm.WRITE, shared: SAVED_TO_SHARED });
    if (target.readOnly) throw new BlockError('read-only', 'Block node is read-only', { path: target.filename });
  } catch (error) {
    throw filterRefused(driver, error);
  }
}

/** `clusterBytes` is the target's. Throws `invalid-argument`. */
function checkPerformance(options: Pick<BackupOptions, 'maxWorkers' | 'maxChunk'>, clusterBytes: number): void {
  const { maxWorkers = WORKERS, maxChunk = 0 } = options;
  const granularity = Math.max(MIN_CLUSTER_BYTES, clusterBytes);
  if (!Number.isSafeInteger(maxWorkers) || maxWorkers < 1 || maxWorkers > INT_MAX) {
    throw new BlockError('invalid-argument', `max-workers must be between 1 and ${INT_MAX}`);
  }
  if (!Number.isSafeInteger(maxChunk) || maxChunk < 0) {
    throw new BlockError('invalid-argument', 'max-chunk must be zero (which means no limit) or positive');
  }
  if (maxChunk > 0 && maxChunk < granularity) {
    throw new BlockError(
      'invalid-argument',
      `Required max-chunk (${maxChunk}) is less than backup cluster size (${granularity})`,
    );
  }
}

/** Whole clusters, as many as the limit allows. */
function chunkBytesOf(maxChunk: number | undefined, granularity: number): number {
  if (!maxChunk) return CHUNK_BYTES;
  return roundDown(Math.min(maxChunk, MAX_CHUNK_BYTES), granularity);
}

/** The arguments of `blockdev-backup`, and what Diskwright adds to them. */
export interface BackupArguments extends BlockdevBackup {
  'on-cbw-error'?: OnCbwError;
  'target-is-zero'?: boolean;
}

export const backupJob: JobTypeDefinition<BackupArguments> = {
  name: 'backup',
  filter: 'copy-before-write',

  check(args, clusterBytes) {
    const perf = args['x-perf'];
    if (perf?.['use-copy-range']) throw new BlockError('unsupported', "Parameter 'use-copy-range' is not supported");
    checkPerformance({ maxWorkers: perf?.['max-workers'], maxChunk: perf?.['max-chunk'] }, clusterBytes);
    bitmapMode({ sync: args.sync, bitmap: args.bitmap, bitmapMode: args['bitmap-mode'] });
  },

  checkSource(_env, source, args) {
    bitmapFor(source, { sync: args.sync, bitmap: args.bitmap, bitmapMode: args['bitmap-mode'] });
  },

  async make(env, args) {
    const [source, target] = [nodeOf(env, args.device), nodeOf(env, args.target)];
    if (source === target) throw new BlockError('invalid-argument', 'Source and target cannot be the same');
    if (args.compress && knownDriver(skipFilters(target).driver)?.compresses !== true) {
      throw new BlockError('invalid-argument', 'Compression is not supported for this drive ');
    }
    await refuseSameStorage(source, target);
    const filter = filterOf(env, backupJob, args);
    target.checkBlockers();
    refuseOtherSize(source, target);
    if (filter === null) refuseReadOnly(target);
    else checkFilterTarget(target, filter);
    const perf = args['x-perf'];
    const driver = new BackupDriver({
      source,
      target,
      sync: args.sync,
      bitmap: args.bitmap,
      bitmapMode: args['bitmap-mode'],
      compress: args.compress,
      onCbwError: args['on-cbw-error'],
      targetIsZero: args['target-is-zero'],
      maxWorkers: perf?.['max-workers'],
      maxChunk: perf?.['max-chunk'],
      filter,
    });
    return {
      driver,
      source,
      scope: copyScope(source, target, args.sync),
      sizeUnknown: args.compress,
      onSourceError: args['on-source-error'],
      onTargetError: args['on-target-error'],
    };
  },
};
