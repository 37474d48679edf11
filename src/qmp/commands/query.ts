// What there is: nodes.

import { nodeInfo } from '../../block/node-info.js';
import { ofOpenNodes } from '../../block/open-nodes.js';
import type { CommandTable } from '../command.js';

export const QUERY_COMMANDS = {
  async 'query-named-block-nodes'({ graph }, { flat = false }) {
    const infos = await ofOpenNodes(graph.nodes.values(), (node) => nodeInfo(node, flat));
    return infos.reverse();
  },
} satisfies Partial<CommandTable>;
