// The jobs on images whose sizes are no whole sectors, beside qemu-storage-daemon: raw files that end within a sector, qcow2 images with such
// sizes in their headers. What the targets, the overlays and the bases hold afterwards is the same, to the last byte.

import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { JobManager } from '../../src/jobs/manager.js';
import { findJobType } from '../../src/jobs/registry.js';
import { startJob } from '../../src/jobs/start.js';

import { requirePeer } from '../support/peers.js';
import { type Json, StorageDaemon } from '../support/qmp.js';
import { qemuImg, useBench } from './support.js';

const SIZES = [1, 511, 513, 4095, 4097, 65535, 65537, (1 << 20) + 1];

describe('jobs on sizes that are no whole sectors', function () {
  this.timeout(120_000);
  const bench = useBench('odd-jobs');
  let daemon: StorageDaemon;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-storage-daemon']) requirePeer(this, peer);
    daemon = await StorageDaemon.start(join(bench.folder, 'qmp.sock'));
  });
  after(() => daemon?.quit());

  /** `source`, targets of its size, and two overlays of it with a sector of their own. */
  function make(folder: string, format: string, bytes: number): void {
    mkdirSync(folder);
    const source = join(folder, 'source');
    if (format === 'raw') writeFileSync(source, Buffer.alloc(bytes, 0x5a));
    else makeQcow2(source, bytes);
    const { 'virtual-size': size } = JSON.parse(qemuImg('info', '--output=json', '-f', format, source)) as Json;
    for (const name of ['mirror', 'backup']) qemuImg('create', '-q', '-f', 'qcow2', join(folder, name), `${size}`);
    for (const name of ['stream', 'commit']) {
      qemuImg('create', '-q', '-f', 'qcow2', '-b', source, '-F', format, join(folder, name));
      if (size === 0) continue;
      execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -q -P 7 ${Number(size) - 512} 512`, join(folder, name)]);
    }
  }

  function makeQcow2(path: string, bytes: number): void {
    const room = Math.ceil(bytes / 65536 + 1) * 65536;
    qemuImg('create', '-q', '-f', 'qcow2', path, `${room}`);
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -q -P 90 0 ${room}`, path]);
    const field = Buffer.alloc(8);
    field.writeBigUInt64BE(BigInt(bytes));
    const file = openSync(path, 'r+');
    writeSync(file, field, 0, 8, 24);
    closeSync(file);
  }

  const JOBS: Record<string, { command: string; words: Json; nodes: string[] }> = {
    mirror: { command: 'blockdev-mirror', words: { target: 'mirror', sync: 'full' }, nodes: ['source', 'mirror'] },
    backup: { command: 'blockdev-backup', words: { target: 'backup', sync: 'full' }, nodes: ['source', 'backup'] },
    stream: { command: 'block-stream', words: {}, nodes: ['stream'] },
    commit: { command: 'block-commit', words: {}, nodes: ['commit'] },
  };

  async function theirs(name: string, folder: string, format: string): Promise<void> {
    const { command, words, nodes } = JOBS[name];
    for (const node of nodes) {
      const driver = node === 'source' ? format : 'qcow2';
      const file = { driver: 'file', filename: join(folder, node) };
      await daemon.execute('blockdev-add', { driver, 'node-name': node, file });
    }
    await daemon.job(command, { ...words, device: nodes[0], 'job-id': 'job0' });
    for (const node of nodes) await daemon.execute('blockdev-del', { 'node-name': node });
  }

  async function ours(name: string, folder: string, format: string): Promise<void> {
    const { words, nodes } = JOBS[name];
    const graph = new Graph(bench.host);
    try {
      for (const node of nodes) {
        await openNode(graph, join(folder, node), { nodeName: node, format: node === 'source' ? format : 'qcow2' });
      }
      const env = { graph, manager: new JobManager(bench.host.clock) };
      const job = await startJob(env, findJobType(name), { ...words, device: nodes[0] } as never);
      job.on('BLOCK_JOB_READY', () => void job.complete());
      await job.done;
    } finally {
      await graph.closeAll();
    }
  }

  function contentOf(folder: string, name: string, format: string): Buffer {
    const path = join(folder, name);
    if (format === 'raw') return readFileSync(path);
    qemuImg('convert', '-f', format, '-O', 'raw', path, `${path}.raw`);
    return readFileSync(`${path}.raw`);
  }

  for (const format of ['raw', 'qcow2']) {
    for (const bytes of SIZES) {
      it(`${format} of ${bytes} bytes`, async () => {
        const [a, b] = ['a', 'b'].map((side) => join(bench.folder, `${format}${bytes}${side}`));
        for (const folder of [a, b]) make(folder, format, bytes);
        for (const name of Object.keys(JOBS)) {
          const results = [];
          for (const [run, folder] of [
            [ours, a],
            [theirs, b],
          ] as const) {
            const error = await run(name, folder, format).then(() => null, String);
            const result = name === 'commit' ? 'source' : name;
            results.push({ error, content: contentOf(folder, result, name === 'commit' ? format : 'qcow2') });
          }
          expect(results[0].error, name).to.equal(results[1].error);
          expect(results[0].content.length, name).to.equal(results[1].content.length);
          expect(results[0].content.equals(results[1].content), `${name}: content`).to.equal(true);
        }
        for (const folder of [a, b]) rmSync(folder, { recursive: true });
      });
    }
  }
});
