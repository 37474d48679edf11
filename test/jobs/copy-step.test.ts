// Copies by the host's step give what copies by requests give: the same bytes for a guest, images without leaks, files of the same length. And the
// step is really taken where it can be.

import { expect } from 'chai';
import { chainOf } from '../../src/block/chain.js';
import { createImage } from '../../src/block/create.js';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import type { Located } from '../../src/block/types.js';
import { MAX_MOVE_BYTES } from '../../src/host/host.js';
import { createSimHost, type SimHost, type SimHostOptions } from '../../src/host/sim/index.js';
import { backupJob } from '../../src/jobs/backup.js';
import { commitJob } from '../../src/jobs/commit.js';
import { convert } from '../../src/jobs/convert.js';
import type { JobEnvironment } from '../../src/jobs/job-type.js';
import { JobManager } from '../../src/jobs/manager.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { startJob } from '../../src/jobs/start.js';
import { streamJob } from '../../src/jobs/stream.js';
import { BlockError } from '../../src/util/errors.js';
import { checkFiles, expectVerified, readImage } from '../sim/checks.js';
import { runJobScenario } from '../sim/job-scenario.js';
import { expectFound } from '../sim/planted.js';
import { takeUnexpected } from '../support/unexpected.js';
import { readyOf } from './copy-support.js';
import { pattern } from './memory-node.js';

const KiB = 1024;
const CLUSTER = 64 * KiB;
const SIZE = 40 * CLUSTER;

const image = (path: string) => {
  const file = { driver: 'file', filename: path } as const;
  return path.endsWith('.raw') ? ({ driver: 'raw', file } as const) : ({ driver: 'qcow2', file } as const);
};

/** Clusters whose data is stored compressed. */
interface Compressed {
  'compression-type': 'zlib' | 'zstd';
  'cluster-size': number;
}

/**
 * A base with data and holes, an overlay with data, data that is zeroes, zero clusters, and what it rewrote; a target of each format. `compressed`: how
 * the base's data, and what the overlay has in whole clusters, is stored.
 */
async function build(compressed?: Compressed): Promise<SimHost> {
  const host = createSimHost();
  const graph = new Graph(host);
  const make = async (path: string, backing?: string) => {
    const link = backing === undefined ? {} : { 'backing-file': backing, 'backing-fmt': 'qcow2' as const };
    const raw = path.endsWith('.raw');
    const how = path.startsWith('/target') ? {} : compressed;
    const qcow2 = { driver: 'qcow2' as const, size: SIZE, ...how, ...link };
    await createImage(graph, path, raw ? { driver: 'raw', size: SIZE } : qcow2);
  };
  await make('/base.qcow2');
  await make('/top.qcow2', '/base.qcow2');
  await make('/target.qcow2');
  await make('/target.raw');
  const fill = async (path: string, writes: (device: Device) => Promise<unknown>) => {
    const device = new Device(await openNode(graph, image(path)), { name: 'd', writable: true });
    await writes(device);
    await device.close();
    await graph.closeAll();
  };
  const flags = { compressed: compressed !== undefined };
  const data = (seed: number, length: number) => (flags.compressed ? half(seed, length) : pattern(seed, length));
  await fill('/base.qcow2', async (device) => {
    await device.write(0, data(1, 10 * CLUSTER), flags);
    await device.write(20 * CLUSTER, data(2, 10 * CLUSTER), flags);
  });
  await fill('/top.qcow2', async (device) => {
    // Scattered, in another order than a guest sees it.
    for (const at of [12, 2, 25, 14, 3, 26, 35]) await device.write(at * CLUSTER, data(at, CLUSTER), flags);
    await device.write(16 * CLUSTER, new Uint8Array(2 * CLUSTER));
    await device.writeZeroes(5 * CLUSTER, CLUSTER);
    await device.write(37 * CLUSTER, pattern(9, 700));
  });
  return host;
}

/** Data of which half can be compressed. */
function half(seed: number, length: number): Uint8Array {
  const bytes = pattern(seed, length);
  for (let at = 0; at < length; at += 512) bytes.fill(seed, at, at + 256);
  return bytes;
}

interface Copied {
  host: SimHost;
  /** Steps of the host, and the bytes that they moved. */
  steps: number;
  bytes: number;
}

type Copy = (env: JobEnvironment, open: (path: string) => Promise<BlockNode>) => Promise<unknown>;

