// Stream: pulls what the layers below the top hold into the top, which then does not need them any more.
//
//   base <- mid <- bottom <- top      what (bottom, mid) hold and top does not is written into top
//   base <- top                       afterwards: the top's header and link name the base
//
// A guest may write to the top meanwhile. The job takes a chunk's ranges in the top's serialiser, which every write takes too, looks
// again whether they are still missing there, and fills them in: what a guest wrote always wins.

import { backingOf, nodesAbove, wayDown } from '../block/chain.js';
import type { Child, NodeUser } from '../block/child.js';
import { refuseCompressedOnly } from '../block/compression.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { type Extent, Perm } from '../block/types.js';
import type { BlockStreamArguments } from '../schema/generated/types.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { SECTOR_BYTES } from '../util/numbers.js';
import { RangeLock } from '../util/range-lock.js';
import {
  CHUNK_BYTES,
  type CopyFault,
  MAX_EXTENTS,
  MAX_PIECE_BYTES,
  NO_ORDER,
  runCopy,
  STEP_BYTES,
} from './copy-engine.js';
import { type Chunk, Chunker, type Classify, isOwn, Plan, type PlanOptions } from './copy-plan.js';
import type { JobContext, JobDriver } from './driver.js';
import { type FilterParts, type FilterPlan, ONLY_THERE, putFilter } from './job-filter.js';
import { filterOf, type JobEnvironment, type JobTypeDefinition, layerByFile, nodeOf } from './job-type.js';
import {
  changeBacking,
  checkBackingName,
  checkWayDown,
  FROZEN_SHARED,
  hasWriter,
  JobResources,
  linkOf,
  SAME_SIZE_SHARED,
} from './resources.js';
import { StreamFilter } from './stream-filter.js';
import { type TransferOptions, transfer } from './transfer.js';

export interface StreamOptions {
  /** Where the content goes: the active layer, or any other with a backing node. */
  top: BlockNode;
  /** Stays as the top's backing node; null or absent: the top stands alone afterwards. */
  base?: BlockNode | null;
  /** Last layer that is streamed, instead of `base`. */
  bottom?: BlockNode;
  /** Name of the base for the top's header; default: its file name. */
  backingFile?: string;
  /** Is put above the top. Default: none is. */
  filter?: FilterPlan | null;
}

class StreamDriver implements JobDriver {
  readonly type = 'stream';
  /** As with QEMU, which fills the top in by copy-on-read. */
  readonly isAllReading = true;
  readonly #graph: Graph;
  readonly #top: BlockNode;
  /** Layers that are streamed, the top excepted; none where there is nothing to do. */
  readonly #layers: BlockNode[];
  readonly #backingFile: string | null;
  readonly #plan: FilterPlan | null;
  readonly #resources: JobResources;
  readonly #lock = new RangeLock();
  /** Reads and fills in the top. */
  #link: Child | null = null;
  #ignored: BlockError | null = null;

  /** Throws `invalid-argument` for options that contradict each other or the chain. */
  constructor(options: StreamOptions) {
    const { top, bottom } = options;
    if (options.base !== undefined && options.base !== null && bottom !== undefined) {
      throw new BlockError('invalid-argument', "'base' and 'bottom' cannot be specified at the same time");
    }
    const base = bottom === undefined ? (options.base ?? null) : backingOf(bottom);
    if (base === null && options.backingFile !== undefined) {
      throw new BlockError('invalid-argument', 'backing file specified, but streaming the entire chain');
    }
    this.#graph = top.graph;
    this.#top = top;
    this.#layers = nodesAbove(top, base).slice(1);
    this.#backingFile = options.backingFile ?? null;
    this.#plan = options.filter ?? null;
    this.#resources = new JobResources(top.graph);
  }

