// The job type `mirror`: from the arguments of `blockdev-mirror` to the driver in mirror-driver.ts.

import { filteredChild } from '../block/chain.js';
import { refuseCompressedOnly } from '../block/compression.js';
import { refuseSameStorage } from '../block/identity.js';
import type { BlockNode } from '../block/node/node.js';
import { checkFree } from '../block/snapshot.js';
import type { BitmapSyncMode, BlockdevMirror } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { bitmapFor, bitmapMode } from './bitmap-use.js';
import { filterOf, type JobEnvironment, type JobTypeDefinition, nodeOf } from './job-type.js';
import { MirrorDriver } from './mirror-driver.js';
import { checkMirrorOptions } from './mirror-options.js';
import { copyScope } from './space.js';

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
    refuseCompressedOnly(target);
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
