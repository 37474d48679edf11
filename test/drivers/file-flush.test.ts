// What a failed fdatasync means for those that follow.

import { expect } from 'chai';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { codeOf } from '../sim/support.js';

async function opened(direct: boolean) {
  registerDrivers();
  const host = createSimHost({ eager: true, faults: { rules: [{ operations: ['flush'], times: 1 }] } });
  host.writeFile('/disk', new Uint8Array(4096));
  const graph = new Graph(host);
  const node = await openNode(graph, { driver: 'file', filename: '/disk', cache: { direct } });
  return { graph, device: new Device(node, { name: 'guest', writable: true }) };
}

describe('file: flush', () => {
  it('fails for good after a failure, as the cache lost what it could not write', async () => {
    const { graph, device } = await opened(false);
    await device.write(0, new Uint8Array(512));
    expect(await codeOf(device.flush())).to.equal('io');
    expect(await codeOf(device.flush())).to.equal('io');
    await device.close();
    expect(await codeOf(graph.closeAll())).to.equal('io');
  });

  it('may succeed again where the cache is bypassed', async () => {
    const { graph, device } = await opened(true);
    expect(await codeOf(device.flush())).to.equal('io');
    await device.flush();
    await device.close();
    await graph.closeAll();
  });
});
