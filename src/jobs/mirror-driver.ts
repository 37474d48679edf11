// Mirror: makes a target equal to a source that guests go on writing to, keeps it equal, and at the end puts it in the
// source's place. Active commit is the same with the base as the target.
//
//   sweep the dirty bitmap until nothing is dirty -> ready -> (sweep on) -> complete -> pending
//   prepare:  drain the guests, copy the last dirty pieces, flush        commit: pivot, let the guests go on
//
// Between the end of `run` and `prepare` (a job that is finalized by hand) guests write on and are still followed.
//
//   mirror-left-out.ts    what need not be written
//   mirror-copy-mode.ts   how guests are followed: the observers are in mirror-state.ts

import { DirtyBitmap } from '../block/bitmap.js';
import { backingOf } from '../block/chain.js';
import type { Child, NodeUser } from '../block/child.js';
import { backingFileOf } from '../block/node/format.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockNode as Node } from '../block/node/node.js';
import { PERM_ALL, Perm } from '../block/types.js';
import { assert } from '../util/assert.js';
import { BlockError } from '../util/errors.js';
import { roundDown } from '../util/numbers.js';
import { RangeLock } from '../util/range-lock.js';
import { type BitmapUse, bitmapFor } from './bitmap-use.js';
import { CHUNK_BYTES, type CopyContext, freeContext, runCopy, STEP_BYTES, WORKERS } from './copy-engine.js';
import { DirtyChunks } from './dirty-chunks.js';
import type { JobContext, JobDriver } from './driver.js';
import { putFilter } from './job-filter.js';
import { CopyMode } from './mirror-copy-mode.js';
import { MirrorLeftOut } from './mirror-left-out.js';
import { checkMirrorOptions, DEFAULT_BUF_BYTES, granularityFor, type MirrorOptions } from './mirror-options.js';
import type { MirrorState } from './mirror-state.js';
import {
  checkNameBacking,
  hasWriter,
  holdDrained,
  JobResources,
  linkOf,
  nameBacking,
  refuseOtherSize,
  refuseReadOnly,
  SAME_SIZE_SHARED,
  sourceShared,
} from './resources.js';
import { transfer } from './transfer.js';

export class MirrorDriver implements JobDriver {
  readonly type: 'mirror' | 'commit' = 'mirror';
  protected readonly source: BlockNode;
  protected readonly target: BlockNode;
  protected readonly resources: JobResources;
  readonly #options: MirrorOptions;
  readonly #leftOut: MirrorLeftOut;
  readonly #bitmapUse: BitmapUse | null;
  readonly #state: MirrorState;
  readonly #chunks: DirtyChunks;
  readonly #copyMode: CopyMode;
  #sourceLink: Child | null = null;
  #targetLink: Child | null = null;
  #firstSweep = true;
  #ready = false;
  #pivot = true;
  #wake: () => void = () => {};
  #section: { end(): Promise<void> } | null = null;

