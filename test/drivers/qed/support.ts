// A QED image on a simulated disk, and what its header and tables say.

import { createImage } from '../../../src/block/create.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { type Bench, makeBench, used } from '../support.js';

export const IMAGE = '/image';
export const CLUSTER = 4096;
/** Of a table: one cluster. */
export const ENTRIES = CLUSTER / 8;
export const L1 = CLUSTER;
export const NEED_CHECK = 2;

export const OPTIONS = { driver: 'qed', file: { driver: 'file', filename: IMAGE } } as const;

/** An image of `clusters`, in which each of `written` holds its number plus 1. */
export async function makeQed(clusters: number, written: readonly number[], own: object = {}): Promise<Bench> {
  const bench = makeBench();
  const shape = { 'cluster-size': CLUSTER, 'table-size': 1, ...own };
  await createImage(bench.graph, IMAGE, { driver: 'qed', size: clusters * CLUSTER, ...shape });
  const node = await openQed(bench);
  for (const cluster of written) {
    await node.write(cluster * CLUSTER, new Uint8Array(CLUSTER).fill(cluster + 1));
  }
  await bench.graph.closeAll();
  return bench;
}

export function openQed(bench: Bench): Promise<BlockNode> {
  return used(openNode(bench.graph, OPTIONS));
}

/** The 64 bits at `offset` of the file. */
export function numberAt({ host }: Bench, offset: number): number {
  return Number(Buffer.from(host.readFile(IMAGE, offset, 8)).readBigUInt64LE());
}

/** Changes the file. */
export function patch({ host }: Bench, numbers: Readonly<Record<number, number>>): void {
  const bytes = Buffer.from(host.readFile(IMAGE));
  for (const [offset, value] of Object.entries(numbers)) bytes.writeBigUInt64LE(BigInt(value), Number(offset));
  host.writeFile(IMAGE, bytes);
}

/** First byte of each cluster of the disk. */
export async function firstBytes(bench: Bench, clusters: number): Promise<number[]> {
  const node = await openQed(bench);
  const bytes: number[] = [];
  for (let cluster = 0; cluster < clusters; cluster++) {
    const buffer = new Uint8Array(1);
    await node.read(cluster * CLUSTER, buffer);
    bytes.push(buffer[0]);
  }
  await bench.graph.closeAll();
  return bytes;
}
