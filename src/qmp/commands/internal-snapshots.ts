// Internal snapshots of nodes and devices, in QEMU's words.

import { findSnapshot } from '../../block/internal-snapshots.js';
import { formatOf } from '../../block/node/format.js';
import type { BlockNode } from '../../block/node/node.js';
import { createInternalSnapshot, deleteInternalSnapshot, snapshotsIn } from '../../block/snapshot-changes.js';
import { startSnapshotJob } from '../../jobs/internal-snapshot.js';
import type { BlockdevSnapshotInternal } from '../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { wordsOfErrno } from '../../util/system-words.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';
import { findRootNode } from '../find.js';

/** The node, of which a snapshot of this name can be made. Throws `not-found`, `busy`, `read-only`, `unsupported`, `invalid-argument`, `exists`. */
export function nodeToKeep(context: QmpContext, { device, name }: BlockdevSnapshotInternal): BlockNode {
  const node = findRootNode(context, device);
  node.checkBlockers();
  if (node.readOnly) throw new BlockError('read-only', `Device '${device}' is read only`);
  if (formatOf(node)?.abilities.snapshots === undefined) {
    const message = `Block format '${node.driver}' used by device '${device}' does not support internal snapshots`;
    throw new BlockError('unsupported', message);
  }
  if (name === '') throw new BlockError('invalid-argument', 'Name is empty');
  if (findSnapshot(snapshotsIn(node), { name }) !== null) {
    throw new BlockError('exists', `Snapshot with name '${name}' already exists on device '${device}'`);
  }
  return node;
}

/** Runs `make`, which makes the snapshot; a failure is told in QEMU's words. */
export async function keeping<T>({ device, name }: BlockdevSnapshotInternal, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    const { code, errno, reason } = toBlockError(error);
    // A refcount that would overflow.
    const words = code === 'limit' ? 'Invalid argument' : ((errno && wordsOfErrno(errno)) ?? reason);
    throw new BlockError(code, `Failed to create snapshot '${name}' on device '${device}': ${words}`, { cause: error });
  }
}

export const INTERNAL_SNAPSHOT_COMMANDS = {
  async 'blockdev-snapshot-internal-sync'(context, args) {
    const node = nodeToKeep(context, args);
    await context.graph.drained([node], () => keeping(args, () => createInternalSnapshot(node, { name: args.name })));
  },

  async 'blockdev-snapshot-delete-internal-sync'(context, { device, id, name }) {
    const node = findRootNode(context, device);
    if (id === undefined && name === undefined) throw new BlockError('invalid-argument', 'Name or id must be provided');
    if (formatOf(node)?.abilities.snapshots === undefined) {
      throw new BlockError('unsupported', 'Failed to get a snapshot list: Operation not supported');
    }
    const found = findSnapshot(snapshotsIn(node), { id, name });
    if (found === null) {
      const message = `Snapshot with id '${id ?? 'null'}' and name '${name ?? 'null'}' does not exist on device '${device}'`;
      throw new BlockError('not-found', message);
    }
    await deleteInternalSnapshot(node, found.id);
    return found;
  },

  'snapshot-save'({ jobs }, args) {
    startSnapshotJob(jobs, 'snapshot-save', args);
  },
  'snapshot-load'({ jobs }, args) {
    startSnapshotJob(jobs, 'snapshot-load', args);
  },
  'snapshot-delete'({ jobs }, args) {
    startSnapshotJob(jobs, 'snapshot-delete', args);
  },
} satisfies Partial<CommandTable>;
