// Connections that can be cut: those of nodes and of character devices. These commands may overtake others, which may wait for such a connection.

import type { YankInstance } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';

/** What cuts the connections of one instance. Throws `device-not-found`. */
function cutterOf({ graph, chardevs }: QmpContext, instance: YankInstance): () => void {
  const found =
    instance.type === 'chardev'
      ? chardevs.cutters.get(instance.id)
      : graph.nodes.get(instance['node-name'])?.abilities.cut;
  if (found === undefined) throw new BlockError('device-not-found', 'Instance not found');
  return found;
}

export const YANK_COMMANDS = {
  yank(context, { instances }) {
    for (const cut of instances.map((instance) => cutterOf(context, instance))) cut();
  },

  'query-yank': ({ graph, chardevs }) => [
    ...[...chardevs.cutters.keys()].map((id): YankInstance => ({ type: 'chardev', id })),
    ...[...graph.nodes.values()]
      .filter(({ abilities }) => abilities.cut !== undefined)
      .map(({ nodeName }): YankInstance => ({ type: 'block-node', 'node-name': nodeName })),
  ],
} satisfies Partial<CommandTable>;
