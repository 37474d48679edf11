// A file that becomes longer while a guest writes to its last sector, which is not whole: what was answered stays.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost } from '../../src/host/sim/index.js';

const SEEDS = Array.from({ length: 60 }, (_, i) => i + 1);
const ODD_BYTES = 1000;

/** Grows a raw image of 1000 bytes beside a write to its last sector; what is read back of that. */
async function grown(seed: number, fails: boolean): Promise<{ wrote: Buffer; read: Buffer; resize: string }> {
  const rules = [{ operations: ['truncate' as const], errno: 'ENOSPC' as const, after: 1, times: 1 }];
  const host = createSimHost({ seed, ...(fails ? { faults: { rules } } : {}) });
  const wrote = Buffer.alloc(512, 7);
  const read = Buffer.alloc(512);
  let resize = '';
  const run = async (): Promise<void> => {
    const file = await host.open('/disk', { writable: true, create: 'exclusive' });
    await file.truncate(ODD_BYTES);
    await file.close();
    const graph = new Graph(host);
    const node = await openNode(graph, { driver: 'raw', file: { driver: 'file', filename: '/disk' } });
    const device = new Device(node, { name: 'guest', writable: true });
    const growth = device.truncate(8192, fails ? {} : { preallocation: 'full' });
    const [outcome] = await Promise.allSettled([growth, device.write(512, wrote)]);
    resize = outcome.status;
    await device.read(512, read);
    await device.close();
    await graph.closeAll();
  };
  await host.run(run());
  return { wrote, read, resize };
}

describe('a file that grows beside a write to its last sector', () => {
  registerDrivers();
  for (const [title, fails] of [
    ['keeps the write where the growth fails', true],
    ['keeps the write where the new part is allocated with zeroes', false],
  ] as const) {
    it(`${title} (${SEEDS.length} seeds from 1)`, async () => {
      for (const seed of SEEDS) {
        const { wrote, read, resize } = await grown(seed, fails);
        expect(resize).to.equal(fails ? 'rejected' : 'fulfilled');
        expect(read.equals(wrote), `seed ${seed}`).to.equal(true);
      }
    });
  }
});
