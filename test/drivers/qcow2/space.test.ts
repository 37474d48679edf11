// Space for tables: a write that is answered can be flushed, however full the disk, and wherever the tables lie.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { Device } from '../../../src/block/device.js';
import { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import { createSimHost, type SimHost } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';

const PATH = '/i.qcow2';
const PAGE = 4096;
const MIB = 1 << 20;

async function create(host: SimHost, size: number, clusterSize: number): Promise<void> {
  registerDrivers();
  await createImage(new Graph(host), PATH, { driver: 'qcow2', size, 'cluster-size': clusterSize });
}

/** Each page of zeroes becomes a hole. */
function makeSparse(host: SimHost): void {
  const content = host.readFile(PATH);
  host.resizeFile(PATH, 0);
  for (let at = 0; at < content.length; at += PAGE) {
    const page = content.subarray(at, at + PAGE);
    if (!host.memory.isZero(page)) host.patchFile(PATH, at, page);
  }
  host.resizeFile(PATH, content.length);
}

async function open(host: SimHost): Promise<{ graph: Graph; device: Device }> {
  const graph = new Graph(host);
  const options = { driver: 'qcow2', file: { driver: 'file', filename: PATH }, discard: 'unmap' } as const;
  const device = new Device(await openNode(graph, options), { name: 'guest', writable: true });
  return { graph, device };
}

/** Writes 4 KiB at `offset` and so on in steps of `step` until the disk is full. Gives the offsets that were answered. */
async function fill(device: Device, offset: number, step: number): Promise<number[]> {
  const written: number[] = [];
  for (let at = offset; at < device.length; at += step) {
    try {
      await device.write(at, new Uint8Array(PAGE).fill(7));
    } catch (error) {
      expect((error as BlockError).code).to.equal('no-space');
      return written;
    }
    written.push(at);
  }
  throw new Error('the disk never got full');
}

async function expectKept(host: SimHost, written: readonly number[]): Promise<void> {
  const { graph, device } = await open(host);
  for (const at of written) {
    const page = new Uint8Array(PAGE);
    await device.read(at, page);
    expect(page[0], `at ${at}`).to.equal(7);
  }
  await device.close();
  await graph.closeAll();
}

describe('qcow2: space for tables', () => {
  for (const unsupported of [[], ['allocate']] as const) {
    const how = unsupported.length === 0 ? '' : ', without fallocate';
    for (const pages of [1, 15, 17, 31, 34, 40]) {
      it(`tables that lie in holes get their space before they are changed (${pages} free pages${how})`, async () => {
        const host = createSimHost({ unsupported });
        await create(host, 256 * MIB, 65536);
        const first = await open(host);
        await first.device.write(0, new Uint8Array(65536).fill(1));
        await first.device.close();
        await first.graph.closeAll();
        makeSparse(host);
        host.setCapacity(host.used + pages * PAGE);
        const { graph, device } = await open(host);
        // Its entry is in the table's second half, which is a hole.
        const written = await fill(device, 64 * MIB, 65536);
        await device.flush();
        await device.close();
        await graph.closeAll();
        await expectKept(host, written);
      });
    }
  }

  it('a discard is answered where its refcounts lie in a hole and the disk is full', async () => {
    const host = createSimHost();
    await create(host, 4 * MIB, 4096);
    const { graph, device } = await open(host);
    await device.write(0, new Uint8Array(MIB).fill(7));
    await device.flush();
    host.setCapacity(host.used);
    await device.discard(0, MIB / 2);
    await device.flush();
    // The space that it gave back is there for others.
    await device.write(2 * MIB, new Uint8Array(MIB / 4).fill(7));
    await device.close();
    await graph.closeAll();
    await expectKept(host, [MIB / 2, 2 * MIB]);
  });

  it('a close without space names the guest ranges that are lost, and one with space again loses nothing', async () => {
    for (const again of [false, true]) {
      const host = createSimHost();
      await create(host, 4 * MIB, 4096);
      const { graph, device } = await open(host);
      await device.write(MIB, new Uint8Array(8192).fill(7));
      await device.write(3 * MIB, new Uint8Array(PAGE).fill(7));
      // Only a file system that breaks its word gets here: the space was allocated.
      host.setFaults({ rules: [{ operations: ['write'], errno: 'ENOSPC' }] });
      expect(await failureOf(device.flush())).to.equal('no-space');
      if (again) host.setFaults({});
      await device.close();
      const closing = graph.closeAll();
      if (again) {
        await closing;
        await expectKept(host, [MIB, 3 * MIB]);
      } else {
        const error = await closing.then(
          () => null,
          (thrown: unknown) => thrown,
        );
        expect(error).to.be.instanceOf(BlockError);
        expect((error as BlockError).message).to.match(
          /^\/i\.qcow2: writes since the last flush are lost: 12 KiB at guest offsets 1048576-1056767, 3145728-3149823: /,
        );
      }
    }
  });
});

async function failureOf(request: Promise<void>): Promise<string> {
  return request.then(
    () => 'none',
    (error: BlockError) => error.code,
  );
}