async function run(from: SimHost, copy: Copy, options: SimHostOptions = {}): Promise<Copied> {
  const host = from.fork({ eager: true, ...options });
  const copied: Copied = { host, steps: 0, bytes: 0 };
  const move = host.move.bind(host);
  host.move = (request) => {
    copied.steps++;
    copied.bytes += request.bytes;
    return move(request);
  };
  const graph = new Graph(host);
  const env: JobEnvironment = { graph, manager: new JobManager(host.clock) };
  await copy(env, (path) => openNode(graph, image(path)));
  await graph.closeAll();
  expect(host.memory.liveBuffers).to.equal(0);
  return copied;
}

const COPIES: { name: string; result: string; least: number; copy: Copy }[] = [
  ...['/target.raw', '/target.qcow2'].map((result) => ({
    name: `convert to ${result}`,
    result,
    // The overlay's last cluster is in part what the base has: nothing lies in one piece there.
    least: 20 * CLUSTER,
    copy: (async (_, open) => convert({ source: await open('/top.qcow2'), target: await open(result) })) as Copy,
  })),
  {
    name: 'convert, everything written out',
    result: '/target.qcow2',
    least: 30 * CLUSTER,
    copy: async (_, open) =>
      convert({ source: await open('/top.qcow2'), target: await open('/target.qcow2'), sparseSize: 0 }),
  },
  {
    name: 'mirror',
    result: '/target.qcow2',
    least: 20 * CLUSTER,
    copy: async (env, open) => {
      const [source, target] = [await open('/top.qcow2'), await open('/target.qcow2')];
      const job = await startJob(env, mirrorJob, { device: source.nodeName, target: target.nodeName, sync: 'full' });
      await readyOf(job);
      job.cancel();
      await job.done;
    },
  },
  {
    name: 'backup',
    result: '/target.raw',
    least: 20 * CLUSTER,
    copy: async (env, open) => {
      const [source, target] = [await open('/top.qcow2'), await open('/target.raw')];
      const args = { device: source.nodeName, target: target.nodeName, sync: 'full' as const };
      await (await startJob(env, backupJob, args)).done;
    },
  },
  {
    name: 'stream',
    result: '/top.qcow2',
    least: 15 * CLUSTER,
    copy: async (env, open) => {
      const top = await open('/top.qcow2');
      await (await startJob(env, streamJob, { device: top.nodeName })).done;
    },
  },
  {
    name: 'commit of the active layer',
    result: '/base.qcow2',
    least: 7 * CLUSTER,
    copy: async (env, open) => {
      const top = await open('/top.qcow2');
      const job = await startJob(env, commitJob, { device: top.nodeName });
      await readyOf(job);
      await job.complete();
      await job.done;
    },
  },
  {
    name: 'commit into the base, emptying the overlay',
    result: '/base.qcow2',
    least: 7 * CLUSTER,
    copy: async (env, open) => {
      const top = await open('/top.qcow2');
      const base = chainOf(top)[1].nodeName;
      const args = { device: top.nodeName, 'top-node': top.nodeName, 'base-node': base, empty: true };
      await (await startJob(env, commitJob, args)).done;
    },
  },
];

const IMAGES: { what: string; compressed?: Compressed }[] = [
  { what: 'as it is' },
  { what: 'zlib, 64 KiB', compressed: { 'compression-type': 'zlib', 'cluster-size': CLUSTER } },
  // Clusters that are smaller, and larger, than those of the target.
  { what: 'zstd, 8 KiB', compressed: { 'compression-type': 'zstd', 'cluster-size': 8 * KiB } },
];

for (const { what, compressed } of IMAGES) {
  describe(`copies by the host step: data that is stored ${what}`, () => {
    let built: SimHost;
    let expected: Uint8Array;
    before(async () => {
      built = await build(compressed);
      expected = await readImage(built.fork(), image('/top.qcow2'), false);
    });

    for (const { name, result, least, copy } of COPIES) {
      it(`${name}: as by requests, without a leak, in as much space`, async () => {
        const [stepped, plain] = [await run(built, copy), await run(built, copy, { unsupported: ['move'] })];
        expect(plain.steps).to.equal(0);
        expect(stepped.bytes).to.be.at.least(least);
        for (const { host } of [stepped, plain]) {
          checkFiles(host, false);
          const content = await readImage(host.fork(), image(result), false);
          expect(Buffer.compare(content, expected), 'content').to.equal(0);
          expectVerified(host, result, content);
        }
        expect(stepped.host.fileSize(result)).to.equal(plain.host.fileSize(result));
      });
    }

    if (compressed === undefined) return;
    it('a cluster that does not decompress fails as by requests: the error, its side, and where', async () => {
      const source = built.fork();
      const stored = await readStored(source, '/base.qcow2', 24 * CLUSTER);
      const answers = [];
      for (const unsupported of [[], ['move']] as const) {
        const host = source.fork({ eager: true, unsupported: [...unsupported] });
        host.writeFile('/base.qcow2', spoil(host.readFile('/base.qcow2'), stored));
        const graph = new Graph(host);
        const faults: unknown[] = [];
        const failed = await convert({
          source: await openNode(graph, image('/top.qcow2')),
          target: await openNode(graph, image('/target.qcow2')),
          onFault: ({ isRead }) => faults.push(isRead),
        }).catch((error) => error);
        expect(failed).to.be.instanceOf(BlockError);
        const { code, message, operation, guestOffset } = failed as BlockError;
        answers.push({ faults, code, message, operation, guestOffset });
        await graph.closeAll();
        expect(host.memory.liveBuffers).to.equal(0);
        checkFiles(host, false);
      }
      expect(answers[0]).to.deep.equal(answers[1]);
      expect(answers[0]).to.deep.include({ code: 'invalid-image', faults: [true], guestOffset: 24 * CLUSTER });
    });
  });
}

