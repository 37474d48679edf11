// 4 KiB random reads and writes through the library, beside fio's io_uring engine and qemu-img bench. Operations a second.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DataSet, once } from '../lib/data.js';
import { type Case, command, type Sample } from '../lib/measure.js';
import { worker } from '../lib/worker.js';

interface Shape {
  format: 'raw' | 'qcow2';
  write: boolean;
  direct: boolean;
  depth: number;
  operations: number;
}

const DEPTHS = [1, 32, 64];

function shapes(): Shape[] {
  const all: Shape[] = [];
  for (const direct of [false, true]) {
    for (const write of [false, true]) {
      for (const format of ['raw', 'qcow2'] as const) {
        for (const depth of DEPTHS) {
          if (depth === 64 && (write || direct)) continue;
          const operations = direct ? (depth === 1 ? 20_000 : 60_000) : depth === 1 ? 150_000 : 400_000;
          all.push({ format, write, direct, depth, operations });
        }
      }
    }
  }
  return all;
}

function fio(path: string, shape: Shape): Sample {
  const { status, stdout, stderr } = spawnSync(
    'fio',
    [
      '--name=random',
      `--filename=${path}`,
      `--rw=${shape.write ? 'randwrite' : 'randread'}`,
      '--bs=4k',
      '--ioengine=io_uring',
      `--iodepth=${shape.depth}`,
      `--direct=${shape.direct ? 1 : 0}`,
      `--io_size=${shape.operations * 4096}`,
      '--randrepeat=1',
      '--invalidate=0',
      '--output-format=json',
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`fio: ${stderr}`);
  const job = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs[0];
  const side = shape.write ? job.write : job.read;
  const wall = side.runtime / 1000;
  return { wall, cpu: ((job.usr_cpu + job.sys_cpu) / 100) * wall, peakMiB: 0, rate: side.iops };
}

/** qemu-img bench steps through the image; the step is a prime number of blocks, so that no request follows another. */
export function qemuBench(data: DataSet, path: string, shape: Shape): () => Sample {
  const run = command(data.folder, [
    ...['qemu-img', 'bench', '-f', shape.format, '-c', String(shape.operations), '-d', String(shape.depth)],
    ...['-i', 'io_uring', '-s', '4096', '-S', String(4096 * 25_849), '-t', shape.direct ? 'none' : 'writeback'],
    ...(shape.write ? ['-w'] : []),
    path,
  ]);
  return () => {
    const sample = run();
    return { ...sample, rate: shape.operations / sample.wall };
  };
}

/** 1 GiB each, nearly all data, every cluster allocated: made once, written over in place. */
export function allocatedImages(data: DataSet): { raw: string; qcow2: string } {
  const toQcow2 = ['convert', '-f', 'raw', '-O', 'qcow2', '-S', '0', data.fsRaw];
  return {
    raw: once(join(data.folder, 'random.raw'), (path) => copyFileSync(data.fsRaw, path)),
    qcow2: once(join(data.folder, 'random.qcow2'), (path) => void execFileSync('qemu-img', [...toQcow2, path])),
  };
}

export function randomCases(data: DataSet): Case[] {
  const images = allocatedImages(data);
  return shapes().map((shape) => {
    const path = images[shape.format];
    const name = [
      'random',
      shape.format,
      shape.write ? 'write4k' : 'read4k',
      `d${shape.depth}`,
      shape.direct ? 'direct' : 'hot',
    ];
    return {
      name: name.join('.'),
      bytes: 0,
      aim: 1,
      ours: { name: 'diskwright', run: () => worker('random', { ...shape, path }) },
      peers: [
        { name: 'qemu-img bench -i io_uring', run: qemuBench(data, path, shape) },
        ...(shape.format === 'raw' ? [{ name: 'fio io_uring', run: () => fio(path, shape) }] : []),
      ],
    };
  });
}
