// Mirror: makes a target equal to a source that guests go on writing to, keeps it equal, and at the end puts it in the
// source's place. Active commit is the same with the base as the target.
//
//   sweep the dirty bitmap until nothing is dirty -> ready -> (sweep on) -> complete -> pending
//   prepare:  drain the guests, copy the last dirty pieces, flush        commit: pivot, let the guests go on
//
// Between the end of `run` and `prepare` (a job that is finalized by hand) guests write on and are still followed.

import { DirtyBitmap } from '../block/bitmap.js';
import { backingOf, filteredChild } from '../block/chain.js';
import type { Child, NodeUser } from '../block/child.js';
import { refuseSameStorage } from '../block/identity.js';
import { backingFileOf } from '../block/node/format.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockNode as Node } from '../block/node/node.js';
import { hasBackingFiles } from '../block/registry.js';
import { holdsNothing } from '../block/same-below.js';
import { checkFree } from '../block/snapshot.js';
import { PERM_ALL, Perm } from '../block/types.js';
import type { BitmapSyncMode, BlockdevMirror, MirrorCopyMode, MirrorSyncMode } from '../schema/generated/types.js';
import { assert } from '../util/assert.js';
import { BlockError } from '../util/errors.js';
import { isPowerOfTwo } from '../util/numbers.js';
import { RangeLock } from '../util/range-lock.js';
import { type BitmapUse, bitmapFor, bitmapMode } from './bitmap-use.js';
import { type CopyContext, freeContext, runCopy, transfer, WORKERS } from './copy-engine.js';
import { type Classify, ownContent, wholeContent } from './copy-plan.js';
import { DirtyChunks } from './dirty-chunks.js';
import type { JobContext, JobDriver } from './driver.js';
import { type FilterPlan, putFilter } from './job-filter.js';
import { filterOf, type JobEnvironment, type JobTypeDefinition, nodeOf } from './job-type.js';
import { restOf, zeroByItself } from './left-out.js';
import { BackgroundObserver, BlockingObserver, type MirrorState } from './mirror-state.js';
import {
  checkNameBacking,
  holdDrained,
  JobResources,
  linkOf,
  nameBacking,
  refuseOtherSize,
  refuseReadOnly,
  SAME_SIZE_SHARED,
  sourceShared,
} from './resources.js';
import { copyScope } from './space.js';

export interface MirrorOptions {
  source: BlockNode;
  target: BlockNode;
  sync: MirrorSyncMode;
  /** `sync: incremental` or `bitmap`: a bitmap of the source. */
  bitmap?: string;
  bitmapMode?: BitmapSyncMode;
  /** Bytes of one bit of the dirty bitmap; default: the target's cluster, 4 KiB to 64 KiB. */
  granularity?: number;
  /** Bytes in flight at most. */
  bufSize?: number;
  /** Zeroes may become holes on the target. Default: true. */
  unmap?: boolean;
  copyMode?: MirrorCopyMode;
  /** Node whose users get the target at the end; default: the source. */
  replaces?: BlockNode;
  /** The target reads as zeroes. Default: its block status says. */
  targetIsZero?: boolean;
  /**
   * `leave`: the target keeps its backing node. `source`: at the pivot it gets the source's (`sync: none`: the source itself). Default:
   * `source` where `sync` is `top` or `none` and the target has no backing node.
   */
  backing?: 'leave' | 'source';
  /** The filter node that the job puts above the source. Default: it puts none there. */
  filter?: FilterPlan | null;
}

const MIN_GRANULARITY = 512;
const MAX_GRANULARITY = 64 * 1024 * 1024;
const DEFAULT_GRANULARITY = 65536;
/** QEMU's default of `buf-size`. */
const DEFAULT_BUF_BYTES = 10 * 1024 * 1024;

/** Throws `invalid-argument`, in QEMU's words. */
export function checkGranularity(granularity: number | undefined): void {
  if (granularity === undefined) return;
  if (!(granularity >= MIN_GRANULARITY && granularity <= MAX_GRANULARITY)) {
    throw new BlockError('invalid-argument', `Parameter 'granularity' expects a value in range [512B, 64MB]`);
  }
  if (!isPowerOfTwo(granularity)) {
    throw new BlockError('invalid-argument', `Parameter 'granularity' expects a power of 2`);
  }
}

