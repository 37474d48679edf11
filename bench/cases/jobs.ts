// stream, commit, mirror, backup beside qemu-storage-daemon: from the job's command to its end, the processes' start left out.

import { execFileSync } from 'node:child_process';
import { copyFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { DataSet } from '../lib/data.js';
import type { Case } from '../lib/measure.js';
import { type QsdJob, qsdJob } from '../lib/qsd.js';
import { worker } from '../lib/worker.js';

const GIB = 1 << 30;
const MIB = 1 << 20;

export function jobCases(data: DataSet): Case[] {
  const work = (path: string) => join(data.folder, `work-${basename(path)}`);
  const target = join(data.folder, 'job-target.qcow2');
  const file = (filename: string) => ({ driver: 'file', filename });
  const [base, mid, top] = data.chain;

  /** Fresh copies of the chain, for jobs that change it. */
  const freshChain = () => {
    data.chain.forEach((path, level) => {
      rmSync(work(path), { force: true });
      copyFileSync(path, work(path));
      const backing = level === 0 ? [] : ['-b', basename(work(data.chain[level - 1])), '-F', 'qcow2'];
      if (level > 0) execFileSync('qemu-img', ['rebase', '-u', '-f', 'qcow2', ...backing, work(path)]);
    });
  };
  const freshTarget = (size: string) => () => {
    rmSync(target, { force: true });
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', target, size]);
  };
  const chainNodes = [base, mid, top].map((path, level) => ({
    driver: 'qcow2',
    'node-name': `level${level}`,
    'read-only': level < 2,
    file: file(work(path)),
    backing: level === 0 ? null : `level${level - 1}`,
  }));
  const copyNodes = (driver: string, path: string) => [
    { driver, 'node-name': 'source', 'read-only': true, file: file(path) },
    { driver: 'qcow2', 'node-name': 'target', file: file(target) },
  ];
  const one = (name: string, bytes: number, prepare: () => void, job: QsdJob): Case => ({
    name: `job.${name}`,
    bytes,
    aim: 1.5,
    ours: { name: 'diskwright', prepare, run: () => worker('job', job) },
    peers: [{ name: 'qemu-storage-daemon', prepare, run: () => qsdJob(data.folder, job) }],
  });
  const copy = (name: string, command: string, driver: string, path: string, size: string, bytes: number) =>
    one(name, bytes, freshTarget(size), {
      nodes: copyNodes(driver, path),
      command,
      arguments: { device: 'source', target: 'target', sync: 'full' },
    });

  return [
    one('stream.chain3', GIB, freshChain, {
      nodes: chainNodes,
      command: 'block-stream',
      arguments: { device: 'level2' },
    }),
    one('commit.mid', 64 * MIB, freshChain, {
      nodes: chainNodes,
      command: 'block-commit',
      arguments: { device: 'level2', 'top-node': 'level1', 'base-node': 'level0' },
    }),
    one('commit.active', 128 * MIB, freshChain, {
      nodes: chainNodes,
      command: 'block-commit',
      arguments: { device: 'level2', 'base-node': 'level0' },
    }),
    copy('mirror.fs.raw-qcow2', 'blockdev-mirror', 'raw', data.fsRaw, '1G', GIB),
    copy('mirror.mixed.qcow2-qcow2', 'blockdev-mirror', 'qcow2', data.mixedQcow2, '1G', GIB),
    copy('mirror.scatter', 'blockdev-mirror', 'qcow2', data.scatter, '64G', 20971 * 65536),
    copy('backup.fs.raw-qcow2', 'blockdev-backup', 'raw', data.fsRaw, '1G', GIB),
    copy('backup.mixed.qcow2-qcow2', 'blockdev-backup', 'qcow2', data.mixedQcow2, '1G', GIB),
  ];
}
