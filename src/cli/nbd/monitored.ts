// `diskwright nbd --monitor`: the image is served as the daemon serves one, with a monitor beside it.
//
//   node 'disk' <-- export 'disk' <-- NBD clients
//        ^------- QmpContext <-- monitor's clients: snapshots, jobs, other exports

import type { BlockNode } from '../../block/node/node.js';
import { QmpContext } from '../../qmp/context.js';
import { Monitors } from '../../qmp/monitors.js';
import type { ServeRequest } from '../../workspace/serve.js';
import { packageText } from '../version.js';
import type { Serving } from './serving.js';

/** Name of the image's node, and id of its export. */
export const MONITORED_NODE = 'disk';

/** The monitor's character device. */
const MONITOR = 'monitor';

/** Serves `node`, with a monitor at `path`. `quit` is called when a client of the monitor asks for the end. Rejects as `serveDevice`, `Net.listen`. */
export async function serveMonitored(
  node: BlockNode,
  writable: boolean,
  path: string,
  request: ServeRequest,
  quit: () => void,
): Promise<Serving> {
  const context = new QmpContext(node.graph, { package: packageText(), quit });
  const monitors = new Monitors(context);
  const close = async (): Promise<void> => {
    // The monitor's clients still get the answer to `quit`, and the last events.
    try {
      await context.close();
    } finally {
      await monitors.close();
    }
  };
  try {
    context.nodes.hold(node);
    const { name, description, bitmaps, allocationDepth, writethrough } = request.export;
    const address = await context.exports.startServer(request.address, request.server);
    await context.exports.add({
      ...{ type: 'nbd', id: MONITORED_NODE, 'node-name': node.nodeName, writable, writethrough, name, description },
      ...{ bitmaps: bitmaps === undefined ? undefined : [...bitmaps], 'allocation-depth': allocationDepth },
    });
    await context.chardevs.add(
      MONITOR,
      () => ({ backend: 'socket', address: { type: 'unix', path }, server: true, wait: false, reconnectSeconds: 0 }),
      (error) => error,
    );
    monitors.add({ chardev: MONITOR });
    return { address, close };
  } catch (error) {
    await close();
    throw error;
  }
}
