// stream, commit, mirror, backup beside qemu-storage-daemon: from the job's command to its end, the processes' start left out.

import { execFileSync } from 'node:child_process';
import { closeSync, copyFileSync, fsyncSync, openSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { DataSet } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';
import { type QsdJob, qsdJob } from '../lib/qsd.js';
import { worker } from '../lib/worker.js';

const GIB = 1 << 30;
const MIB = 1 << 20;

export function jobCases(data: DataSet, cli: readonly string[]): Case[] {
  const work = (path: string) => join(data.folder, `work-${basename(path)}`);
  const target = join(data.folder, 'job-target.qcow2');
  const file = (filename: string) => ({ driver: 'file', filename });

  /** Fresh copies of a chain, for jobs that change it. They are on the disk, so that a flush writes what the job wrote. */
  const fresh = (chain: readonly string[]) => () => {
    chain.forEach((path, level) => {
      rmSync(work(path), { force: true });
      copyFileSync(path, work(path));
      const backing = level === 0 ? [] : ['-b', basename(work(chain[level - 1])), '-F', 'qcow2'];
      if (level > 0) execFileSync('qemu-img', ['rebase', '-u', '-f', 'qcow2', ...backing, work(path)]);
      const opened = openSync(work(path), 'r');
      fsyncSync(opened);
      closeSync(opened);
    });
  };
  /** A copy of `path` below an overlay that holds nothing, or what `path` holds in other words. */
  const freshOverlay = (path: string, mib: number, filled: boolean) => () => {
    fresh([path])();
    rmSync(overlay, { force: true });
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', work(path), '-F', 'qcow2', overlay]);
    const input = filled ? `write -q -P 7 0 ${mib}M\nflush\n` : 'flush\n';
    execFileSync('qemu-io', ['-f', 'qcow2', '-d', 'unmap', overlay], { input });
  };
  const overlay = join(data.folder, 'work-overlay.qcow2');
  const freshTarget = (size: string) => () => {
    rmSync(target, { force: true });
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', target, size]);
  };
  const nodesOf = (paths: readonly string[]) =>
    paths.map((path, level) => ({
      driver: 'qcow2',
      'node-name': `level${level}`,
      'read-only': level < paths.length - 1,
      file: file(path),
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
  /** Daemon beside daemon: both get their command over QMP, and ours starts from its code cache. */
  const daemons = (name: string, bytes: number, prepare: () => void, job: QsdJob): Case => ({
    ...one(`${name}.daemon`, bytes, prepare, job),
    ours: { name: 'diskwright daemon', prepare, run: () => qsdJob(data.folder, job, [...cli, 'daemon']) },
  });
  const copyJob = (command: string, driver: string, path: string): QsdJob => ({
    nodes: copyNodes(driver, path),
    command,
    arguments: { device: 'source', target: 'target', sync: 'full' },
  });
  const copy = (name: string, command: string, driver: string, path: string, size: string, bytes: number) =>
    one(name, bytes, freshTarget(size), copyJob(command, driver, path));
  const chainNodes = nodesOf(data.chain.map(work));

  const small = data.heads.flatMap(({ mib, path }) => {
    const bytes = mib * MIB;
    const nodes = nodesOf([work(path), overlay]);
    const both = (name: string, prepare: () => void, job: QsdJob) => [
      one(`${name}.${mib}`, bytes, prepare, job),
      daemons(`${name}.${mib}`, bytes, prepare, job),
    ];
    return [
      ...both('mirror', freshTarget(`${mib}M`), copyJob('blockdev-mirror', 'qcow2', path)),
      ...both('backup', freshTarget(`${mib}M`), copyJob('blockdev-backup', 'qcow2', path)),
      ...both('stream', freshOverlay(path, mib, false), {
        nodes,
        command: 'block-stream',
        arguments: { device: 'level1' },
      }),
      ...both('commit', freshOverlay(path, mib, true), {
        nodes,
        command: 'block-commit',
        arguments: { device: 'level1', 'base-node': 'level0' },
      }),
    ];
  });

  /** `commit` of a whole chain into its base, by the command. */
  const commits = (
    [
      ['one', data.chain.slice(0, 2), 64],
      ['three', data.chain10.slice(0, 4), 96],
      ['ten', data.chain10, 288],
    ] as const
  ).map(([name, chain, mib]): Case => {
    const words = ['commit', '-q', '-b', work(chain[0]), work(chain[chain.length - 1])];
    const prepare = fresh(chain);
    return {
      name: `commit.${name}`,
      bytes: mib * MIB,
      aim: 1.5,
      ours: { name: 'diskwright', prepare, run: command(data.folder, [...cli, ...words]) },
      peers: [{ name: 'qemu-img', prepare, run: command(data.folder, ['qemu-img', ...words]) }],
    };
  });

  /** A rate that is asked for, and the time that so many bytes take at the rate that was kept. */
  const rates = ['mirror', 'backup'].flatMap((kind) =>
    [10, 100, 500].map((mib): Case => {
      const bytes = mib * MIB;
      const job = copyJob(`blockdev-${kind}`, 'raw', data.fsRaw);
      const limited = { ...job, arguments: { ...job.arguments, speed: bytes } };
      const rate = { seconds: mib > 100 ? 1.2 : 2.5, bytes };
      return {
        name: `job.rate.${kind}.${mib}`,
        bytes,
        aim: 1,
        ours: { name: 'diskwright', prepare: freshTarget('1G'), run: () => worker('job', { ...limited, rate }) },
        peers: [{ name: 'asked', run: () => ({ wall: 1, cpu: 0, peakMiB: 0 }) }],
      };
    }),
  );

  return [
    one('stream.chain3', GIB, fresh(data.chain), {
      nodes: chainNodes,
      command: 'block-stream',
      arguments: { device: 'level2' },
    }),
    one('stream.chain10', GIB, fresh(data.chain10), {
      nodes: nodesOf(data.chain10.map(work)),
      command: 'block-stream',
      arguments: { device: 'level9' },
    }),
    one('commit.mid', 64 * MIB, fresh(data.chain), {
      nodes: chainNodes,
      command: 'block-commit',
      arguments: { device: 'level2', 'top-node': 'level1', 'base-node': 'level0' },
    }),
    one('commit.active', 128 * MIB, fresh(data.chain), {
      nodes: chainNodes,
      command: 'block-commit',
      arguments: { device: 'level2', 'base-node': 'level0' },
    }),
    copy('mirror.fs.raw-qcow2', 'blockdev-mirror', 'raw', data.fsRaw, '1G', GIB),
    copy('mirror.mixed.qcow2-qcow2', 'blockdev-mirror', 'qcow2', data.mixedQcow2, '1G', GIB),
    copy('mirror.scatter', 'blockdev-mirror', 'qcow2', data.scatter, '64G', 20971 * 65536),
    copy('backup.fs.raw-qcow2', 'blockdev-backup', 'raw', data.fsRaw, '1G', GIB),
    copy('backup.mixed.qcow2-qcow2', 'blockdev-backup', 'qcow2', data.mixedQcow2, '1G', GIB),
    ...small,
    ...rates,
    ...commits,
  ];
}
