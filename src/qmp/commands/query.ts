// What there is: nodes.

import { nodeInfo } from '../../block/node-info.js';
import type { BlockDeviceInfo } from '../../schema/generated/types.js';
import type { CommandTable } from '../command.js';

export const QUERY_COMMANDS = {
  async 'query-named-block-nodes'({ graph }, { flat = false }) {
    const infos: BlockDeviceInfo[] = [];
    // A node may be closed while another one is asked.
    for (const node of [...graph.nodes.values()]) if (!node.closed) infos.push(await nodeInfo(node, flat));
    return infos.reverse();
  },
} satisfies Partial<CommandTable>;
