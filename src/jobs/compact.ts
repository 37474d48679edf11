// The job that gives the unused space of an image's file back. The image may be in use meanwhile: the driver of its format moves a few megabytes at a time, and lets
// the others go on between.
//
//   job                                   driver (Abilities.compact)
//   pause, rate limit, cancel  <--work--- each batch
//   progress                   <--expect- what the plan has found

import type { CompactControl, CompactOptions, CompactResult } from '../block/abilities.js';
import { cowChild, skipFilters } from '../block/chain.js';
import type { NodeUser } from '../block/child.js';
import type { BlockNode } from '../block/node/node.js';
import { Perm } from '../block/types.js';
import type { BlockdevCompact } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import type { JobContext, JobDriver } from './driver.js';
import { type JobEnvironment, type JobTypeDefinition, nodeOf } from './job-type.js';
import { FROZEN_SHARED, JobResources, refuseReadOnly, SAME_SIZE_SHARED } from './resources.js';

/** The ability of the node to be compacted. Throws `unsupported`. */
export function compactOf(node: BlockNode): NonNullable<BlockNode['abilities']['compact']> {
  const { compact } = node.abilities;
  if (compact !== undefined) return compact;
  throw BlockError.at(node.filename, 'unsupported', `Format driver '${node.driver}' cannot be compacted`, {
    operation: 'compact',
  });
}

class CompactDriver implements JobDriver {
  readonly type = 'compact';
  readonly #node: BlockNode;
  readonly #options: CompactOptions;
  readonly #done: (result: CompactResult) => void;
  readonly #resources: JobResources;

  constructor(node: BlockNode, options: CompactOptions, done: (result: CompactResult) => void) {
    this.#node = node;
    this.#options = options;
    this.#done = done;
    this.#resources = new JobResources(node.graph);
  }

  /** Keeps other jobs, and changes of the size, off the image. Rejects with `busy`, `permission`, `locked`, `read-only`. */
  async begin(user: NodeUser): Promise<void> {
    const resources = this.#resources;
    const node = this.#node;
    resources.block(node, this.type);
    const backing = this.#options.dedupeBacking ? cowChild(node)?.node : undefined;
    if (backing !== undefined) {
      resources.block(backing, this.type);
      resources.freeze(node, backing);
      resources.keep(user, backing, 'backing node', FROZEN_SHARED);
    }
    await resources.writable(node);
    resources.attach(user, node, Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED, SAME_SIZE_SHARED);
  }

  async run(ctx: JobContext): Promise<void> {
    const control: CompactControl = {
      work: async (bytes, action) => {
        await ctx.throttle(bytes);
        await ctx.enterIo();
        try {
          return await action();
        } finally {
          ctx.leaveIo();
          ctx.progress.advance(bytes);
        }
      },
      expect: (bytes) => ctx.progress.addTotal(bytes),
    };
    this.#done(await compactOf(this.#node)(this.#options, control));
    // What was found to have changed meanwhile was not moved.
    ctx.progress.setTotal(ctx.progress.current);
  }

  async clean(): Promise<void> {
    await this.#resources.release();
  }
}

/** The arguments of the job; `done` gets what it has won. */
export interface CompactArguments extends BlockdevCompact {
  done?: (result: CompactResult) => void;
}

export const compactJob: JobTypeDefinition<CompactArguments> = {
  name: 'compact',
  checksBusy: true,

  async make(env: JobEnvironment, args) {
    const node = skipFilters(nodeOf(env, args.device));
    compactOf(node);
    refuseReadOnly(node);
    const options = { dedupeBacking: args['dedupe-backing'], keepZeroes: args['keep-zeroes'] };
    const driver = new CompactDriver(node, options, args.done ?? (() => undefined));
    return { driver, scope: { from: [], target: node }, sizeUnknown: true };
  },
};
