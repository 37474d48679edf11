// Changes of the internal snapshots of open images: states of a disk that are kept within its own file. External ones, with an overlay, are in `snapshot.ts`.

import type { SnapshotInfo } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { type Child, withLink } from './child.js';
import { findSnapshot, type SnapshotFields, type SnapshotKey } from './internal-snapshots.js';
import { formatOf } from './node/format.js';
import { BlockNode } from './node/node.js';
import { snapshotsOf } from './snapshots-of.js';
import { PERM_ALL, Perm } from './types.js';

/** All snapshots in the image of `node`. */
export function snapshotsIn(node: BlockNode): SnapshotInfo[] {
  return formatOf(node)?.abilities.snapshots?.list() ?? [];
}

/** The ID of the first snapshot with this ID, this name, or both. Throws `not-found`, `unsupported`, `invalid-argument`. */
export function snapshotIdOf(node: BlockNode, key: SnapshotKey): string {
  const { id, name } = key;
  if (id === undefined && name === undefined) throw new BlockError('invalid-argument', 'Name or id must be provided');
  const found = findSnapshot(snapshotsOf(node).list(), key);
  if (found !== null) return found.id;
  const words = [id !== undefined && `the ID '${id}'`, name !== undefined && `the name '${name}'`].filter(Boolean);
  const message = `There is no internal snapshot with ${words.join(' and ')}`;
  throw BlockError.at(node.filename, 'not-found', message, { operation: 'snapshot' });
}

/** As `createInternalSnapshot`, with a name that no other snapshot has. Rejects also with `exists`, `invalid-argument`. */
export async function createNamedSnapshot(node: BlockNode, name: string): Promise<SnapshotInfo> {
  if (name === '') throw new BlockError('invalid-argument', 'Name is empty');
  if (findSnapshot(snapshotsOf(node).list(), { name }) !== null) {
    const message = `There is an internal snapshot with the name '${name}' already`;
    throw BlockError.at(node.filename, 'exists', message, { operation: 'snapshot' });
  }
  return createInternalSnapshot(node, { name });
}

/** Keeps the disk of `node` as it is now. Rejects with `busy`, `permission`, `read-only`, `unsupported`, `limit`, `no-space`, `io`, ... */
export async function createInternalSnapshot(node: BlockNode, fields: SnapshotFields): Promise<SnapshotInfo> {
  checkChangeable(node);
  return withPermission(node, Perm.WRITE_UNCHANGED, undefined, () => snapshotsOf(node).create(fields));
}

/**
 * Makes the disk of `node` what it was at the snapshot with this ID, its size included. Whoever has bitmaps finds all of it dirty. `link` is the caller's own link to
 * the node, where it has one that shares no writes. Rejects as `createInternalSnapshot`, with `not-found`, and with `busy` where a node above has to keep its size.
 */
export async function applyInternalSnapshot(node: BlockNode, id: string, link?: Child): Promise<void> {
  checkChangeable(node);
  await withPermission(node, Perm.WRITE, link, (own) => snapshotsOf(node).apply(id, () => mayResize(node, own)));
}

/** Gives `link` the permission to change the size, and returns what takes it back. Throws `busy`, `permission`. */
function mayResize(node: BlockNode, link: Child): () => void {
  checkResizable(node);
  const added = Perm.RESIZE & ~link.perm;
  BlockNode.changePermissions(link, link.perm | added, link.shared);
  return () => BlockNode.changePermissions(link, link.perm & ~added, link.shared);
}

/** Removes the snapshot with this ID. Rejects as `createInternalSnapshot`, and with `not-found`. */
export async function deleteInternalSnapshot(node: BlockNode, id: string): Promise<void> {
  checkChangeable(node);
  await withPermission(node, Perm.WRITE_UNCHANGED, undefined, () => snapshotsOf(node).remove(id));
}

/** Throws `busy` where a job works on the node, `read-only`. */
function checkChangeable(node: BlockNode): void {
  node.checkBlockers();
  if (!node.readOnly) return;
  throw BlockError.at(node.filename, 'read-only', `node '${node.nodeName}' is read-only`, { operation: 'snapshot' });
}

/** Runs `action` with a permission that `link` has meanwhile, or else a link of its own. Rejects with `permission` where another user does not share it. */
async function withPermission<T>(
  node: BlockNode,
  perm: number,
  link: Child | undefined,
  action: (link: Child) => Promise<T>,
): Promise<T> {
  if (link === undefined) {
    return withLink(node, { user: { userName: 'an internal snapshot' }, role: 'root', perm, shared: PERM_ALL }, action);
  }
  const added = perm & ~link.perm;
  BlockNode.changePermissions(link, link.perm | added, link.shared);
  try {
    return await action(link);
  } finally {
    BlockNode.changePermissions(link, link.perm & ~added, link.shared);
  }
}

/** Nodes above learn of a size when they are opened. */
function checkResizable(node: BlockNode): void {
  const image = formatOf(node);
  const above = image === null ? [] : [...image.parents].filter(({ user }) => user instanceof BlockNode);
  if (above.length === 0) return;
  throw BlockError.at(
    node.filename,
    'busy',
    'The snapshot has another size, and a node above the image keeps its size',
    {
      operation: 'snapshot',
    },
  );
}
