// A node that changes its size, or is reopened, beside other requests.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost } from '../../src/host/sim/index.js';
import type { ImageOptions } from '../../src/schema/options.js';
import type { BlockError } from '../../src/util/errors.js';

const MiB = 1 << 20;

async function open(seed: number, driver: 'raw' | 'qcow2') {
  registerDrivers();
  const host = createSimHost({ seed });
  const graph = new Graph(host);
  return { host, graph, make: () => createImage(graph, '/disk', { driver, size: 8 * MiB }), driver };
}

function layerOf(driver: 'raw' | 'qcow2'): ImageOptions {
  const file = { driver: 'file', filename: '/disk' } as const;
  return driver === 'raw' ? { driver, file } : { driver, file };
}

describe('a node that becomes shorter beside writes', () => {
  for (const driver of ['raw', 'qcow2'] as const) {
    it(`has the size that was answered (${driver})`, async () => {
      for (let seed = 1; seed <= 40; seed++) {
        const { host, graph, make } = await open(seed, driver);
        const run = async () => {
          await make();
          const node = await openNode(graph, layerOf(driver));
          const device = new Device(node, { name: 'guest', writable: true });
          const data = Buffer.alloc(4096, 1);
          const requests = [device.write(7 * MiB, data), device.truncate(4 * MiB), device.write(6 * MiB, data)];
          requests.push(device.write(0, data), device.flush());
          const ends = await Promise.allSettled(requests);
          for (const end of ends) {
            if (end.status === 'fulfilled') continue;
            expect((end.reason as BlockError).code, `seed ${seed}`).to.equal('out-of-bounds');
          }
          expect(ends.map(({ status }) => status === 'fulfilled').filter(Boolean).length).to.be.greaterThan(2);
          expect(device.length).to.equal(4 * MiB);
          await device.close();
          await graph.closeAll();
          const again = await openNode(graph, layerOf(driver), { readOnly: true });
          expect(again.length, `seed ${seed}`).to.equal(4 * MiB);
          await graph.closeAll();
        };
        await host.run(run());
      }
    });
  }

  it('has one of the sizes that were answered, and says so, where several come at once', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const { host, graph, make } = await open(seed, 'raw');
      await host.run(
        (async () => {
          await make();
          const node = await openNode(graph, { driver: 'file', filename: '/disk' });
          await Promise.all([node.truncate(16 * MiB), node.truncate(2 * MiB), node.truncate(12 * MiB)]);
          expect(node.length, `seed ${seed}`).to.equal((await node.hostFile()!.info()).size);
          await graph.closeAll();
        })(),
      );
    }
  });
});

describe('a node that is reopened twice at once', () => {
  it('is in the end what was asked for last', async () => {
    for (const last of [true, false]) {
      const { host, graph, make } = await open(1, 'qcow2');
      await host.run(
        (async () => {
          await make();
          const node = await openNode(
            graph,
            { driver: 'qcow2', file: { driver: 'file', filename: '/disk' } },
            { readOnly: last },
          );
          await Promise.all([node.reopen(!last), node.reopen(last)]);
          expect(node.readOnly).to.equal(last);
          await graph.closeAll();
        })(),
      );
    }
  });
});
