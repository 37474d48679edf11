// `diskwright nbd --monitor`: the image is served as the daemon serves one, with a monitor beside it.
//
//   image <-- device 'disk' <-- export 'disk' <-- NBD clients
//                 ^------- QmpContext <-- monitor's clients: snapshots, jobs, other exports
//
// `disk` is the name of a device, as `--drive` makes one, so it means what the clients see: after a snapshot the overlay, after a mirror was completed the
// new image.

import type { BlockNode } from '../../block/node/node.js';
import { settingsOfOptions } from '../../qmp/chardev/settings.js';
import { QmpContext } from '../../qmp/context.js';
import { Monitors } from '../../qmp/monitors.js';
import type { CommandLineOptionInfo } from '../../schema/generated/types.js';
import type { Generations } from '../../schema/introspect.js';
import type { ServeRequest } from '../../workspace/serve.js';
import { packageText } from '../version.js';
import type { Serving } from './serving.js';

/** Name of the device, and id of its export. */
const DEVICE = 'disk';

/** What `query-command-line-options` tells: the option that takes parameters. These depend on the object's type. */
const COMMAND_LINE: CommandLineOptionInfo[] = [{ option: 'object', parameters: [] }];

/** The monitor's character device. */
const MONITOR = 'monitor';

/** Serves `node`, with a monitor at `path` that takes the commands of `generations`, too. `quit` is called when a client of the monitor asks for the end. Rejects as `serveDevice`, `Net.listen`. */
export async function serveMonitored(
  node: BlockNode,
  writable: boolean,
  { path, generations }: { path: string; generations: Generations },
  request: ServeRequest,
  quit: () => void,
): Promise<Serving> {
  const context = new QmpContext(node.graph, {
    package: packageText(),
    commandLine: () => COMMAND_LINE,
    generations,
    quit,
  });
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
    context.drives.put(DEVICE, node, {
      ...{ writable, writethrough: false, onRead: 'report', onWrite: 'report', throttling: {} },
      ...{ accountInvalid: undefined, accountFailed: undefined, intervals: [] },
    });
    const { name, description, bitmaps, allocationDepth, writethrough } = request.export;
    const address = await context.exports.startServer(request.address, request.server);
    await context.exports.add({
      ...{ type: 'nbd', id: DEVICE, 'node-name': DEVICE, writable, writethrough, name, description },
      ...{ bitmaps: bitmaps === undefined ? undefined : [...bitmaps], 'allocation-depth': allocationDepth },
    });
    await context.chardevs.add(
      MONITOR,
      () => settingsOfOptions({ backend: 'socket', id: MONITOR, path, server: true, wait: false }),
      (error) => error,
    );
    monitors.add({ chardev: MONITOR });
    return { address, close };
  } catch (error) {
    await close();
    throw error;
  }
}