  /** `base`: only what lies above it is copied. Throws `invalid-argument`. */
  constructor(options: MirrorOptions, base: BlockNode | null = null) {
    const { source, target } = options;
    if (source === target) throw new BlockError('invalid-argument', "Can't mirror node into itself");
    const granularity = options.granularity ?? granularityFor(target.clusterBytes);
    checkMirrorOptions({ granularity, bufSize: options.bufSize });
    this.source = source;
    this.target = target;
    this.resources = new JobResources(source.graph);
    this.#options = options;
    this.#leftOut = new MirrorLeftOut(options, base);
    this.#bitmapUse = bitmapFor(source, options);
    // A target that gets its backing node later can only be written in whole clusters: a part would be completed with zeroes.
    const wholeClusters = backingOf(target) === null && (backingFileOf(target) !== null || this.#leftOut.takesBacking);
    const dirty = new DirtyBitmap({
      size: source.length,
      granularity: wholeClusters ? Math.max(granularity, target.clusterBytes) : granularity,
    });
    const lock = new RangeLock();
    this.#chunks = new DirtyChunks({
      bitmap: dirty,
      lock,
      source,
      base: () => this.#leftOut.base,
      classify: (status) => this.#leftOut.classify(status, this.#untouched),
    });
    this.#state = {
      dirty,
      lock,
      chunks: this.#chunks,
      target: () => linkOf(this.#targetLink),
      unmap: options.unmap ?? true,
      fua: options.fua === true || undefined,
      pristine: true,
      wholeClusters,
      wake: () => this.#wake(),
    };
    this.#copyMode = new CopyMode(source, this.#state, options.copyMode ?? 'background');
  }

  get dirtyBitmap(): DirtyBitmap {
    return this.#state.dirty;
  }

  /** Bytes that differ, or may. */
  get dirtyBytes(): number {
    return this.#state.dirty.dirtyBytes;
  }

  /** Links the job to both images and begins to follow the guests' writes. Throws `busy`, `permission`; `clean` releases everything. */
  async begin(user: NodeUser): Promise<void> {
    const { source, target, resources } = this;
    const { filter } = this.#options;
    resources.block(source, this.type);
    resources.block(target, this.type);
    if (filter) resources.keep(user, source, 'source', sourceShared(source));
    else this.#sourceLink = resources.attach(user, source, Perm.CONSISTENT_READ, sourceShared(source));
    // Nobody resizes the source from here on; until here a guest could.
    this.#state.dirty.truncate(source.length);
    const link = await this.takeTarget(user);
    this.#targetLink = link;
    if (!this.#fits) {
      if (!filter) refuseOtherSize(source, target);
      // Where there are filters, `run` says so, as QEMU's does. Until then nothing is done with the target.
      return this.#putFilter(user);
    }
    // All that can be refused is refused before the target is changed.
    if (this.type !== 'commit') await this.#leftOut.settle();
    if (this.#leftOut.compares) Node.changePermissions(link, link.perm | Perm.CONSISTENT_READ, link.shared);
    const below = this.#leftOut.backingToBe;
    if (below !== null) await checkNameBacking(target, below);
    // The base of an active commit only. What it gets reads as zeroes, as it does through a layer that is longer than its backing node.
    if (target.length < source.length) await resources.lengthen(link, source.length);
    resources.defer(() => this.#copyMode.unfollow());
    await source.graph.drained([source], async () => {
      this.#bitmapUse?.freeze();
      const { dirty } = this.#state;
      if (this.#bitmapUse !== null) this.#bitmapUse.select(dirty);
      else if (this.#options.sync !== 'none') dirty.set(0, dirty.size);
      this.#copyMode.follow();
      await this.#putFilter(user);
    });
  }

  /** The target of a commit is made as long as it has to be. */
  get #fits(): boolean {
    return this.type === 'commit' || this.source.length === this.target.length;
  }

  async #putFilter(user: NodeUser): Promise<void> {
    const { source, target, resources, type } = this;
    const { filter: plan } = this.#options;
    if (!plan) return;
    await source.graph.drained([source], async () => {
      const main = { perm: Perm.CONSISTENT_READ, shared: SAME_SIZE_SHARED };
      this.#sourceLink = putFilter(resources, { plan, user, type, main }, source, target).below;
      this.closeBetween(user);
    });
  }

  /** The source is read through a filter: what lies between it and the target may be closed to others. Throws `permission`. */
  protected closeBetween(_user: NodeUser): void {}

  /** Links the job to the target, for writing. Rejects with `read-only`, `permission`, `locked`. */
  protected async takeTarget(user: NodeUser): Promise<Child> {
    const { target } = this;
    refuseReadOnly(target);
    this.resources.keep(user, target, 'target', PERM_ALL);
    return this.resources.attach(user, target, Perm.WRITE, Perm.WRITE_UNCHANGED);
  }

  /** Both images are there as they were at the start, but for what this job has copied. */
  get #untouched(): boolean {
    return this.#firstSweep && this.#state.pristine && this.#bitmapUse === null;
  }

  async run(ctx: JobContext): Promise<void> {
    const { dirty } = this.#state;
    if (!this.#fits) refuseOtherSize(this.source, this.target);
    this.#wake = () => ctx.wake();
    try {
      ctx.progress.setRemaining(dirty.dirtyBytes);
      for (;;) {
        if (dirty.dirtyBytes > 0) {
          await this.#sweep(ctx);
          ctx.progress.setRemaining(dirty.dirtyBytes);
          continue;
        }
        if (!this.#ready) {
          await this.#flushTarget(ctx);
          this.#ready = true;
          ctx.ready();
          continue;
        }
        if (ctx.shouldComplete) return;
        await ctx.sleep(Number.POSITIVE_INFINITY);
      }
    } finally {
      this.#wake = () => {};
    }
  }

  async #flushTarget(ctx: JobContext): Promise<void> {
    await ctx.enterIo();
    try {
      await linkOf(this.#targetLink).flush();
    } finally {
      ctx.leaveIo();
    }
  }

  /** Copies what is dirty, once from begin to end. */
  async #sweep(ctx: CopyContext): Promise<void> {
    const source = linkOf(this.#sourceLink);
    const target = linkOf(this.#targetLink);
    const chunks = this.#chunks;
    const inFlight = this.#options.bufSize || DEFAULT_BUF_BYTES;
    const chunkBytes = Math.max(CHUNK_BYTES, chunks.granularity);
    const workers = Math.max(1, Math.min(WORKERS, Math.floor(inFlight / chunkBytes)));
    const stepBytes = roundDown(Math.min(STEP_BYTES, inFlight / workers), chunkBytes);
    chunks.rewind();
    await runCopy(ctx, {
      memory: this.source.host.memory,
      target: { link: target, bytes: this.#state.dirty.dirtyBytes },
      chunks,
      chunkBytes,
      stepBytes: () => (hasWriter(this.source) ? 0 : stepBytes),
      workers,
      copy: (chunk, buffer, order) => {
        const fresh = this.#leftOut.targetIsZero && this.#untouched;
        return transfer(
          {
            source,
            target,
            zeroStep: fresh ? Math.max(chunks.granularity, 4096) : 0,
            zeroes: fresh ? 'skip' : 'write',
            unmap: this.#state.unmap,
            flags: this.#state.fua && { fua: true },
            background: true,
            compareStep: this.#leftOut.compares ? chunks.granularity : 0,
          },
          chunk,
          buffer,
          order,
        );
      },
      finished: (chunk) => chunks.finished(chunk),
      abandoned: (chunk) => chunks.abandoned(chunk),
    });
    this.#firstSweep = false;
  }

  complete(): void {
    const { replaces } = this.#options;
    if (replaces !== undefined && replaces.length !== this.target.length) {
      throw new BlockError('invalid-argument', `Cannot replace '${replaces.nodeName}': sizes differ`);
    }
    this.#pivot = true;
  }

  cancel(force: boolean): boolean {
    if (force || !this.#ready) return false;
    this.#pivot = false;
    return true;
  }

  cancelRequests(): void {
    this.#copyMode.abandon();
    if (this.#targetLink !== null) Node.cancelRequests(this.#targetLink);
  }

  change(options: unknown): void {
    this.#copyMode.change((options as { 'copy-mode'?: unknown } | null)?.['copy-mode']);
  }

  origins(): readonly BlockNode[] {
    return this.#copyMode.origins();
  }

  async prepare(): Promise<void> {
    const { source, target } = this;
    const { replaces = source } = this.#options;
    this.#section = await holdDrained(source.graph, [source, target, replaces]);
    while (this.dirtyBytes > 0) await this.#sweep(freeContext());
    // A later opening of the target must find the same backing file.
    const below = this.#leftOut.backingToBe;
    if (below !== null) await nameBacking(target, below);
    await linkOf(this.#targetLink).flush();
  }

  async commit(): Promise<void> {
    this.#bitmapUse?.succeed(true);
    if (this.#pivot) await this.pivot();
    await this.#goOn();
  }

  /** Puts the target in the source's place. In the drained section. */
  protected async pivot(): Promise<void> {
    const { source, target } = this;
    const { graph } = source;
    const from = this.#options.replaces ?? source;
    assert(this.#section !== null && this.dirtyBytes === 0, 'a mirror pivots drained, with everything copied');
    const below = this.#leftOut.backingToBe;
    if (below !== null && below !== source) await graph.setBacking(target, below);
    Node.changePermissions(linkOf(this.#targetLink), 0, PERM_ALL);
    graph.replaceNode(from, target);
    // The source itself can become the backing node once nobody writes to it any more.
    if (below === source) await graph.setBacking(target, source);
    if (from.readOnly) await this.#makeReadOnly();
    this.resources.dropLater([from]);
  }

  /** The pivot is done, and cannot be undone: a failure is one of the job's end. Where the target cannot be reopened at all, it stays writable. */
  async #makeReadOnly(): Promise<void> {
    try {
      await this.target.reopen(true);
    } catch (error) {
      if (error instanceof BlockError && error.code === 'unsupported') return;
      this.resources.defer(() => {
        throw error;
      });
    }
  }

  async abort(): Promise<void> {
    this.#bitmapUse?.fail(this.#state.dirty);
    await this.#goOn();
  }

  async #goOn(): Promise<void> {
    const section = this.#section;
    this.#section = null;
    await section?.end();
  }

  async clean(): Promise<void> {
    await this.#goOn();
    await this.#copyMode.end();
    await this.resources.release();
  }
}
