// Backup: the source as it was at the moment of the start, whatever guests write afterwards. What is still to be copied
// is marked in the copy bitmap; a guest's write to such a place waits until the old data is saved.
//
//   worker:  claim -> read source -> write target                         (in the background)
//   guest:   [copy bitmap says old data is needed] -> claim, save it -> write source
//
// Both claim through one range lock, so that nothing is saved twice, and nothing is overwritten while it is being read.

import { DirtyBitmap } from '../block/bitmap.js';
import { backingOf } from '../block/chain.js';
import type { Child, NodeUser } from '../block/child.js';
import { Keeper, MIN_CLUSTER_BYTES } from '../block/keeper.js';
import { BlockNode } from '../block/node/node.js';
import { SAVED_TO_SHARED } from '../block/node/saving-filter.js';
import type { WriteObserver } from '../block/observer.js';
import { OverlayReaders } from '../block/overlay-readers.js';
import { type Extent, PERM_ALL, Perm } from '../block/types.js';
import { assert } from '../util/assert.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { RangeLock } from '../util/range-lock.js';
import { BackupFilter } from './backup-filter.js';
import { type BackupOptions, checkPerformance, checkTarget, chunkBytesOf, MAX_WORKERS } from './backup-options.js';
import { type BitmapUse, bitmapFor } from './bitmap-use.js';
import { MAX_PIECE_BYTES, NO_ORDER, runCopy, STEP_BYTES, WORKERS } from './copy-engine.js';
import { Chunker, type Classify, ownContent, Plan, wholeContent } from './copy-plan.js';
import { DirtyChunks } from './dirty-chunks.js';
import type { JobContext, JobDriver } from './driver.js';
import { type FilterPlan, type FilterUse, ONLY_THERE, putFilter } from './job-filter.js';
import { awaitsBacking, restOf, zeroByItself } from './left-out.js';
import { hasWriter, JobResources, linkOf, sourceShared } from './resources.js';
import { type TransferOptions, transfer } from './transfer.js';

export class BackupDriver implements JobDriver, WriteObserver {
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
  readonly #chunkBytes: number;
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
    });
    this.#chunkBytes = chunkBytesOf(options.maxChunk, granularity);
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
          chunks: { next: async (bytes) => (this.#keeper.failure === null ? chunks.next(bytes) : null) },
          chunkBytes: this.#chunkBytes,
          // A limit of the user's holds for each request; and guests' writes wait for what is being saved.
          stepBytes: () => (this.#options.maxChunk || hasWriter(this.source) ? 0 : STEP_BYTES),
          workers: Math.min(this.#options.maxWorkers ?? WORKERS, MAX_WORKERS),
          copy: (chunk, buffer, order) => transfer({ ...moving, background: true }, chunk, buffer, order),
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

  /** What is compressed is left out cluster by cluster. */
  get #zeroStep(): number {
    const { granularity } = this.#copy;
    return this.#options.compress ? granularity : Math.min(granularity, this.#target.copyUnitBytes || granularity);
  }

  get #moving(): TransferOptions {
    return {
      source: linkOf(this.#sourceLink),
      target: linkOf(this.#targetLink),
      zeroStep: this.#targetIsZero && !this.#options.copyRange ? this.#zeroStep : 0,
      zeroes: this.#targetIsZero ? 'skip' : 'write',
      unmap: false,
      compareStep: this.#compares ? this.#copy.granularity : 0,
      flags: this.#options.compress ? { compressed: true } : undefined,
      share: this.#options.copyRange,
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
    const chunkBytes = this.#chunkBytes;
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
    const chunker = new Chunker(plan, 16);
    let buffer: Uint8Array | null = null;
    const takeBuffer = (): Uint8Array => {
      buffer ??= memory.allocate(Math.min(chunkBytes, run.length));
      return buffer;
    };
    try {
      for (let chunk = await chunker.next(chunkBytes); chunk !== null; chunk = await chunker.next(chunkBytes)) {
        const fault = chunk.kind === 'skip' ? null : await transfer(this.#moving, chunk, takeBuffer, NO_ORDER);
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
