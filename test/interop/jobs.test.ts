// The jobs on chains that are opened by file name, as a person does: names and formats in the headers are those that qemu's own jobs
// write, and every image is clean. (Content on random chains: chain-jobs.test.ts.)

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { backupJob } from '../../src/jobs/backup.js';
import { commitJob } from '../../src/jobs/commit.js';
import type { Job } from '../../src/jobs/job.js';
import type { JobEnvironment } from '../../src/jobs/job-type.js';
import { JobManager } from '../../src/jobs/manager.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { findJobType } from '../../src/jobs/registry.js';
import { startJob } from '../../src/jobs/start.js';
import { streamJob } from '../../src/jobs/stream.js';
import { requirePeer } from '../support/peers.js';
import { type Json, StorageDaemon } from '../support/qmp.js';
import { seeded } from './chain-maker.js';
import { qemuCheck, qemuImg, SEED, useBench } from './support.js';

const SIZE = 4 * 1024 * 1024 + 512;

describe('jobs on chains opened by name', function () {
  this.timeout(120_000);
  const bench = useBench('jobs');

  before(function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-storage-daemon']) requirePeer(this, peer);
  });

  let count = 0;
  let folder: string;
  beforeEach(() => {
    folder = join(bench.folder, `case${count++}`);
    mkdirSync(join(folder, 'a'), { recursive: true });
    makeChain(join(folder, 'a'));
    cpSync(join(folder, 'a'), join(folder, 'b'), { recursive: true });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const images = ['base', 'mid', 'low', 'top'];
  const at = (side: 'a' | 'b', name: string) => join(folder, side, name);

  /** base (raw) <- mid <- low <- top, with data of each. */
  function makeChain(inside: string): void {
    images.forEach((name, index) => {
      const backing = index === 0 ? [] : ['-b', images[index - 1], '-F', index === 1 ? 'raw' : 'qcow2'];
      const format = index === 0 ? 'raw' : 'qcow2';
      qemuImg('create', '-q', '-f', format, ...backing, join(inside, name), String(SIZE));
      const commands = [`write -q -P ${index + 1} ${index * 700000} 1000000`, `write -q -z ${index * 900000} 65536`];
      execFileSync('qemu-io', ['-f', format, ...commands.flatMap((one) => ['-c', one]), join(inside, name)]);
    });
  }

  async function withChain<T>(work: (env: JobEnvironment, top: BlockNode) => Promise<T>): Promise<T> {
    const graph = new Graph(bench.host);
    try {
      const top = await openNode(graph, at('a', 'top'), { nodeName: 'top' });
      return await work({ graph, manager: new JobManager(bench.host.clock) }, top);
    } finally {
      await graph.closeAll();
    }
  }

  async function theirs(command: string, words: Json): Promise<void> {
    const options = { driver: 'qcow2', 'node-name': 'top', file: { driver: 'file', filename: at('b', 'top') } };
    const daemon = await StorageDaemon.start(join(bench.folder, 'qmp.sock'), ['--blockdev', JSON.stringify(options)]);
    try {
      await daemon.job(command, { ...words, 'job-id': 'job0' });
    } finally {
      await daemon.quit();
    }
  }

  async function toTheEnd(job: Job): Promise<void> {
    job.on('BLOCK_JOB_READY', () => void job.complete());
    await job.done;
  }

  /** `qemu-img info --backing-chain` of both sides, without what depends on the place. */
  function expectSameChain(top: string): void {
    const chainOf = (side: 'a' | 'b') => {
      const text = qemuImg('info', '--backing-chain', '--output=json', at(side, top)).replaceAll(
        `${folder}/${side}/`,
        '/x/',
      );
      return (JSON.parse(text) as Json[]).map(({ 'actual-size': _, ...rest }) => rest);
    };
    expect(chainOf('a')).to.deep.equal(chainOf('b'));
    for (const name of images.slice(1)) {
      qemuImg('compare', '-q', at('a', name), at('b', name));
      const check = qemuCheck(at('a', name));
      expect(check.status, check.text).to.equal(0);
    }
  }

  const cases: [string, string, (side: 'a' | 'b') => Json][] = [
    ['stream of the whole chain', 'block-stream', () => ({ device: 'top' })],
    ['stream down to a base', 'block-stream', (side) => ({ device: 'top', base: at(side, 'mid') })],
    ['stream down to a raw base', 'block-stream', (side) => ({ device: 'top', base: at(side, 'base') })],
    [
      'stream with a name of its own',
      'block-stream',
      (side) => ({ device: 'top', base: at(side, 'mid'), 'backing-file': './mid' }),
    ],
    [
      'commit of a middle layer',
      'block-commit',
      (side) => ({ device: 'top', top: at(side, 'low'), base: at(side, 'mid') }),
    ],
    [
      'commit of two layers',
      'block-commit',
      (side) => ({ device: 'top', top: at(side, 'low'), base: at(side, 'base') }),
    ],
    [
      'commit with a name of its own',
      'block-commit',
      (side) => ({ device: 'top', top: at(side, 'low'), 'backing-file': './base' }),
    ],
  ];
  for (const [name, command, words] of cases) {
    it(name, async () => {
      await theirs(command, words('b'));
      await withChain(async (env) => {
        await toTheEnd(await startJob(env, findJobType(command.replace('block-', '')), words('a') as never));
      });
      expectSameChain('top');
    });
  }

  it('commit of the active layer', async () => {
    const words = (side: 'a' | 'b') => ({ device: 'top', base: at(side, 'mid') });
    await theirs('block-commit', words('b'));
    await withChain(async (env) => toTheEnd(await startJob(env, commitJob, words('a'))));
    expectSameChain('mid');
  });

  it('commit that empties the top, as qemu-img does', async () => {
    qemuImg('commit', '-q', at('b', 'top'));
    await withChain(async (env) =>
      toTheEnd(await startJob(env, commitJob, { device: 'top', 'base-node': lowOf(env), empty: true })),
    );
    expectSameChain('top');
  });

  function lowOf(env: JobEnvironment): string {
    const low = [...env.graph.nodes.values()].find(
      (node) => node.kind === 'format' && node.filename === at('a', 'low'),
    );
    expect(low, 'node of low').to.not.equal(undefined);
    return low!.nodeName;
  }

  it('backup with compression is what the source was, and clean', async () => {
    qemuImg('convert', '-f', 'qcow2', '-O', 'raw', at('a', 'top'), join(folder, 'before.raw'));
    qemuImg('create', '-q', '-f', 'qcow2', join(folder, 'target'), String(SIZE));
    await withChain(async (env, top) => {
      await openNode(env.graph, join(folder, 'target'), { nodeName: 'target' });
      const device = new Device(top, { name: 'drive0', writable: true });
      const job = await startJob(env, backupJob, { device: 'top', target: 'target', sync: 'full', compress: true });
      await device.write(512, Buffer.alloc(3_000_000, 0x99));
      await job.done;
      await device.close();
    });
    qemuImg('compare', '-q', join(folder, 'target'), join(folder, 'before.raw'));
    expect(qemuCheck(join(folder, 'target')).status).to.equal(0);
  });

  /** Guests write all over the device until `done`; resolves with what it must hold then. */
  async function guests(device: Device, done: Promise<unknown>): Promise<Buffer> {
    const random = seeded(SEED + count);
    const model = Buffer.alloc(device.length);
    await device.read(0, model);
    let over = false;
    const watch = done.finally(() => {
      over = true;
    });
    while (!over) {
      const length = 512 * (1 + random(64));
      const offset = 512 * random((SIZE - length) / 512);
      if (random(5) === 0) {
        await device.writeZeroes(offset, length, { mayUnmap: true });
        model.fill(0, offset, offset + length);
      } else {
        const data = Buffer.alloc(length, 1 + random(255));
        await device.write(offset, data);
        data.copy(model, offset);
      }
    }
    await watch;
    return model;
  }

  const live: Record<string, (env: JobEnvironment) => Promise<Job>> = {
    stream: (env) => startJob(env, streamJob, { device: 'top' }),
    commit: (env) => startJob(env, commitJob, { device: 'top' }),
    mirror: async (env) => {
      qemuImg('create', '-q', '-f', 'qcow2', join(folder, 'target'), String(SIZE));
      await openNode(env.graph, join(folder, 'target'), { nodeName: 'target' });
      return startJob(env, mirrorJob, { device: 'top', target: 'target', sync: 'full', 'copy-mode': 'write-blocking' });
    },
  };
  for (const [name, start] of Object.entries(live)) {
    it(`${name} under a guest that writes on`, async () => {
      const model = await withChain(async (env, top) => {
        const device = new Device(top, { name: 'drive0', writable: true });
        const job = await start(env);
        const seen = await guests(device, toTheEnd(job));
        await device.flush();
        await device.close();
        return seen;
      });
      const result = { stream: at('a', 'top'), commit: at('a', 'base'), mirror: join(folder, 'target') }[name]!;
      const format = name === 'commit' ? 'raw' : 'qcow2';
      qemuImg('convert', '-f', format, '-O', 'raw', result, join(folder, 'after.raw'));
      const after = execFileSync('cat', [join(folder, 'after.raw')], { maxBuffer: 2 * SIZE });
      expect(after.equals(model), 'image and model').to.equal(true);
      if (format === 'qcow2') expect(qemuCheck(result).status).to.equal(0);
    });
  }
});
