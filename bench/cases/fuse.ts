// A file that is mounted by FUSE: requests a second and the server's CPU for 100,000 of them, beside qemu-storage-daemon. fio sends them past the kernel's page
// cache (O_DIRECT), so that each one comes to the server; the image itself is in the page cache.

import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StorageDaemon } from '../../test/support/qmp.js';
import type { DataSet } from '../lib/data.js';
import type { Case, Contender, Sample } from '../lib/measure.js';
import { warmCache } from '../lib/nbd.js';
import { cpuSeconds, peakMiB } from '../lib/qsd.js';
import { allocatedImages } from './random.js';

interface Shape {
  format: 'raw' | 'qcow2';
  write: boolean;
  sequential: boolean;
  depth: number;
}

function* shapes(): Generator<Shape> {
  for (const format of ['raw', 'qcow2'] as const) {
    for (const write of [false, true]) {
      for (const depth of [1, 32]) yield { format, write, sequential: false, depth };
      yield { format, write, sequential: true, depth: 8 };
    }
  }
}

function nameOf({ format, write, sequential, depth }: Shape): string {
  return ['fuse', format, `${write ? 'write' : 'read'}${sequential ? '1m' : '4k'}`, `d${depth}`].join('.');
}

function load(
  path: string,
  shape: Shape,
  seconds: number,
): { operations: number; wall: number; p50us: number; p99us: number } {
  const { status, stdout, stderr } = spawnSync(
    'fio',
    [
      ...[
        '--name=fuse',
        `--filename=${path}`,
        '--ioengine=libaio',
        '--direct=1',
        '--time_based',
        '--output-format=json',
      ],
      ...[
        `--bs=${shape.sequential ? '1m' : '4k'}`,
        `--iodepth=${shape.depth}`,
        `--runtime=${Math.ceil(seconds * 1000)}ms`,
      ],
      `--rw=${shape.sequential ? '' : 'rand'}${shape.write ? 'write' : 'read'}`,
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`fio: ${stderr}`);
  const job = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs[0];
  const side = shape.write ? job.write : job.read;
  const at = (percent: string): number => side.clat_ns.percentile[percent] / 1000;
  return { operations: side.total_ios, wall: side.runtime / 1000, p50us: at('50.000000'), p99us: at('99.000000') };
}

async function mounted(
  folder: string,
  image: string,
  shape: Shape,
  seconds: number,
  program: readonly string[],
): Promise<Sample> {
  const file = join(folder, 'mounted');
  writeFileSync(file, '');
  const words = [
    ...['--blockdev', `driver=file,node-name=file,filename=${image},discard=unmap`],
    ...['--blockdev', `driver=${shape.format},node-name=disk,file=file,discard=unmap`],
    ...['--export', `type=fuse,id=export,node-name=disk,mountpoint=${file},writable=on`],
  ];
  const daemon = await StorageDaemon.start(join(folder, 'qmp.sock'), words, program);
  try {
    load(file, shape, Math.min(0.5, seconds));
    const before = cpuSeconds(daemon.pid);
    const { operations, wall, p50us, p99us } = load(file, shape, seconds);
    const cpu = ((cpuSeconds(daemon.pid) - before) / operations) * 100_000;
    return { wall, cpu, peakMiB: peakMiB(daemon.pid), rate: operations / wall, p50us, p99us };
  } finally {
    await daemon.quit();
  }
}

/** None where no file can be mounted. */
export function fuseCases(data: DataSet, cli: readonly string[], quick: boolean): Case[] {
  if (!existsSync('/dev/fuse')) return [];
  const images = allocatedImages(data);
  const seconds = quick ? 0.5 : 1;
  const contender = (name: string, shape: Shape, program: readonly string[]): Contender => ({
    name,
    prepare: () => warmCache(images[shape.format]),
    run: () => mounted(data.folder, images[shape.format], shape, seconds, program),
  });
  return [...shapes()].map((shape) => ({
    name: nameOf(shape),
    bytes: 0,
    aim: 1,
    ours: contender('diskwright', shape, [...cli, 'daemon']),
    peers: [contender('qemu-storage-daemon', shape, ['qemu-storage-daemon'])],
  }));
}
