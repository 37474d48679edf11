// A file that is opened a second time, for writing: its name may have come to mean another one.

import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { Device, rootOf } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { openRealHost } from '../../src/host/real/index.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { commitJob } from '../../src/jobs/commit.js';
import { JobManager } from '../../src/jobs/manager.js';
import { startJob } from '../../src/jobs/start.js';
import type { BlockError } from '../../src/util/errors.js';

const SIZE = 1 << 20;

describe('a file that is reopened', () => {
  let folder: string;
  let graph: Graph;
  const before = process.cwd();

  beforeEach(async () => {
    registerDrivers();
    folder = mkdtempSync(join(tmpdir(), 'diskwright-reopen-'));
    process.chdir(folder);
    graph = new Graph(openRealHost());
    for (const name of ['base', 'other']) await createImage(graph, `${name}.qcow2`, { driver: 'qcow2', size: SIZE });
    const backing = { 'backing-file': 'base.qcow2', 'backing-fmt': 'qcow2' } as const;
    await createImage(graph, 'top.qcow2', { driver: 'qcow2', size: SIZE, ...backing });
  });

  afterEach(async () => {
    process.chdir(before);
    await graph.closeAll();
    await graph.host.close();
    rmSync(folder, { recursive: true });
  });

  /** Opens the chain, whose base is read-only, and writes to its top. */
  async function guest(): Promise<Device> {
    const device = new Device(await openNode(graph, 'top.qcow2'), { name: 'guest', writable: true });
    await device.write(0, Buffer.alloc(4096, 0xa5));
    return device;
  }

  async function commit(device: Device): Promise<void> {
    const env = { graph, manager: new JobManager(graph.host.clock) };
    const job = await startJob(env, commitJob, { device: rootOf(device).node.nodeName });
    await new Promise<void>((ready) => job.on('BLOCK_JOB_READY', () => ready()));
    await job.complete();
    await job.done;
  }

  it('is refused where another file has its name by now, which stays as it is', async () => {
    const device = await guest();
    const other = readFileSync('other.qcow2');
    renameSync('other.qcow2', 'base.qcow2');
    const error = await commit(device).then(
      () => null,
      (failure: BlockError) => failure,
    );
    expect(error?.message).to.equal("'base.qcow2' is not the file that was opened: another one has its name now");
    expect(error?.code).to.equal('bad-state');
    expect(readFileSync('base.qcow2').equals(other)).to.equal(true);
    // The guest has what it had.
    const found = Buffer.alloc(4096);
    await device.read(0, found);
    expect(found.equals(Buffer.alloc(4096, 0xa5))).to.equal(true);
    await device.close();
  });

  it('is found from another folder, and another file of its name there is left alone', async () => {
    const device = await guest();
    mkdirSync('elsewhere');
    renameSync('other.qcow2', 'elsewhere/base.qcow2');
    const other = readFileSync('elsewhere/base.qcow2');
    process.chdir('elsewhere');
    await commit(device);
    expect(readFileSync('base.qcow2').equals(other)).to.equal(true);
    const found = Buffer.alloc(4096);
    await device.read(0, found);
    expect(found.equals(Buffer.alloc(4096, 0xa5))).to.equal(true);
    await device.close();
    expect(readFileSync('../base.qcow2').includes(Buffer.alloc(4096, 0xa5))).to.equal(true);
  });

  it('is refused in the same way on the simulated host', async () => {
    const host = createSimHost();
    const sim = new Graph(host);
    host.writeFile('/disk', Buffer.alloc(4096, 1));
    const node = await openNode(sim, { driver: 'file', filename: '/disk', 'read-only': true });
    await host.unlink('/disk');
    host.writeFile('/disk', Buffer.alloc(4096, 2));
    const error = await node.reopen(false).then(
      () => null,
      (failure: BlockError) => failure,
    );
    expect(error?.code).to.equal('bad-state');
    await node.reopen(true);
    await sim.closeAll();
  });
});