/** Where the compressed cluster of `guest` begins in the file. */
async function readStored(from: SimHost, path: string, guest: number): Promise<number> {
  const graph = new Graph(from.fork());
  const node = await openNode(graph, image(path));
  await node.read(guest, new Uint8Array(512));
  const packing = { type: null, stored: 0, clusterBytes: 0, lead: 0 };
  const into: Located = { file: null, offset: 0, guard: null, packing };
  expect(node.locate(guest, 512, false, into)).to.equal(true);
  into.guard?.release();
  await graph.closeAll();
  expect(packing.type).to.not.equal(null);
  return into.offset;
}

function spoil(content: Uint8Array, at: number): Uint8Array {
  content.fill(255, at, at + 64);
  return content;
}

describe('copies by the host step', () => {
  let built: SimHost;
  before(async () => {
    built = await build();
  });

  for (const size of [2 * MAX_MOVE_BYTES, 20 << 20, 4 << 20]) {
    it(`goes by requests where a step of zeroes is larger than the host takes: 16 MiB, ${size >> 20} MiB in all`, async () => {
      const content = pattern(3, size);
      const before = createSimHost();
      before.writeFile('/big.raw', content);
      before.resizeFile('/copy.raw', content.length);
      const { host, steps } = await run(before, async (_, open) =>
        convert({ source: await open('/big.raw'), target: await open('/copy.raw'), sparseSize: 16 << 20 }),
      );
      expect(steps).to.equal(0);
      expect(Buffer.compare(host.readFile('/copy.raw'), content)).to.equal(0);
    });
  }

  it('without memory for a run leaves the image as it was', async () => {
    const host = built.fork({ eager: true });
    const graph = new Graph(host);
    const target = await openNode(graph, image('/target.qcow2'));
    host.openRun = () => {
      throw new BlockError('limit', 'out of buffer memory');
    };
    const refused = await target.prepareMove([{ offset: 0, length: CLUSTER }], CLUSTER).catch((error) => error);
    expect(refused.code).to.equal('limit');
    expect(target.inFlight).to.equal(0);
    await graph.closeAll();
    checkFiles(host, false);
  });

  it('whose end goes wrong is over for the node all the same', async () => {
    const host = built.fork({ eager: true });
    const graph = new Graph(host);
    const target = await openNode(graph, image('/target.qcow2'));
    const place = await target.prepareMove([{ offset: 0, length: CLUSTER }], CLUSTER);
    // A slice that took nothing, of data: what nothing of ours answers.
    const wrong = { slices: [{ start: -1, taken: 0 }], map: new Uint8Array(1), fault: null };
    expect(() => place!.done(wrong)).to.throw(/assertion failed/);
    takeUnexpected();
    expect(target.inFlight).to.equal(0);
    await target.write(0, new Uint8Array(512));
    await graph.closeAll().catch(() => undefined);
    expect(target.closed).to.equal(true);
  });

  it('a target where a cluster cannot be read or written fails with the side, and leaks nothing', async () => {
    for (const operation of ['read', 'write'] as const) {
      const host = built.fork({ eager: true });
      const graph = new Graph(host);
      const source = await openNode(graph, image('/top.qcow2'));
      const target = await openNode(graph, image('/target.qcow2'));
      const move = host.move.bind(host);
      let steps = 0;
      host.move = (request) => {
        if (++steps === 1) host.setFaults({ rules: [{ operations: [operation], errno: 'EIO', after: 1, times: 1 }] });
        return move(request);
      };
      const faults: boolean[] = [];
      const failed = await convert({ source, target, onFault: ({ isRead }) => faults.push(isRead) }).catch(
        (error: BlockError) => error,
      );
      expect(failed).to.include({ code: 'io', path: operation === 'write' ? '/target.qcow2' : failed?.path });
      expect(faults).to.deep.equal([operation === 'read']);
      host.setFaults({});
      await graph.closeAll();
      checkFiles(host, false);
    }
  });
});