/** Throws `invalid-argument`, in QEMU's words. */
function checkMirrorOptions({ granularity, bufSize }: Pick<MirrorOptions, 'granularity' | 'bufSize'>): void {
  checkGranularity(granularity);
  if (bufSize !== undefined && !(Number.isSafeInteger(bufSize) && bufSize >= 0)) {
    throw new BlockError('invalid-argument', "Invalid parameter 'buf-size'");
  }
}

export class MirrorDriver implements JobDriver {
  readonly type: 'mirror' | 'commit' = 'mirror';
  protected readonly source: BlockNode;
  protected readonly target: BlockNode;
  protected readonly resources: JobResources;
  readonly #options: MirrorOptions;
  /** What lies below it is left out; null: nothing is. */
  #base: BlockNode | null;
  /** What the target reads as already is left out: its backing file is another one than the source's. */
  #compares = false;
  /** The target gets its backing node at the end. */
  #takesBacking: boolean;
  readonly #bitmapUse: BitmapUse | null;
  readonly #state: MirrorState;
  readonly #chunks: DirtyChunks;
  #copyMode: MirrorCopyMode;
  #observer: BackgroundObserver | BlockingObserver;
  #sourceLink: Child | null = null;
  #targetLink: Child | null = null;
  #targetIsZero = false;
  #firstSweep = true;
  #ready = false;
  #pivot = true;
  #wake: () => void = () => {};
  #section: { end(): Promise<void> } | null = null;

