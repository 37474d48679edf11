// Comparing two images gives the same answer where the host's step reads the files, and where all is read through the nodes.

import { expect } from 'chai';
import { type CompareResult, compareNodes } from '../../src/block/compare.js';
import { createImage } from '../../src/block/create.js';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost, type FaultRule, Random, type SimHost } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { pattern } from '../jobs/memory-node.js';
import { seedsOf, spanOf } from '../support/sample.js';

const CLUSTER = 64 << 10;
const SIZE = 200 * CLUSTER + 512;
const SEEDS = seedsOf({ fixed: 8, daily: 4, soak: 2000 });

type Write = (offset: number, data: Uint8Array | number) => Promise<void>;

async function make(host: SimHost, path: string, fill: (write: Write) => Promise<void>): Promise<void> {
  const graph = new Graph(host);
  const driver = path.endsWith('.raw') ? 'raw' : 'qcow2';
  await createImage(graph, path, { driver, size: SIZE });
  const device = new Device(await openNode(graph, path, { format: driver }), {
    name: 'd',
    writable: true,
  });
  await fill((offset, data) =>
    typeof data === 'number' ? device.writeZeroes(offset, data) : device.write(offset, data),
  );
  await device.close();
  await graph.closeAll();
}

interface Answer extends Partial<CompareResult> {
  error?: Pick<BlockError, 'code' | 'guestOffset'> & { failed: string };
  /** The host's steps. */
  steps: number;
}

async function compare(
  from: SimHost,
  [a, b]: [string, string],
  byStep: boolean,
  rules: FaultRule[] = [],
): Promise<Answer> {
  const host = from.fork(byStep ? {} : { unsupported: ['move'] });
  let steps = 0;
  const { compare: step } = host;
  host.compare = (request) => {
    steps++;
    return step.call(host, request);
  };
  const graph = new Graph(host);
  const [left, right] = await Promise.all(
    [a, b].map((path) => openNode(graph, path, { format: path.endsWith('.raw') ? 'raw' : 'qcow2' })),
  );
  host.setFaults({ rules });
  let failed = '';
  try {
    const result = await compareNodes(left, right, {}, ({ filename }) => {
      failed = filename;
    });
    return { ...result, steps };
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    return { error: { code: error.code, guestOffset: error.guestOffset, failed }, steps };
  } finally {
    host.setFaults({});
    await graph.closeAll();
    expect(host.memory.liveBuffers).to.equal(0);
  }
}

describe('compare', () => {
  let host: SimHost;
  before(async () => {
    registerDrivers();
    host = createSimHost({ eager: true });
    const content = pattern(0, 90 * CLUSTER);
    const fill = async (write: Write) => {
      await write(3 * CLUSTER, content.subarray(0, 70 * CLUSTER));
      await write(120 * CLUSTER, content.subarray(0, 10 * CLUSTER));
      await write(SIZE - 700, content.subarray(0, 700));
    };
    await make(host, '/a.raw', fill);
    // The same, in other places of the file, in part written as zeroes.
    await make(host, '/b.qcow2', async (write) => {
      await write(120 * CLUSTER, content.subarray(0, 10 * CLUSTER));
      await write(40 * CLUSTER, content.subarray(37 * CLUSTER, 70 * CLUSTER));
      await write(0, new Uint8Array(2 * CLUSTER));
      await write(150 * CLUSTER, CLUSTER);
      await write(3 * CLUSTER, content.subarray(0, 37 * CLUSTER));
      await write(SIZE - 700, content.subarray(0, 700));
    });
    host.writeFile('/copy.qcow2', host.readFile('/b.qcow2'));
  });

  for (const pair of [
    ['/a.raw', '/b.qcow2'],
    ['/b.qcow2', '/a.raw'],
    ['/b.qcow2', '/copy.qcow2'],
  ] as [string, string][]) {
    it(`${pair.join(' and ')} are the same, and the step has read them`, async () => {
      const [step, nodes] = [await compare(host, pair, true), await compare(host, pair, false)];
      expect(step).to.deep.include({ identical: true });
      expect(step.steps).to.be.greaterThan(1);
      expect(nodes).to.deep.equal({ ...step, steps: 0 });
    });
  }

  it(`the first byte that differs is found in both ways (${spanOf(SEEDS)})`, async () => {
    for (const seed of SEEDS) {
      const random = new Random(seed);
      const offsets = Array.from({ length: 1 + random.below(3) }, () => random.below(SIZE));
      const other = host.fork();
      const graph = new Graph(other);
      const device = new Device(await openNode(graph, '/b.qcow2', { format: 'qcow2' }), {
        name: 'd',
        writable: true,
      });
      for (const offset of offsets) {
        const byte = new Uint8Array(1);
        await device.read(offset, byte);
        await device.write(
          offset,
          byte.map((value) => value ^ 1),
        );
      }
      await device.close();
      await graph.closeAll();
      const first = Math.floor(Math.min(...offsets) / 512) * 512;
      const expected = { identical: false, difference: 'content', offset: first, behindEnd: false };
      for (const byStep of [true, false]) {
        const found = await compare(other, ['/a.raw', '/b.qcow2'], byStep);
        expect(found, `seed ${seed}, ${byStep}`).to.deep.include(expected);
      }
    }
  });

  for (const [path, metadata] of [
    ['/a.raw', 0],
    // The L2 table.
    ['/b.qcow2', 1],
  ] as const) {
    it(`what cannot be read of ${path} is said in the same way, with the guest's offset`, async () => {
      const rules: FaultRule[] = [{ operations: ['read'], path, after: metadata }];
      const [step, nodes] = [
        await compare(host, ['/a.raw', '/b.qcow2'], true, rules),
        await compare(host, ['/a.raw', '/b.qcow2'], false, rules),
      ];
      expect(step.steps).to.be.greaterThan(0);
      expect(step.error).to.deep.equal({ code: 'io', guestOffset: 0, failed: path });
      expect(nodes.error).to.deep.equal(step.error);
    });
  }

  it('a difference before what cannot be read is told first', async () => {
    const other = host.fork();
    const bytes = Buffer.from(other.readFile('/a.raw'));
    bytes[3 * CLUSTER + 5000] ^= 1;
    other.writeFile('/c.raw', bytes);
    const rules: FaultRule[] = [{ operations: ['read'], path: '/c.raw', after: 4 }];
    const found = await compare(other, ['/a.raw', '/c.raw'], true, rules);
    expect(found).to.deep.include({ difference: 'content', offset: 3 * CLUSTER + 4608 });
  });
});
