// Commit: pushes what the layers from the top down hold into the base, which then reads as the top did.
//
//   base <- mid <- top <- overlay      commit of (mid, top) into base; afterwards
//   base <- overlay                    the overlay's header and link name the base; nobody uses mid and top any more
//
// Nobody writes to these layers while it runs. Where the top is the active layer, guests do: then it is a mirror from the top
// into the base that ends with the base in the top's place (`ActiveCommitDriver`).

import { chainOf, cowChild, nodesAbove, overlayOf, overlaysOf, skipFilters } from '../block/chain.js';
import type { Child, NodeUser } from '../block/child.js';
import { refuseCompressedOnly } from '../block/compression.js';
import { findLayer } from '../block/find-layer.js';
import type { Graph } from '../block/graph.js';
import { BlockNode } from '../block/node/node.js';
import { PERM_ALL, Perm, type WriteFlags } from '../block/types.js';
import type { BlockCommitArguments } from '../schema/generated/types.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { SECTOR_BYTES } from '../util/numbers.js';
import { CHUNK_BYTES, MAX_EXTENTS, MAX_PIECE_BYTES, runCopy, STEP_BYTES } from './copy-engine.js';
import { Chunker, ownContent, Plan } from './copy-plan.js';
import type { JobContext, JobDriver } from './driver.js';
import { checkFilter, type FilterPlan, type JobFilter, putFilter } from './job-filter.js';
import { filterOf, filterPlan, type JobEnvironment, type JobTypeDefinition, layerOf, nodeOf } from './job-type.js';
import { mirrorJob } from './mirror.js';
import { MirrorDriver } from './mirror-driver.js';
import {
  BETWEEN_SHARED,
  changeBacking,
  checkBackingName,
  checkWayDown,
  FROZEN_SHARED,
  hasWriter,
  JobResources,
  linkOf,
  SAME_SIZE_SHARED,
  type WriteAccess,
} from './resources.js';
import { transfer } from './transfer.js';
import { nothingToChange } from './verbs.js';

export interface CommitOptions {
  top: BlockNode;
  /** The image of which the top is a layer. Default: the top itself. */
  root?: BlockNode;
  /** Default: the last layer of the chain. */
  base?: BlockNode;
  /** Name of the base for the headers of the top's overlays; default: its file name. */
  backingFile?: string;
  /** The top has no overlay, is kept and emptied (`qemu-img commit` without `-d`); only where the base is its very backing node. */
  empty?: boolean;
  /** Each write to the base is durable when it is answered. Default: all is flushed at the end. */
  fua?: boolean;
  /** Is put above the top. Default: none is. */
  filter?: FilterPlan | null;
}

/** Base of a commit. Throws `invalid-argument` where there is none below `top`. */
function commitBase(top: BlockNode, base: BlockNode | undefined): BlockNode {
  const chain = chainOf(top);
  const found = base ?? chain[chain.length - 1];
  if (found === top) {
    throw new BlockError('invalid-argument', `cannot commit an image into itself`, { path: top.filename });
  }
  nodesAbove(top, found);
  return found;
}

/** The layers above the base may go on reading it while the job writes to it: what they read stays the same. */
function shareBase(resources: JobResources, top: BlockNode, base: BlockNode): { keep(): void } | null {
  const overlay = overlayOf(top, base);
  const link = overlay === null ? null : cowChild(skipFilters(overlay));
  return link ? resources.share(link, Perm.WRITE | Perm.RESIZE) : null;
}

/** Readers of the base, and those who only fill something in, go on; other writers have nothing to seek there. */
const BASE_SHARED = Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED;

/** Keeps those off the layers who would read them by themselves, which the base makes wrong. Throws `permission` where somebody does. */
function keepBetween(resources: JobResources, user: NodeUser, layers: readonly BlockNode[]): Child[] {
  return layers.map((node) => resources.keep(user, node, 'intermediate node', BETWEEN_SHARED));
}

/** Commit of layers that nobody writes to. */
class CommitDriver implements JobDriver {
  readonly type = 'commit';
  readonly #graph: Graph;
  readonly #top: BlockNode;
  readonly #base: BlockNode;
  /** The image of which the top is a layer. */
  readonly #root: BlockNode;
  readonly #layers: BlockNode[];
  readonly #backingFile: string | null;
  readonly #empty: boolean;
  readonly #flags: WriteFlags;
  readonly #resources: JobResources;
  readonly #plan: FilterPlan | null;
  #filter: JobFilter | null = null;
  #between: Child[] = [];
  #topLink: Child | null = null;
  #baseLink: Child | null = null;

