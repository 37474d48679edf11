// Jobs whose target is shorter than their source, or holds something already: what is left out on it must read as the source does.

import { expect } from 'chai';
import { backingOf } from '../../src/block/chain.js';
import { createImage } from '../../src/block/create.js';
import { Device, rootOf } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { commitJob } from '../../src/jobs/commit.js';
import { JobManager } from '../../src/jobs/manager.js';
import { MirrorDriver } from '../../src/jobs/mirror-driver.js';
import { startJob } from '../../src/jobs/start.js';
import { failureOf, readNode } from '../drivers/support.js';

const KiB = 1024;

/** l0 <- l1 <- ..., so many KiB long, each with 64 KiB of its own number at its begin and just before its end. */
async function chain(sizes: readonly number[]): Promise<Graph> {
  registerDrivers();
  const graph = new Graph(createSimHost());
  for (const [index, size] of sizes.entries()) {
    const over = index === 0 ? {} : { 'backing-file': `/l${index - 1}.qcow2`, 'backing-fmt': 'qcow2' as const };
    await createImage(graph, `/l${index}.qcow2`, { driver: 'qcow2', size: size * KiB, ...over });
    const node = await open(graph, index);
    const device = new Device(node, { name: 'maker', writable: true });
    for (const at of [index * 64, size - 64]) await device.write(at * KiB, Buffer.alloc(64 * KiB, index + 1));
    await device.close();
    await graph.closeAll();
  }
  return graph;
}

function open(graph: Graph, index: number): Promise<BlockNode> {
  return openNode(graph, { driver: 'qcow2', file: { driver: 'file', filename: `/l${index}.qcow2` } });
}

async function contentOf(node: BlockNode): Promise<Buffer> {
  const content = Buffer.alloc(node.length);
  await readNode(node, 0, content);
  return content;
}

describe('a target that is not as its source', () => {
  for (const sizes of [
    [1024, 512, 2048],
    [2048, 512, 1024],
    [2048, 512, 256, 1536],
    [2048, 512, 1024, 768],
  ]) {
    it(`is a shorter base that grows into what the top was, over a longer backing file (KiB: ${sizes})`, async () => {
      const graph = await chain(sizes);
      const device = new Device(await open(graph, sizes.length - 1), { name: 'guest', writable: true });
      const before = await contentOf(rootOf(device).node);
      const root = rootOf(device).node;
      let base = root;
      for (let below = backingOf(base); below !== null && backingOf(below) !== null; below = backingOf(base))
        base = below;
      const env = { graph, manager: new JobManager(graph.host.clock) };
      const job = await startJob(env, commitJob, { device: root.nodeName, 'base-node': base.nodeName });
      await new Promise<void>((resolve) => job.on('BLOCK_JOB_READY', () => resolve()));
      await job.complete();
      await job.done;
      expect(rootOf(device).node).to.equal(base);
      expect((await contentOf(base)).equals(before)).to.equal(true);
      await device.close();
      await graph.closeAll();
      // And as the files say.
      const again = await open(graph, 1);
      expect((await contentOf(again)).equals(before)).to.equal(true);
      await graph.closeAll();
    });
  }

  it('holds nothing where a mirror copies nothing', async () => {
    const graph = await chain([512, 512]);
    const target = await open(graph, 1);
    const source = target.children.get('backing')!.node;
    const driver = new MirrorDriver({ source, target, sync: 'none' });
    const failure = await failureOf(driver.begin({ userName: 'job' }));
    expect(failure.code).to.equal('invalid-argument');
    expect(failure.message).to.contain('sync=none needs a target that holds nothing');
    await driver.clean();
    await graph.closeAll();
  });
});
