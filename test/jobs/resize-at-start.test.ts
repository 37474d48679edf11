// A guest that changes the size of its disk while a job or a snapshot begins: what it was told stays true.

import { expect } from 'chai';
import { chainOf } from '../../src/block/chain.js';
import { createImage } from '../../src/block/create.js';
import { Device, rootOf } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { commitJob } from '../../src/jobs/commit.js';
import type { Job } from '../../src/jobs/job.js';
import { JobManager } from '../../src/jobs/manager.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { startJob } from '../../src/jobs/start.js';
import { streamJob } from '../../src/jobs/stream.js';
import { BlockError } from '../../src/util/errors.js';
import { takeSnapshots } from '../../src/workspace/snapshot.js';

const MiB = 1024 * 1024;

const fileOf = (name: string) => ({ driver: 'qcow2', file: { driver: 'file', filename: `/${name}.qcow2` } }) as const;

/** Images of so many MiB, each over the one before; `alone`: over none. */
async function images(sizes: Record<string, number>, alone: string[] = []): Promise<Graph> {
  registerDrivers();
  const graph = new Graph(createSimHost());
  let below: string | null = null;
  for (const [name, size] of Object.entries(sizes)) {
    const filename = `/${name}.qcow2`;
    const over: string | null = alone.includes(name) ? null : below;
    const backing = over === null ? {} : { 'backing-file': over, 'backing-fmt': 'qcow2' as const };
    await createImage(graph, filename, { driver: 'qcow2', size: size * MiB, ...backing });
    below = filename;
  }
  return graph;
}

/** base.qcow2 <- top.qcow2, 4 MiB, a guest on the top; and other images of this size. */
async function machine(...others: string[]) {
  const graph = await images(Object.fromEntries(['base', 'top', ...others].map((name) => [name, 4])), others);
  const open = (name: string) => openNode(graph, { ...fileOf(name), 'node-name': name });
  for (const name of others) await open(name);
  const device = new Device(await open('top'), { name: 'guest', writable: true });
  return { graph, device, env: { graph, manager: new JobManager(graph.host.clock) } };
}

/** Makes the disk longer and writes to its end; false where that is refused. */
async function grow(device: Device): Promise<boolean> {
  try {
    await device.truncate(8 * MiB);
  } catch (error) {
    expect((error as BlockError).code).to.equal('permission');
    return false;
  }
  await device.write(6 * MiB, Buffer.alloc(4096, 0xa5));
  return true;
}

async function expectGrown(device: Device, grown: boolean, before = 4): Promise<void> {
  expect(device.length).to.equal((grown ? 8 : before) * MiB);
  if (!grown) return;
  const found = Buffer.alloc(4096);
  await device.read(6 * MiB, found);
  expect(found.equals(Buffer.alloc(4096, 0xa5)), 'what the guest wrote').to.equal(true);
}

/** Lets a few steps of what goes on happen. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

/** Starts a job and grows the disk, `guestFirst` or not, with some steps between. The job may refuse a guest that is changing the size. */
async function together(
  device: Device,
  start: () => Promise<Job>,
  { steps, guestFirst }: { steps: number; guestFirst: boolean },
): Promise<{ grown: boolean; job: Job | null }> {
  const early = guestFirst ? grow(device) : null;
  if (guestFirst) await turns(steps);
  const starting = start().catch((error: BlockError) => error);
  if (!guestFirst) await turns(steps);
  const grown = await (early ?? grow(device));
  const job = await starting;
  if (!(job instanceof BlockError)) return { grown, job };
  // It is being changed, or is not the target's any more.
  expect(job.code).to.match(/permission|invalid-argument/);
  return { grown, job: null };
}

async function complete(job: Job): Promise<void> {
  await new Promise<void>((resolve) => job.on('BLOCK_JOB_READY', () => resolve()));
  await job.complete();
  await job.done;
}

describe('a disk that grows while something begins', () => {
  // The begin of a job takes some steps; the guest comes at each of them.
  const moments = [0, 1, 2, 3, 5, 8, 12, 20, 40].flatMap((steps) => [
    { steps, guestFirst: true },
    { steps, guestFirst: false },
  ]);

  it('keeps what a guest writes behind the old end when it is committed', async () => {
    for (const moment of moments) {
      const { graph, device, env } = await machine();
      const { grown, job } = await together(device, () => startJob(env, commitJob, { device: 'top' }), moment);
      if (job !== null) await complete(job);
      await expectGrown(device, grown);
      await graph.closeAll();
    }
  });

  it('is mirrored whole, or not at all', async () => {
    for (const moment of moments) {
      const { graph, device, env } = await machine('target');
      const start = () => startJob(env, mirrorJob, { device: 'top', target: 'target', sync: 'full' });
      const { grown, job } = await together(device, start, moment);
      if (job !== null) await complete(job);
      await expectGrown(device, grown);
      await graph.closeAll();
    }
  });

  it('is streamed whole', async () => {
    for (const moment of moments) {
      const { graph, device, env } = await machine();
      const { grown, job } = await together(device, () => startJob(env, streamJob, { device: 'top' }), moment);
      await job?.done;
      await expectGrown(device, grown);
      await graph.closeAll();
    }
  });

  it('does not see what a base has behind the end of a shorter layer that is committed into it', async () => {
    for (const moment of moments) {
      const graph = await images({ base: 16, mid: 4, top: 2 });
      const open = (name: string) => openNode(graph, { ...fileOf(name), 'node-name': name });
      const maker = new Device(await open('base'), { name: 'maker', writable: true });
      await maker.write(6 * MiB, Buffer.alloc(2 * MiB, 0xff));
      await maker.close();
      await graph.closeAll();
      const device = new Device(await open('top'), { name: 'guest', writable: true });
      const layers = chainOf(rootOf(device).node);
      const env = { graph, manager: new JobManager(graph.host.clock) };
      const start = () => startJob(env, commitJob, { device: 'top', 'top-node': layers[1].nodeName });
      const { grown, job } = await together(device, start, moment);
      await job?.done;
      await expectGrown(device, grown, 2);
      const behind = Buffer.alloc(MiB);
      if (grown) await device.read(7 * MiB, behind);
      expect(behind.equals(Buffer.alloc(MiB)), JSON.stringify(moment)).to.equal(true);
      await graph.closeAll();
    }
  });

  for (const size of [2 * MiB, 8 * MiB]) {
    it(`has the size of ${size / MiB} MiB that it was given while a snapshot was taken`, async () => {
      const { graph, device } = await machine();
      const { node } = rootOf(device);
      const taking = takeSnapshots(graph, [{ node, 'snapshot-file': '/overlay.qcow2' }]);
      await turns(10);
      await device.truncate(size);
      await taking;
      expect(device.length).to.equal(size);
      await graph.closeAll();
    });
  }
});