describe('a fault within a large step', () => {
  const MIB = 1024 * KiB;

  /** Streams 12 MiB; the first step of 2 MiB fails in its second half. */
  async function stream(onError: 'report' | 'ignore') {
    const host = createSimHost();
    const graph = new Graph(host);
    const sized = { driver: 'qcow2', size: 12 * MIB } as const;
    await createImage(graph, '/base.qcow2', sized);
    await createImage(graph, '/top.qcow2', { ...sized, 'backing-file': '/base.qcow2', 'backing-fmt': 'qcow2' });
    const device = new Device(await openNode(graph, image('/base.qcow2')), { name: 'd', writable: true });
    await device.write(0, pattern(1, 12 * MIB));
    await device.close();
    await graph.closeAll();
    const top = await openNode(graph, image('/top.qcow2'));
    const move = host.move.bind(host);
    // The base holds the guest's bytes in their order.
    let first = -1;
    let planted = -1;
    host.move = async (request) => {
      const { pieces, bytes } = request;
      if (first < 0) first = pieces[0].offset;
      if (planted >= 0 || bytes <= MIB) return move(request);
      planted = pieces[0].offset - first + MIB;
      expect(bytes).to.equal(2 * MIB);
      const error = new BlockError('io', 'planted');
      const slices = [
        { start: -1, taken: 0 },
        { start: -1, taken: 0 },
      ];
      return { slices, map: new Uint8Array(0), fault: { error, isRead: true, piece: pieces.length - 1 } };
    };
    const env: JobEnvironment = { graph, manager: new JobManager(host.clock) };
    const job = await startJob(env, streamJob, { device: top.nodeName, 'on-error': onError });
    const faults: (number | undefined)[] = [];
    job.onFault(({ guestOffset }) => faults.push(guestOffset));
    const error = await job.done.then(
      () => null,
      (thrown: BlockError) => thrown,
    );
    const missing: number[] = [];
    for (let at = 0; at < 12 * MIB; at += CLUSTER) {
      if (!(await top.blockStatus(at, CLUSTER)).allocated) missing.push(at);
    }
    await graph.closeAll();
    return { faults, error, missing, planted };
  }

  it('is told of where that MiB begins for a guest', async () => {
    const { faults, error, planted } = await stream('report');
    expect(error?.code).to.equal('io');
    expect(faults).to.deep.equal([planted]);
    expect(error?.guestOffset).to.equal(planted);
  });

  it('leaves behind that MiB, and nothing else', async () => {
    const { missing, planted } = await stream('ignore');
    expect(missing).to.deep.equal(Array.from({ length: MIB / CLUSTER }, (_, i) => planted + i * CLUSTER));
  });
});

describe('simulation: faults planted in the copy step', function () {
  this.timeout(600_000);

  /** By name, with the seed from which on it shows soon. */
  const plants: Record<string, [first: number, plant: (host: SimHost) => void]> = {
    'a zero map that is shifted by one step': [
      30,
      (host) => {
        const move = host.move.bind(host);
        host.move = async (request) => {
          const moved = await move(request);
          if (moved.map.includes(1)) moved.map.set([...moved.map.slice(1), moved.map[0]]);
          return moved;
        };
      },
    ],
    'a step that is answered before its last piece is written': [
      9,
      (host) => {
        const move = host.move.bind(host);
        host.move = async (request) => {
          const last = request.pieces[request.pieces.length - 1];
          return move({ ...request, pieces: [...request.pieces.slice(0, -1), { ...last, file: null }] });
        };
      },
    ],
    'places in the run that are given twice': [
      29,
      (host) => {
        const move = host.move.bind(host);
        let before = { start: 0, taken: 0 };
        host.move = async (request) => {
          const moved = await move(request);
          const [slice] = moved.slices;
          if (slice.taken === 0) return moved;
          const again = before.taken === slice.taken ? { ...slice, start: before.start } : slice;
          before = slice;
          return { ...moved, slices: [again, ...moved.slices.slice(1)] };
        };
      },
    ],
    'an error that is lost': [
      105,
      (host) => {
        const move = host.move.bind(host);
        host.move = async (request) => ({ ...(await move(request)), fault: null });
      },
    ],
  };
  for (const [what, [first, plant]] of Object.entries(plants)) {
    it(`show ${what}`, async () => {
      await expectFound(['content', 'metadata', 'leak', 'unexpected', 'promise', 'buffers'], (seed) =>
        runJobScenario(first + seed, { kind: 'mirror', moves: true, inspect: plant }),
      );
    });
  }
});