  /** Throws `invalid-argument`. */
  constructor(options: CommitOptions) {
    this.#graph = options.top.graph;
    this.#top = options.top;
    this.#base = commitBase(options.top, options.base);
    this.#root = options.root ?? options.top;
    this.#layers = nodesAbove(this.#top, this.#base);
    this.#backingFile = options.backingFile ?? null;
    this.#empty = options.empty ?? false;
    this.#flags = { fua: options.fua };
    this.#plan = options.filter ?? null;
    if (this.#empty && (this.#layers.length !== 1 || this.#overlays().length > 0)) {
      throw new BlockError(
        'invalid-argument',
        'Only a top without overlays that is committed into its own backing file can be emptied',
        {
          path: this.#top.filename,
        },
      );
    }
    if (this.#empty && hasWriter(this.#top)) {
      const { filename } = this.#top;
      throw new BlockError(
        'permission',
        `'${filename}' is open for writing: only an image that is open read-only can be emptied`,
        {
          path: filename,
        },
      );
    }
    this.#resources = new JobResources(this.#graph);
  }

  /** Links the job to the layers and makes the base writable. Throws `busy`, `permission`, `locked`; `clean` releases everything. */
  async begin(user: NodeUser): Promise<void> {
    const resources = this.#resources;
    const top = this.#top;
    const base = this.#base;
    const plan = this.#plan;
    // QEMU has the job already when it looks at the name.
    if (plan !== null) checkFilter(this.#graph, plan);
    for (const node of new Set([this.#root, ...this.#layers, base])) resources.block(node, this.type);
    resources.freeze(this.#root, base);
    // An overlay that grew would see what the base has behind the top's end.
    for (const node of new Set([this.#root, ...this.#overlays()])) {
      if (node !== top) resources.keep(user, node, node === this.#root ? 'main node' : 'overlay', SAME_SIZE_SHARED);
    }
    if (plan === null) {
      for (const node of this.#layers.slice(1)) resources.keep(user, node, 'intermediate node', FROZEN_SHARED);
      this.#topLink = resources.attach(user, top, Perm.CONSISTENT_READ, FROZEN_SHARED);
    }
    shareBase(resources, top, base);
    resources.keep(user, base, 'base', PERM_ALL);
    const link = resources.attach(user, base, Perm.CONSISTENT_READ, BASE_SHARED);
    this.#baseLink = link;
    for (const overlay of this.#overlays()) await checkBackingName(overlay, base, this.#backingFile);
    await resources.beginWriting(link, Perm.CONSISTENT_READ | Perm.WRITE);
    if (plan === null) return;
    await this.#graph.drained([top], async () => {
      this.#filter = putFilter(resources, { plan, user, type: this.type, main: null }, top);
      this.#topLink = this.#filter.below;
      resources.attach(user, top, 0, PERM_ALL);
      this.#between = keepBetween(resources, user, this.#layers);
    });
  }

  async run(ctx: JobContext): Promise<void> {
    const top = this.#top;
    const base = this.#base;
    const source = linkOf(this.#topLink);
    const target = linkOf(this.#baseLink);
    ctx.progress.setTotal(top.length);
    await ctx.enterIo();
    try {
      await this.#fitBase();
    } finally {
      ctx.leaveIo();
    }
    const align = Math.max(base.copyUnitBytes, SECTOR_BYTES);
    const plan = new Plan(
      { source: top, base, classify: ownContent, align, maxPieceBytes: MAX_PIECE_BYTES },
      0,
      top.length,
    );
    const chunkBytes = Math.max(CHUNK_BYTES, align);
    await runCopy(ctx, {
      memory: top.host.memory,
      target: { link: target, bytes: top.length },
      chunks: new Chunker(plan, MAX_EXTENTS),
      chunkBytes,
      stepBytes: () => STEP_BYTES,
      copy: (chunk, buffer, order) =>
        transfer(
          {
            ...{ source, target, zeroStep: 0, zeroes: 'write', unmap: true, share: true, background: true },
            flags: this.#flags,
          },
          chunk,
          buffer,
          order,
        ),
    });
  }

  /** The base is as long as the top at least; what it has behind the top's end is not for a longer overlay to see. */
  async #fitBase(): Promise<void> {
    const end = this.#top.length;
    const base = linkOf(this.#baseLink);
    if (base.length < end) await this.#resources.lengthen(base, end);
    const longest = Math.max(0, ...this.#overlays().map((overlay) => overlay.length));
    const seen = Math.min(base.length, longest);
    if (seen > end) await base.writeZeroes(end, seen - end, { mayUnmap: true });
  }

  #overlays(): BlockNode[] {
    const above = this.#filter === null ? [] : overlaysOf(this.#filter.node);
    return [...overlaysOf(this.#top), ...above];
  }

  async prepare(): Promise<void> {
    await linkOf(this.#baseLink).flush();
  }

  async commit(): Promise<void> {
    const base = this.#base;
    for (const link of this.#between) this.#resources.detach(link);
    await this.#filter?.remove();
    // From here on the base is a backing node like any other, which its overlays do not let others write to.
    BlockNode.changePermissions(linkOf(this.#baseLink), Perm.CONSISTENT_READ, PERM_ALL);
    if (this.#empty) {
      const access = await this.#resources.writable(this.#top);
      const top = linkOf(this.#topLink);
      BlockNode.changePermissions(top, top.perm | Perm.WRITE_UNCHANGED, top.shared);
      try {
        // As QEMU: an image of a format that cannot drop it keeps what it holds.
        await top.makeEmpty().catch((error: unknown) => {
          if (toBlockError(error).code !== 'unsupported') throw error;
        });
        await top.flush();
      } finally {
        BlockNode.changePermissions(top, Perm.CONSISTENT_READ, top.shared);
      }
      await access.restore();
    }
    const overlays = this.#overlays();
    for (const overlay of overlays) {
      const access = await this.#resources.writable(overlay);
      await changeBacking(this.#graph, overlay, base, this.#backingFile);
      await access.restore();
    }
    if (overlays.length > 0) this.#resources.dropLater(this.#layers);
  }

  async clean(): Promise<void> {
    await this.#resources.release();
  }
}

/** Commit of the active layer: guests write to the top, and get the base in its place when the job is completed. */
class ActiveCommitDriver extends MirrorDriver {
  override readonly type = 'commit';
  #access: WriteAccess | null = null;
  #sharing: { keep(): void } | null = null;

  /** Throws `invalid-argument`. */
  constructor(options: CommitOptions) {
    const base = commitBase(options.top, options.base);
    if (options.backingFile !== undefined) {
      throw new BlockError('invalid-argument', "'backing-file' specified, but 'top' is the active layer");
    }
    const { top: source, filter, fua } = options;
    super({ source, target: base, sync: 'top', keepsBacking: true, filter, fua }, base);
  }

  override change(): void {
    throw nothingToChange();
  }

  protected override async takeTarget(user: NodeUser): Promise<Child> {
    const { resources, source, target } = this;
    for (const node of this.#layersBetween) resources.block(node, this.type);
    resources.freeze(source, target);
    this.#sharing = shareBase(resources, source, target);
    resources.keep(user, target, 'target', PERM_ALL);
    const link = resources.attach(user, target, 0, SAME_SIZE_SHARED);
    this.#access = await resources.beginWriting(link, Perm.WRITE);
    return link;
  }

  /** However the job ends, the base stays writable, but where it takes the place of a source that is not. */
  override run(ctx: JobContext): Promise<void> {
    this.#access?.keep();
    return super.run(ctx);
  }

  get #layersBetween(): BlockNode[] {
    return nodesAbove(this.source, this.target).slice(1);
  }

  protected override closeBetween(user: NodeUser): void {
    keepBetween(this.resources, user, this.#layersBetween);
  }

  protected override async pivot(): Promise<void> {
    await super.pivot();
    // Old layers that stay open must not keep others from writing to the base: what they read has no meaning any more.
    this.#sharing?.keep();
    this.resources.dropLater(nodesAbove(this.source, this.target));
  }
}

/** The arguments of `block-commit`, and what `qemu-img commit` adds to them. */
export interface CommitArguments extends BlockCommitArguments {
  /** `qemu-img commit` without `-d`: nobody uses the top, which is emptied at the end. */
  empty?: boolean;
  /** Each write to the base is durable when it is answered (`-t writethrough`). */
  fua?: boolean;
}

/** Of the active layer (it is `device` itself, or somebody writes to it): a job that becomes ready and waits for `complete`. */
export const commitJob: JobTypeDefinition<CommitArguments> = {
  name: 'commit',
  filter: 'commit_top',
  checksBusy: true,

  async make(env, args) {
    const root = nodeOf(env, args.device);
    for (const side of ['top', 'base'] as const) {
      if (args[side] !== undefined && args[`${side}-node`] !== undefined) {
        throw new BlockError('invalid-argument', `'${side}-node' and '${side}' are mutually exclusive`);
      }
    }
    const top = (await topOf(env, root, args)) ?? root;
    const base = await layerOf(env, top, args['base-node'], args.base);
    checkWayDown(top, base ?? null);
    base?.checkBlockers();
    const target = commitBase(top, base);
    refuseCompressedOnly(target);
    const backingFile = args['backing-file'];
    const active = !args.empty && (top === root || hasWriter(top));
    // An active commit is a mirror, with a mirror's filter.
    const filter = active ? filterOf(env, mirrorJob, args) : filterPlan(env, commitJob, args);
    const driver = active
      ? new ActiveCommitDriver({ top, base, backingFile, filter, fua: args.fua })
      : new CommitDriver({ top, root, base, backingFile, empty: args.empty, fua: args.fua, filter });
    return {
      driver,
      scope: { from: nodesAbove(top, target), target },
      onSourceError: args['on-error'],
      onTargetError: args['on-error'],
    };
  },
};

/** The layer that is committed; undefined where the arguments name none. Rejects with `not-found`, `invalid-argument`. */
async function topOf(env: JobEnvironment, root: BlockNode, args: CommitArguments): Promise<BlockNode | undefined> {
  if (args.top === undefined) return layerOf(env, root, args['top-node']);
  const found = args.top === root.filename ? root : await findLayer(root, args.top);
  if (found !== null) return found;
  throw new BlockError('not-found', `Top image file ${args.top} not found`, { path: root.filename });
}
