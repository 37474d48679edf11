// What there is: nodes.

import { nodeInfo } from '../../block/node-info.js';
import type { CommandTable } from '../command.js';

export const QUERY_COMMANDS = {
  async 'query-named-block-nodes'({ graph }, { flat = false }) {
    const infos = await Promise.all([...graph.nodes.values()].map((node) => nodeInfo(node, flat)));
    return infos.reverse();
  },
} satisfies Partial<CommandTable>;
