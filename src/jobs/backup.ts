// The job type `backup`: from the arguments of `blockdev-backup` to the driver in backup-driver.ts.

import { checkPermissions } from '../block/child.js';
import { compresses, takesCompressed } from '../block/compression.js';
import { refuseSameStorage } from '../block/identity.js';
import type { BlockNode } from '../block/node/node.js';
import { SAVED_TO_SHARED } from '../block/node/saving-filter.js';
import { ROLES } from '../block/roles.js';
import { Perm } from '../block/types.js';
import type { BlockdevBackup, OnCbwError } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { BackupDriver } from './backup-driver.js';
import { checkPerformance } from './backup-options.js';
import { bitmapFor, bitmapMode } from './bitmap-use.js';
import { type FilterPlan, filterRefused } from './job-filter.js';
import { filterOf, type JobTypeDefinition, nodeOf } from './job-type.js';
import { refuseOtherSize, refuseReadOnly } from './resources.js';
import { copyScope } from './space.js';

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
    checkPerformance({ maxWorkers: perf?.['max-workers'], maxChunk: perf?.['max-chunk'] }, clusterBytes);
    bitmapMode({ sync: args.sync, bitmap: args.bitmap, bitmapMode: args['bitmap-mode'] });
  },

  checkSource(_env, source, args) {
    bitmapFor(source, { sync: args.sync, bitmap: args.bitmap, bitmapMode: args['bitmap-mode'] });
  },

  async make(env, args) {
    const [source, target] = [nodeOf(env, args.device), nodeOf(env, args.target)];
    if (source === target) throw new BlockError('invalid-argument', 'Source and target cannot be the same');
    if (args.compress && !takesCompressed(target)) {
      throw new BlockError('invalid-argument', 'Compression is not supported for this drive ');
    }
    await refuseSameStorage(source, target);
    const filter = filterOf(env, backupJob, args);
    target.checkBlockers();
    refuseOtherSize(source, target);
    if (filter === null) refuseReadOnly(target);
    else checkFilterTarget(target, filter);
    const perf = args['x-perf'];
    const compress = compresses(target, args.compress);
    const driver = new BackupDriver({
      source,
      target,
      sync: args.sync,
      bitmap: args.bitmap,
      bitmapMode: args['bitmap-mode'],
      compress,
      onCbwError: args['on-cbw-error'],
      targetIsZero: args['target-is-zero'],
      copyRange: perf?.['use-copy-range'],
      maxWorkers: perf?.['max-workers'],
      maxChunk: perf?.['max-chunk'],
      filter,
    });
    return {
      driver,
      source,
      scope: copyScope(source, target, args.sync),
      sizeUnknown: compress,
      onSourceError: args['on-source-error'],
      onTargetError: args['on-target-error'],
    };
  },
};

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
