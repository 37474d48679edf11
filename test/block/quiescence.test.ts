// Drained sections and those who come, go and are moved while one lasts.

import { expect } from 'chai';
import type { NodeUser } from '../../src/block/child.js';
import { closeDevice, Device, rootOf } from '../../src/block/device.js';
import type { Graph } from '../../src/block/graph.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { MirrorDriver } from '../../src/jobs/mirror-driver.js';
import { startJob } from '../../src/jobs/start.js';
import { makeBench } from '../drivers/support.js';
import { MemoryNode } from '../jobs/memory-node.js';
import { KiB, World } from '../jobs/world.js';
import { stateOf } from './support.js';

const SIZE = 64 * KiB;

function memory(graph: Graph, name: string, backing?: MemoryNode): MemoryNode {
  return new MemoryNode(graph, { name, size: SIZE, clusterBytes: 4096, backing });
}

/** Notes what it is told. */
class Told implements NodeUser {
  readonly userName = 'told';
  readonly steps: string[] = [];
  drainBegin(): void {
    this.steps.push('begin');
  }
  drainEnd(): void {
    this.steps.push('end');
  }
}

describe('a drained section', () => {
  it('makes a device wait that attaches while it lasts, and lets it go on at its end', async () => {
    const { graph } = makeBench();
    const node = memory(graph, 'n');
    let writing: Promise<void> | undefined;
    await graph.drained([node], async () => {
      const late = new Device(node, { name: 'late', writable: true });
      writing = late.write(0, Uint8Array.of(7));
      expect(await stateOf(writing)).to.equal('pending');
      expect([node.counts.write, node.quiesceCount]).to.deep.equal([0, 1]);
      expect(late.beginRead(0, 512, { file: null, offset: 0, guard: null })).to.equal(false);
    });
    await writing;
    expect([node.counts.write, node.quiesceCount]).to.deep.equal([1, 0]);
  });

  it('reaches who attaches to an overlay that is put over the node while it lasts', async () => {
    const { graph } = makeBench();
    const [base, overlay] = [memory(graph, 'base'), memory(graph, 'overlay')];
    let writing: Promise<void> | undefined;
    await graph.drained([base], async () => {
      await graph.setBacking(overlay, base);
      writing = new Device(overlay, { name: 'late', writable: true }).write(0, Uint8Array.of(7));
      expect(await stateOf(writing)).to.equal('pending');
    });
    await writing;
  });

  it('lets a user go on that goes, and one whose path to the node is gone', async () => {
    const { graph } = makeBench();
    const base = memory(graph, 'base');
    const top = memory(graph, 'top', base);
    const [going, above] = [new Told(), new Told()];
    const link = base.attach(going, 'source', Perm.CONSISTENT_READ, PERM_ALL);
    top.attach(above, 'root', Perm.CONSISTENT_READ, PERM_ALL);
    await graph.drained([base], async () => {
      base.detach(link);
      top.removeChild('backing');
      expect([going.steps, above.steps]).to.deep.equal([
        ['begin', 'end'],
        ['begin', 'end'],
      ]);
    });
    expect(above.steps).to.deep.equal(['begin', 'end']);
  });

  it('lies on a node that takes the place of its own, too, until its end', async () => {
    const { graph } = makeBench();
    const [from, to] = [memory(graph, 'from'), memory(graph, 'to')];
    const user = new Told();
    from.attach(user, 'root', Perm.CONSISTENT_READ, PERM_ALL);
    let writing: Promise<void> | undefined;
    await graph.drained([from], async () => {
      graph.replaceNode(from, to);
      expect(user.steps).to.deep.equal(['begin']);
      writing = new Device(to, { name: 'late', writable: true }).write(0, Uint8Array.of(7));
      expect(await stateOf(writing)).to.equal('pending');
    });
    await writing;
    expect([user.steps, from.quiesceCount, to.quiesceCount]).to.deep.equal([['begin', 'end'], 0, 0]);
  });

  it('within another one ends for nobody who is in both', async () => {
    const { graph } = makeBench();
    const base = memory(graph, 'base');
    const top = memory(graph, 'top', base);
    const user = new Told();
    top.attach(user, 'root', Perm.CONSISTENT_READ, PERM_ALL);
    await graph.drained([base], async () => {
      await graph.drained([top], async () => expect(top.quiesceCount).to.equal(2));
      expect([user.steps, top.quiesceCount]).to.deep.equal([['begin'], 1]);
    });
    expect(user.steps).to.deep.equal(['begin', 'end']);
  });

  it('stops a job that is started on its node before the job has read anything', async () => {
    const world = new World();
    world.chain(1, SIZE);
    world.node('target', SIZE);
    const reads = () => world.top.counts.read;
    const before = reads();
    const job = await world.graph.drained([world.top], async () => {
      const started = await startJob(world.env, mirrorJob, { device: 'layer0', target: 'target', sync: 'full' });
      await stateOf(started.done);
      expect([started.status, reads()]).to.deep.equal(['paused', before]);
      return started;
    });
    job.on('BLOCK_JOB_READY', () => void job.cancel());
    await job.done;
  });

  it('on the target of a write-blocking mirror stops the guests of its source', async () => {
    const world = new World();
    world.chain(1, SIZE);
    const target = world.node('target', SIZE);
    const driver = new MirrorDriver({ source: world.top, target, sync: 'full', copyMode: 'write-blocking' });
    const user: NodeUser = { userName: 'job', origins: () => driver.origins() };
    await driver.begin(user);
    let writing: Promise<void> | undefined;
    await world.graph.drained([target], async () => {
      writing = world.device.write(0, Uint8Array.of(7));
      expect(await stateOf(writing)).to.equal('pending');
      expect(target.counts.write).to.equal(0);
    });
    await writing;
    expect(target.counts.write).to.equal(1);
    await driver.clean();
  });

  it('keeps a device that is closed with its node until its end, and closes the node that it has then', async () => {
    const { graph } = makeBench();
    const [from, to] = [memory(graph, 'from'), memory(graph, 'to')];
    const device = new Device(from, { name: 'd', writable: true });
    let closing: Promise<unknown> | undefined;
    await graph.drained([from], async () => {
      closing = closeDevice(device);
      expect(await stateOf(closing)).to.equal('pending');
      graph.replaceNode(from, to);
      expect(rootOf(device).node).to.equal(to);
    });
    expect(await closing).to.equal(to);
  });
});
