// Commands that open, close and change nodes.

import { backingOf, overlaysOf, wayDown } from '../../block/chain.js';
import { UNNAMED_DEVICE } from '../../block/child.js';
import { reopenNodes } from '../../block/reopen.js';
import { appendOverlays, checkFree, type OverlayPair } from '../../block/snapshot.js';
import { PERM_ALL, Perm } from '../../block/types.js';
import { startAmend } from '../../jobs/amend.js';
import { startCreate } from '../../jobs/create.js';
import type { BlockdevSnapshot, BlockdevSnapshotSync } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import { changeBackingName } from '../../workspace/backing.js';
import { describeGraph } from '../../workspace/block-graph.js';
import { changeChildren } from '../../workspace/children.js';
import { type SnapshotRequest, takeSnapshots } from '../../workspace/snapshot.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';
import { findNode, findNodeOf, findRootNode } from '../find.js';

/** Throws `not-found`, `invalid-argument`. */
export function snapshotRequest(
  context: QmpContext,
  { device, 'node-name': name, ...options }: BlockdevSnapshotSync,
): SnapshotRequest {
  const node = findNodeOf(context, device, name);
  checkFree(node);
  if (name !== undefined && options['snapshot-node-name'] === undefined) {
    throw new BlockError('invalid-argument', 'New overlay node-name missing');
  }
  return { node, ...options };
}

/** Throws `not-found`, and `busy` for a node that can get no overlay. */
export function overlayPair(context: QmpContext, { node: name, overlay }: BlockdevSnapshot): OverlayPair {
  const node = findNode(context, name);
  checkFree(node);
  return { node, overlay: findNode(context, overlay) };
}

export const GRAPH_COMMANDS = {
  async 'blockdev-add'({ nodes }, options) {
    await nodes.add(options);
  },

  'blockdev-reopen': ({ graph }, { options }) => reopenNodes(graph, options),

  'blockdev-del': ({ nodes }, { 'node-name': name }) => nodes.remove(name),

  'block-set-write-threshold'({ graph }, { 'node-name': name, 'write-threshold': bytes }) {
    const node = graph.nodes.get(name);
    if (node === undefined) throw new BlockError('not-found', `Device '${name}' not found`);
    node.writeThreshold = bytes;
  },

  'x-blockdev-set-iothread'({ graph }, { 'node-name': name, iothread, force = false }) {
    const node = graph.nodes.get(name);
    if (node === undefined) throw new BlockError('not-found', `Failed to find node with node-name='${name}'`);
    if (!force && [...node.parents].some(({ name: use }) => use === 'root')) {
      const message = `Node ${name} is associated with a BlockBackend and could be in use (use force=true to override this check)`;
      throw new BlockError('busy', message);
    }
    // All nodes are in the main thread, and there is no other.
    if (iothread !== null) throw new BlockError('not-found', `Cannot find iothread ${iothread}`);
  },

  'x-debug-query-block-graph': ({ graph }) => describeGraph(graph),

  async block_resize(context, { device, 'node-name': name, size }) {
    const node = findNodeOf(context, device, name);
    if (size < 0) throw new BlockError('invalid-argument', "Parameter 'size' expects a >0 size");
    if (overlaysOf(node).length > 0 || node.blockers.size > 0) {
      throw new BlockError('busy', `Device '${device ?? '(null)'}' is in use`);
    }
    const user = node.attach({ userName: UNNAMED_DEVICE }, 'root', Perm.RESIZE, PERM_ALL);
    try {
      if (node.readOnly) throw new BlockError('read-only', 'Image is read-only');
      await user.truncate(size);
    } finally {
      node.detach(user);
    }
  },

  async 'blockdev-snapshot-sync'(context, options) {
    const [overlay] = await takeSnapshots(context.graph, [snapshotRequest(context, options)]);
    // Where nobody but the monitor held the node, nobody uses the overlay: it goes again, as it does in QEMU. Else it goes with its last user.
    await context.graph.release(overlay);
  },

  async 'blockdev-snapshot'(context, names) {
    await appendOverlays(context.graph, [overlayPair(context, names)]);
  },

  async 'x-blockdev-change'({ graph }, { parent, child, node }) {
    await changeChildren(graph, parent, { remove: child, add: node });
  },

  'blockdev-create'({ jobs }, { 'job-id': id, options }) {
    startCreate(jobs, id, options);
  },

  'x-blockdev-amend'(context, { 'job-id': id, 'node-name': name, options, force = false }) {
    startAmend(context.jobs, id, findNodeOf(context, undefined, name), options, force);
  },

  async 'change-backing-file'(context, { device, 'image-node-name': name, 'backing-file': file }) {
    const top = findRootNode(context, device);
    const image = findNodeOf(context, undefined, name);
    if (backingOf(image) !== null && !wayDown(top).includes(image)) {
      throw new BlockError('invalid-argument', `'${device}' and image file are not in the same chain`);
    }
    await changeBackingName(context.graph, image, file);
  },
} satisfies Partial<CommandTable>;
