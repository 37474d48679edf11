// Helpers of the qcow2 tests: an image on the simulated disk, opened.

import { createImage, type ImageCreateOptions } from '../../../src/block/create.js';
import { findingText } from '../../../src/block/finding-text.js';
import { Graph } from '../../../src/block/graph.js';
import { type OpenOptions, openNode } from '../../../src/block/open.js';
import { Qcow2Node } from '../../../src/drivers/formats/qcow2/driver.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import { createSimHost, type SimHost, type SimHostOptions } from '../../../src/host/sim/index.js';

export const PATH = '/image.qcow2';

export type CreateOptions = Omit<Extract<ImageCreateOptions, { driver: 'qcow2' }>, 'driver'>;

export interface Fixture {
  host: SimHost;
  graph: Graph;
}

export function makeFixture(options: SimHostOptions = {}): Fixture {
  registerDrivers();
  const host = createSimHost(options);
  return { host, graph: new Graph(host) };
}

export async function createAt({ graph }: Fixture, options: CreateOptions, path = PATH): Promise<void> {
  await createImage(graph, path, { driver: 'qcow2', ...options });
}

export async function openAt({ graph }: Fixture, options: OpenOptions = {}, path = PATH): Promise<Qcow2Node> {
  const node = await openNode(graph, path, { format: 'qcow2', discard: 'unmap', ...options });
  if (!(node instanceof Qcow2Node)) throw new Error(`not a qcow2 node: ${node.driver}`);
  return node;
}

/** Makes an image and opens it for writing. */
export async function fresh(options: CreateOptions): Promise<Fixture & { node: Qcow2Node }> {
  const fixture = makeFixture();
  await createAt(fixture, options);
  return { ...fixture, node: await openAt(fixture) };
}

/** Closes all and opens the image again, read-only by default. */
export async function again(fixture: Fixture, options: OpenOptions = { readOnly: true }): Promise<Qcow2Node> {
  await fixture.graph.closeAll();
  fixture.graph = new Graph(fixture.host);
  return openAt(fixture, options);
}

/** Errors and leaks that the consistency check finds, one line each. */
export async function findings(node: Qcow2Node): Promise<string[]> {
  const lines: string[] = [];
  const { corruptions, leaks, checkErrors } = await node.abilities.check!((finding) =>
    lines.push(findingText(finding)),
  );
  return corruptions + leaks + checkErrors === 0 ? [] : lines;
}

export async function contentOf(node: Qcow2Node): Promise<Uint8Array> {
  const content = new Uint8Array(node.length);
  await node.read(0, content);
  return content;
}