  /** `base`: only what lies above it is copied. Throws `invalid-argument`. */
  constructor(options: MirrorOptions, base: BlockNode | null = null) {
    const { source, target, sync } = options;
    if (source === target) throw new BlockError('invalid-argument', "Can't mirror node into itself");
    const granularity = options.granularity ?? clampGranularity(target.clusterBytes);
    checkMirrorOptions({ granularity, bufSize: options.bufSize });
    this.source = source;
    this.target = target;
    this.resources = new JobResources(source.graph);
    this.#options = options;
    this.#base = base ?? (sync === 'top' ? backingOf(source) : null);
    this.#takesBacking = takesBacking(options);
    this.#bitmapUse = bitmapFor(source, options);
    this.#copyMode = options.copyMode ?? 'background';
    // A target that gets its backing node later can only be written in whole clusters: a part would be completed with zeroes.
    const wholeClusters = backingOf(target) === null && (backingFileOf(target) !== null || this.#takesBacking);
    const dirty = new DirtyBitmap({
      size: source.length,
      granularity: wholeClusters ? Math.max(granularity, target.clusterBytes) : granularity,
    });
    const lock = new RangeLock();
    this.#chunks = new DirtyChunks({ bitmap: dirty, lock, source, base: () => this.#base, classify: this.#classify });
    this.#state = {
      dirty,
      lock,
      chunks: this.#chunks,
      target: () => linkOf(this.#targetLink),
      unmap: options.unmap ?? true,
      pristine: true,
      wholeClusters,
      wake: () => this.#wake(),
    };
    this.#observer = this.#makeObserver();
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
    await this.#settleWhatIsLeftOut();
    if (this.#compares) Node.changePermissions(link, link.perm | Perm.CONSISTENT_READ, link.shared);
    const below = this.#backingToBe();
    if (below !== null) await checkNameBacking(target, below);
    // The base of an active commit only. What it gets reads as zeroes, as it does through a layer that is longer than its backing node.
    if (target.length < source.length) await resources.lengthen(link, source.length);
    resources.defer(() => source.removeObserver(this.#observer));
    await source.graph.drained([source], async () => {
      this.#bitmapUse?.freeze();
      const { dirty } = this.#state;
      if (this.#bitmapUse !== null) this.#bitmapUse.select(dirty);
      else if (this.#options.sync !== 'none') dirty.set(0, dirty.size);
      source.addObserver(this.#observer);
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

  /** Settles what the copy need not write. Throws `invalid-argument` where the target could not become right. */
  async #settleWhatIsLeftOut(): Promise<void> {
    const { source, target } = this;
    const { sync, targetIsZero } = this.#options;
    if (this.type === 'commit') return;
    if (sync === 'none') {
      const below = backingOf(target);
      if ((below === null ? this.#takesBacking : below === source) && (await holdsNothing(target))) return;
      throw new BlockError(
        'invalid-argument',
        `sync=none needs a target that holds nothing and has no other backing file than '${source.filename}'`,
        { path: target.filename },
      );
    }
    if (sync === 'full') this.#targetIsZero = targetIsZero ?? (await zeroByItself(target));
    if (sync !== 'top') return;
    if (backingOf(target) !== null) {
      this.#base = await restOf(source, target);
      this.#compares = this.#base === null;
    } else if (!this.#takesBacking || !(await holdsNothing(target))) {
      // It becomes a copy that stands alone.
      this.#takesBacking = false;
      this.#base = null;
    }
  }

  /** The node that the target gets as its backing node at the pivot; null: none. */
  #backingToBe(): BlockNode | null {
    if (!this.#takesBacking) return null;
    return this.#options.sync === 'none' ? this.source : backingOf(this.source);
  }

  /** Links the job to the target, for writing. Rejects with `read-only`, `permission`, `locked`. */
  protected async takeTarget(user: NodeUser): Promise<Child> {
    const { target } = this;
    refuseReadOnly(target);
    this.resources.keep(user, target, 'target', PERM_ALL);
    return this.resources.attach(user, target, Perm.WRITE, Perm.WRITE_UNCHANGED);
  }

  readonly #classify: Classify = (status) => {
    const kind = this.#base === null ? wholeContent(status) : ownContent(status);
    // Left out on the target only while that is as it was at the start.
    return kind === 'skip' && !this.#untouched ? 'data' : kind;
  };

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
    chunks.rewind();
    await runCopy(ctx, {
      memory: this.source.host.memory,
      target: { link: target, bytes: this.#state.dirty.dirtyBytes },
      chunks,
      chunkBytes: chunks.chunkBytes,
      workers: Math.max(
        1,
        Math.min(WORKERS, Math.floor((this.#options.bufSize || DEFAULT_BUF_BYTES) / chunks.chunkBytes)),
      ),
      copy: (chunk, buffer, order) => {
        const fresh = this.#targetIsZero && this.#untouched;
        return transfer(
          {
            source,
            target,
            zeroStep: fresh ? Math.max(chunks.granularity, 4096) : 0,
            zeroes: fresh ? 'skip' : 'write',
            unmap: this.#state.unmap,
            compareStep: this.#compares ? chunks.granularity : 0,
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
    if (this.#observer instanceof BlockingObserver) this.#observer.abandon();
    if (this.#targetLink !== null) Node.cancelRequests(this.#targetLink);
  }

  change(options: unknown): void {
    const mode = (options as { 'copy-mode'?: unknown } | null)?.['copy-mode'];
    if (mode === this.#copyMode) return;
    if (mode !== 'write-blocking' || this.#copyMode !== 'background') {
      throw new BlockError('invalid-argument', `Cannot change copy-mode from '${this.#copyMode}' to '${String(mode)}'`);
    }
    this.#copyMode = mode;
    const before = this.#observer;
    this.#observer = this.#makeObserver();
    this.source.addObserver(this.#observer);
    this.source.removeObserver(before);
    this.source.graph.quiescence.update();
  }

  origins(): readonly BlockNode[] {
    return this.#copyMode === 'write-blocking' ? [this.source] : [];
  }

  #makeObserver(): BackgroundObserver | BlockingObserver {
    return this.#copyMode === 'background' ? new BackgroundObserver(this.#state) : new BlockingObserver(this.#state);
  }

  async prepare(): Promise<void> {
    const { source, target } = this;
    const { replaces = source } = this.#options;
    this.#section = await holdDrained(source.graph, [source, target, replaces]);
    while (this.dirtyBytes > 0) await this.#sweep(freeContext());
    // A later opening of the target must find the same backing file.
    const below = this.#backingToBe();
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
    const { sync } = this.#options;
    const from = this.#options.replaces ?? source;
    assert(this.#section !== null && this.dirtyBytes === 0, 'a mirror pivots drained, with everything copied');
    // For `none` the source itself becomes the backing node, which it can once nobody writes to it any more.
    if (this.#takesBacking && sync !== 'none') await graph.setBacking(target, backingOf(source));
    Node.changePermissions(linkOf(this.#targetLink), 0, PERM_ALL);
    graph.replaceNode(from, target);
    if (this.#takesBacking && sync === 'none') await graph.setBacking(target, source);
    this.resources.dropLater([from]);
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
    if (this.#observer instanceof BlockingObserver) await this.#observer.end();
    await this.resources.release();
  }
}

/** Whether the target gets its backing node at the end: it has none yet, and could have one. */
function takesBacking({ sync, backing, target, source }: MirrorOptions): boolean {
  if (backing !== undefined) return backing === 'source';
  if (backingOf(target) !== null || !hasBackingFiles(target.driver)) return false;
  return sync === 'none' || (sync === 'top' && backingOf(source) !== null);
}

/** QEMU's default: the target's cluster size where it is from 4 KiB to 64 KiB, else 64 KiB. */
function clampGranularity(clusterBytes: number): number {
  return clusterBytes >= 4096 && clusterBytes <= DEFAULT_GRANULARITY ? clusterBytes : DEFAULT_GRANULARITY;
}

/** The arguments of `blockdev-mirror`, and what drive-mirror and Diskwright add to them. */
export interface MirrorArguments extends BlockdevMirror {
  /** For `sync: incremental` and `bitmap`. */
  bitmap?: string;
  'bitmap-mode'?: BitmapSyncMode;
  /** Default: true. */
  unmap?: boolean;
  'target-is-zero'?: boolean;
}

/**
 * The node that the target is to replace; undefined: the source. Only what lies between the source and its data can be replaced, whose content
 * is the source's. Throws `not-found`, `invalid-argument`.
 */
function replacedBy(
  env: JobEnvironment,
  source: BlockNode,
  { replaces }: Pick<MirrorArguments, 'replaces'>,
): BlockNode | undefined {
  if (replaces === undefined) return undefined;
  const found = env.graph.nodes.get(replaces);
  if (found === undefined) throw new BlockError('not-found', `Failed to find node with node-name='${replaces}'`);
  for (let node: BlockNode | undefined = source; node !== undefined; node = filteredChild(node)?.node) {
    if (node === found) return found;
  }
  throw new BlockError(
    'invalid-argument',
    `Cannot replace '${replaces}' by a node mirrored from '${source.nodeName}', because it cannot be guaranteed that doing so would not lead to an abrupt change of visible data`,
  );
}

export const mirrorJob: JobTypeDefinition<MirrorArguments> = {
  name: 'mirror',
  filter: 'mirror_top',

  check(args) {
    checkMirrorOptions({ granularity: args.granularity || undefined, bufSize: args['buf-size'] });
    bitmapMode({ sync: args.sync, bitmap: args.bitmap, bitmapMode: args['bitmap-mode'] });
  },

  checkSource(env, source, args) {
    bitmapFor(source, { sync: args.sync, bitmap: args.bitmap, bitmapMode: args['bitmap-mode'] });
    replacedBy(env, source, args);
  },

  async make(env, args) {
    const [source, target] = [nodeOf(env, args.device), nodeOf(env, args.target)];
    if (source === target) throw new BlockError('invalid-argument', "Can't mirror node into itself");
    checkFree(target);
    await refuseSameStorage(source, target);
    const driver = new MirrorDriver({
      source,
      target,
      sync: args.sync,
      bitmap: args.bitmap,
      bitmapMode: args['bitmap-mode'],
      granularity: args.granularity || undefined,
      bufSize: args['buf-size'],
      unmap: args.unmap,
      copyMode: args['copy-mode'],
      replaces: replacedBy(env, source, args),
      targetIsZero: args['target-is-zero'],
      filter: filterOf(env, mirrorJob, args),
    });
    return {
      driver,
      scope: copyScope(source, target, args.sync),
      onSourceError: args['on-source-error'],
      onTargetError: args['on-target-error'],
    };
  },
};
