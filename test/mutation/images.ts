// Where the images that are mutated lie: on a simulated disk, and opened in a graph that knows their password.

import { Graph } from '../../src/block/graph.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';

export const IMAGE = '/image';
export const DATA = '/image.data';
export const BACKING = '/backing.raw';
export const SECRET = 's';

/** A disk with these files, and a graph that knows the password. */
export async function graphWith(files: ReadonlyMap<string, Uint8Array>): Promise<{ host: SimHost; graph: Graph }> {
  registerDrivers();
  const host = createSimHost({ log: true });
  for (const [path, content] of files) host.writeFile(path, content);
  const graph = new Graph(host, { warn: () => undefined });
  await graph.objects.add({ 'qom-type': 'secret', id: SECRET, data: 'the password' });
  return { host, graph };
}
