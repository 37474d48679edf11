// What there is: nodes.

import { nodeInfo } from '../../block/node-info.js';
import { ofOpenNodes } from '../../block/open-nodes.js';
import type { CommandTable } from '../command.js';
import { nodeOf21 } from '../members-2-1.js';

export const QUERY_COMMANDS = {
  async 'query-named-block-nodes'({ graph, generations }, { flat = false }) {
    const infos = await ofOpenNodes(graph.nodes.values(), (node) => nodeInfo(node, flat));
    infos.reverse();
    return generations.has('2.1') ? infos.map(nodeOf21) : infos;
  },
} satisfies Partial<CommandTable>;
