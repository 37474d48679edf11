// Many writers at once on a file system without `fallocate`, with a cache so small that refcount blocks are made while commits go on:
// each block is made once, and space is reserved only where nobody has written yet.

import { expect } from 'chai';
import { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import { createSimHost, Random } from '../../../src/host/sim/index.js';
import { parseBlockdevOptions } from '../../../src/schema/options.js';
import { checkFiles } from '../../sim/checks.js';
import { makeImage } from '../../sim/images.js';

const SECTORS = 8192;
const WRITERS = 12;

async function run(seed: number): Promise<void> {
  registerDrivers();
  const random = new Random(seed, 91);
  const host = createSimHost({ seed, eager: false, unsupported: ['allocate'] });
  await host.run(async () => {
    const graph = new Graph(host);
    await makeImage(
      graph,
      {
        path: '/disk.qcow2',
        format: 'qcow2',
        sectors: SECTORS,
        clusterSize: 512,
        version: 'v3',
        refcountBits: 64,
        compression: 'zlib',
        encryption: 'none',
      },
      undefined,
    );
    const file = { driver: 'file', filename: '/disk.qcow2' };
    const caches = { 'l2-cache-size': 1024, 'refcount-cache-size': 2048 };
    const node = await openNode(graph, parseBlockdevOptions({ driver: 'qcow2', file, ...caches }));
    const span = (SECTORS * 512) / WRITERS;
    const step = Math.floor(span / 512 / 8) * 512;
    await Promise.all(
      Array.from({ length: WRITERS }, async (_, writer) => {
        for (let i = 0; i < 6; i++) {
          const length = random.between(1, step / 512) * 512;
          await node.write(Math.floor(span / 512) * 512 * writer + i * step, new Uint8Array(length).fill(writer + 1));
        }
      }),
    );
    await graph.closeAll();
  });
  checkFiles(host, true);
}

describe('qcow2: refcount blocks made by many at once, without fallocate', () => {
  it('count what they should', async () => {
    const broken: string[] = [];
    for (let seed = 1; seed <= 12; seed++) {
      await run(seed).catch((error: Error) => void broken.push(`seed ${seed}: ${error.message}`));
    }
    expect(broken.join('\n')).to.equal('');
  });
});
