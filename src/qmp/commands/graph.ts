// Commands that open, close and change nodes.

import { Device } from '../../block/device.js';
import type { BlockNode } from '../../block/node/node.js';
import { BlockError } from '../../util/errors.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';

/** The node that `device` or `node-name` names. Throws `not-found`. */
function nodeOf({ graph }: QmpContext, device: string | undefined, nodeName: string | undefined): BlockNode {
  const found = graph.nodes.get(nodeName ?? device ?? '');
  if (found !== undefined) return found;
  throw new BlockError('not-found', `Cannot find device='${device ?? ''}' nor node-name='${nodeName ?? ''}'`);
}

export const GRAPH_COMMANDS = {
  async 'blockdev-add'({ nodes }, options) {
    await nodes.add(options);
  },

  'blockdev-del': ({ nodes }, { 'node-name': name }) => nodes.remove(name),

  async block_resize(context, { device, 'node-name': name, size }) {
    if (size < 0) throw new BlockError('invalid-argument', "Parameter 'size' expects a >0 size");
    const node = nodeOf(context, device, name);
    const user = new Device(node, { name: node.nodeName, writable: true });
    try {
      await user.truncate(size);
    } finally {
      await user.close();
    }
  },
} satisfies Partial<CommandTable>;
