// A qcow image on a simulated disk, and what its header and tables say.

import { createImage } from '../../../src/block/create.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { type Bench, makeBench, used } from '../support.js';

export const IMAGE = '/image';
export const CLUSTER = 4096;
/** Where the L1 table of an image without a backing file lies. */
export const L1 = 48;

/** A new image of `clusters`, and a bit of one more. */
export async function makeQcow(clusters: number, own: object = {}): Promise<Bench> {
  const bench = makeBench();
  await bench.graph.objects.add({ 'qom-type': 'secret', id: 's', data: 'the password' });
  await createImage(bench.graph, IMAGE, { driver: 'qcow', size: clusters * CLUSTER + 512, ...own });
  return bench;
}

export function openQcow(bench: Bench, own: object = {}): Promise<BlockNode> {
  return used(openNode(bench.graph, { driver: 'qcow', file: { driver: 'file', filename: IMAGE }, ...own }));
}

/** The 64 bits at `offset` of the file. */
export function numberAt({ host }: Bench, offset: number): bigint {
  return Buffer.from(host.readFile(IMAGE, offset, 8)).readBigUInt64BE();
}

/** Where the entry of cluster `index`, of the first L2 table, lies. */
export function entryOf(bench: Bench, index: number): number {
  return Number(numberAt(bench, L1)) + 8 * index;
}

export function patch({ host }: Bench, offset: number, bytes: Uint8Array): void {
  const image = Buffer.from(host.readFile(IMAGE));
  image.set(bytes, offset);
  host.writeFile(IMAGE, image);
}

export function be64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

export function be32(value: number): Buffer {
  return be64(value).subarray(4);
}