  /** Links the job to the layers. Throws `busy`, `permission`, `locked`; `clean` releases everything. */
  async begin(user: NodeUser): Promise<void> {
    const top = this.#top;
    const resources = this.#resources;
    for (const node of [top, ...this.#layers]) resources.block(node, this.type);
    resources.freeze(top, this.#bottom);
    resources.keep(user, top, 'active node', SAME_SIZE_SHARED);
    for (const node of this.#layers) resources.keep(user, node, 'intermediate node', FROZEN_SHARED);
    if (this.#changesBacking) await checkBackingName(top, this.base, this.#backingFile);
    await resources.writable(top);
    resources.defer(() => {
      top.serialiser = null;
    });
    await this.#graph.drained([top], async () => {
      top.serialiser = this.#lock;
      const plan = this.#plan;
      if (plan === null) {
        this.#link = resources.attach(user, top, Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED, SAME_SIZE_SHARED);
        return;
      }
      const make = (parts: FilterParts) =>
        new StreamFilter(parts, {
          bottom: this.#bottom,
          populate: (offset, length) => this.#populateNow(offset, length),
        });
      const { node, below } = putFilter(resources, { plan, user, type: this.type, main: ONLY_THERE, make }, top);
      resources.attach(user, node, Perm.CONSISTENT_READ, SAME_SIZE_SHARED);
      this.#link = below;
    });
  }

  /** The last layer that is streamed; the top itself where none is. */
  get #bottom(): BlockNode {
    return this.#layers.at(-1) ?? this.#top;
  }

  /** What stays below the top: the chain may have become shorter there meanwhile, or lead elsewhere. */
  get base(): BlockNode | null {
    return backingOf(this.#bottom);
  }

  /** The top's header gets a name at the end: the base comes nearer, or is there already and was given another name. */
  get #changesBacking(): boolean {
    return this.#layers.length > 0 || this.#backingFile !== null;
  }

  async run(ctx: JobContext): Promise<void> {
    const top = this.#top;
    ctx.progress.setTotal(top.length);
    if (this.#layers.length === 0) {
      ctx.progress.advance(top.length, 0);
      return;
    }
    const link = linkOf(this.#link);
    const align = this.#align;
    // Without a base what nobody holds reads as zeroes, so zeroes need not be written.
    const classify: Classify = (status) => {
      if (!isOwn(status) || status.depth === 0) return 'skip';
      if (status.zero) return this.base === null ? 'skip' : 'zero';
      return 'data';
    };
    const baseNow = () => this.base;
    const options: PlanOptions = {
      source: top,
      get base() {
        return baseNow();
      },
      classify,
      align,
      maxPieceBytes: MAX_PIECE_BYTES,
    };
    const plan = new Plan(options, 0, top.length);
    const chunkBytes = Math.max(CHUNK_BYTES, align);
    await runCopy(ctx, {
      memory: top.host.memory,
      target: { link, bytes: top.length },
      chunks: new Chunker(plan, MAX_EXTENTS),
      chunkBytes,
      // Guests' writes wait for what is being filled in.
      stepBytes: () => (hasWriter(top) ? 0 : STEP_BYTES),
      unordered: true,
      copy: (chunk, buffer) => this.#populate(chunk, buffer, true),
      leftBehind: (error) => {
        this.#ignored ??= error;
      },
    });
    if (this.#ignored !== null) throw this.#ignored;
  }

  get #align(): number {
    return Math.max(this.#top.clusterBytes, SECTOR_BYTES);
  }

  get #moving(): TransferOptions {
    const link = linkOf(this.#link);
    return {
      source: link,
      target: link,
      zeroStep: this.#align,
      zeroes: this.base === null ? 'skip' : 'write',
      unmap: true,
      flags: { serialised: true },
    };
  }

  /** For somebody who waits for the content of the range. */
  async #populateNow(offset: number, length: number): Promise<void> {
    const { memory } = this.#top.host;
    let buffer: Uint8Array | null = null;
    try {
      const chunk: Chunk = { kind: 'data', extents: [{ offset, length }], bytes: length };
      const takeBuffer = (): Uint8Array => {
        buffer ??= memory.allocate(length);
        return buffer;
      };
      const fault = await this.#populate(chunk, takeBuffer, false);
      if (fault !== null) throw fault.error;
    } finally {
      if (buffer !== null) memory.free(buffer);
    }
  }

  async #populate(chunk: Chunk, buffer: () => Uint8Array, background: boolean): Promise<CopyFault | null> {
    const lock = this.#lock;
    // All at once, so that no other writer comes between two of them in the queue.
    const held = await Promise.all(chunk.extents.map(({ offset, length }) => lock.acquire(offset, offset + length)));
    try {
      const extents = await this.#missing(chunk.extents);
      if (extents.length === 0) return null;
      const bytes = extents.reduce((sum, extent) => sum + extent.length, 0);
      const missing = { kind: chunk.kind, extents, bytes };
      return await transfer({ ...this.#moving, background }, missing, buffer, NO_ORDER);
    } catch (error) {
      return { error: toBlockError(error, { path: this.#top.filename, operation: 'block status' }), isRead: true };
    } finally {
      for (const range of held) lock.release(range);
    }
  }

  /** The parts of `extents` that the top does not hold itself. */
  async #missing(extents: readonly Extent[]): Promise<Extent[]> {
    const missing: Extent[] = [];
    for (const { offset, length } of extents) {
      for (let at = offset; at < offset + length; ) {
        const status = await linkOf(this.#link).blockStatus(at, offset + length - at);
        if (!status.allocated) missing.push({ offset: at, length: status.length });
        at += status.length;
      }
    }
    return missing;
  }

  async prepare(): Promise<void> {
    await linkOf(this.#link).flush();
  }

  async commit(): Promise<void> {
    if (!this.#changesBacking) return;
    const top = this.#top;
    await changeBacking(this.#graph, top, this.base, this.#backingFile);
    this.#resources.dropLater(this.#layers);
  }

  async clean(): Promise<void> {
    await this.#resources.release();
  }
}

/** Two ways to say where the job ends. */
const EXCLUSIVE = [
  ['base', 'base-node'],
  ['base', 'bottom'],
  ['bottom', 'base-node'],
] as const;

/** Throws `invalid-argument` where two arguments say where the job ends. */
export function checkStreamEnd(args: Pick<BlockStreamArguments, 'base' | 'base-node' | 'bottom'>): void {
  for (const [one, other] of EXCLUSIVE) {
    if (args[one] === undefined || args[other] === undefined) continue;
    throw new BlockError('invalid-argument', `'${one}' and '${other}' cannot be specified at the same time`);
  }
}

export const streamJob: JobTypeDefinition<BlockStreamArguments> = {
  name: 'stream',
  filter: 'copy-on-read',
  checksBusy: true,

  async make(env, args) {
    checkStreamEnd(args);
    const top = nodeOf(env, args.device);
    const base = await pickBase(env, top, args);
    const bottom = pickBottom(env, top, args);
    checkWayDown(top, bottom === undefined ? base : backingOf(bottom));
    refuseCompressedOnly(top);
    const driver = new StreamDriver({
      top,
      base,
      bottom,
      backingFile: args['backing-file'],
      filter: filterOf(env, streamJob, args),
    });
    return {
      driver,
      scope: { from: nodesAbove(top, driver.base).slice(1), target: top, fills: true },
      onSourceError: args['on-error'],
      onTargetError: args['on-error'],
    };
  },
};

/** The layer that stays below a streamed `top`; null: none. */
async function pickBase(env: JobEnvironment, top: BlockNode, args: BlockStreamArguments): Promise<BlockNode | null> {
  const node = args['base-node'];
  const base =
    node !== undefined ? env.graph.find(node) : args.base === undefined ? null : await layerByFile(top, args.base);
  if (base !== null && !wayDown(top).slice(1).includes(base)) {
    throw new BlockError('invalid-argument', `Node '${base.nodeName}' is not a backing image of '${top.nodeName}'`, {
      path: top.filename,
    });
  }
  return base;
}

/** The last layer that is streamed into `top`, where the arguments name one. Throws `not-found`, `invalid-argument`. */
function pickBottom(
  env: JobEnvironment,
  top: BlockNode,
  { bottom: name }: BlockStreamArguments,
): BlockNode | undefined {
  if (name === undefined) return undefined;
  const bottom = env.graph.find(name);
  const fail = (message: string): never => {
    throw new BlockError('invalid-argument', message, { path: top.filename });
  };
  if (bottom.kind === 'filter') fail(`Node '${name}' is a filter, use a non-filter node as 'bottom'`);
  if (!wayDown(top).includes(bottom)) fail(`Node '${name}' is not in a chain starting from '${top.nodeName}'`);
  return bottom;
}
