// Internal snapshots of a node: what its format can do with them, and one of them in place of the disk.

import { BlockError } from '../util/errors.js';
import { findSnapshot, type InternalSnapshots, type SnapshotKey } from './internal-snapshots.js';
import { formatOf } from './node/format.js';
import type { BlockNode } from './node/node.js';

/** What `node`, or the format below its filters, can do with internal snapshots. Throws `unsupported`. */
export function snapshotsOf(node: BlockNode, operation = 'snapshot'): InternalSnapshots {
  const found = formatOf(node)?.abilities.snapshots;
  if (found !== undefined) return found;
  throw BlockError.at(node.filename, 'unsupported', `driver '${node.driver}' does not support internal snapshots`, {
    operation,
  });
}

/** Shows a snapshot in place of the disk of `node`, which was just opened. Rejects with `not-found`, `unsupported`, `invalid-argument`, `corrupt-image`, `io`. */
export async function showSnapshot(node: BlockNode, key: SnapshotKey): Promise<void> {
  const fail = (code: 'invalid-argument' | 'not-found' | 'unsupported', message: string): BlockError =>
    BlockError.at(node.filename, code, message, { operation: 'open' });
  if (!node.readOnly) throw fail('invalid-argument', 'An internal snapshot can only be opened read-only');
  const { snapshots } = node.abilities;
  if (snapshots === undefined) {
    throw fail(
      'unsupported',
      `Block format '${node.driver}' used by device '' does not support temporarily loading internal snapshots`,
    );
  }
  const found = findSnapshot(snapshots.list(), key);
  if (found === null) throw fail('not-found', "Can't find snapshot");
  await snapshots.show(found.id);
}
