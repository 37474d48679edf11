// The daemon: NBD beside idle monitors, commands a second, queries of many nodes, memory of idle nodes, and many jobs at once. Where the aim is a
// figure and no peer's, the peer is that figure ("asked").

import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { type Json, StorageDaemon } from '../../test/support/qmp.js';
import type { DataSet } from '../lib/data.js';
import type { Case, Contender, Sample } from '../lib/measure.js';
import { type Disk, loaded, ourServer, residentMiB, type ServerKind, startServer, warmCache } from '../lib/nbd.js';
import { cpuSeconds, peakMiB } from '../lib/qsd.js';
import { allocatedImages } from './random.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const MONITORS = 4;
const DEVICES = 200;
const JOBS = 64;
const QEMU = ['qemu-storage-daemon'];

/** A figure that is asked for, as a contender. */
const asked = (sample: Partial<Sample>): Contender => ({
  name: 'asked',
  run: () => ({ wall: 0, cpu: 0, peakMiB: 0, ...sample }),
});

const monitorPath = (socket: string, index: number) => `${socket}.monitor${index}`;

/** The daemon with one export, and monitors that nobody uses. */
function daemonKind(program: readonly string[]): ServerKind {
  return {
    name: 'diskwright daemon',
    words: ({ path, format, direct }, socket) => {
      const file = { driver: 'file', filename: path, aio: 'io_uring', cache: { direct } };
      const monitors = Array.from({ length: MONITORS }, (_, i) => [
        ...['--chardev', `socket,id=m${i},path=${monitorPath(socket, i)},server=on,wait=off`],
        ...['--monitor', `chardev=m${i}`],
      ]);
      return [
        ...[...program, '--blockdev', JSON.stringify({ driver: format, 'node-name': 'disk', cache: { direct }, file })],
        ...['--nbd-server', `addr.type=unix,addr.path=${socket},max-connections=0`],
        ...['--export', 'type=nbd,id=e,node-name=disk,name=,writable=on'],
        ...monitors.flat(),
      ];
    },
    suits: () => true,
  };
}

async function idleClient(path: string): Promise<Socket> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => socket.once('data', () => resolve()).once('error', reject));
  socket.write('{"execute":"qmp_capabilities"}\n');
  await new Promise<void>((resolve) => socket.once('data', () => resolve()));
  return socket;
}

function nbdCases(data: DataSet, cli: readonly string[], quick: boolean): Case[] {
  const images = allocatedImages(data);
  const daemon = daemonKind([...cli, 'daemon']);
  const shapes = [
    { format: 'raw', write: false, depth: 1 },
    { format: 'raw', write: false, depth: 32 },
    { format: 'qcow2', write: false, depth: 32 },
    { format: 'qcow2', write: true, depth: 32 },
  ] as const;
  return shapes.map(({ format, write, depth }) => {
    const disk: Disk = { path: images[format], format, direct: false };
    const load = { write, depth, sequential: false, blockBytes: 4 * KIB, seconds: quick ? 0.3 : 2 };
    const contender = (kind: ServerKind, monitors: number): Contender => ({
      name: kind.name,
      prepare: () => warmCache(disk.path),
      run: async () => {
        const server = await startServer(data.folder, kind, disk);
        const clients: Socket[] = [];
        try {
          for (let i = 0; i < monitors; i++) clients.push(await idleClient(monitorPath(server.socket, i)));
          return loaded(data.folder, server, { ...load, client: 'nbdload' });
        } finally {
          for (const client of clients) client.destroy();
          await server.end();
        }
      },
    });
    return {
      name: `daemon.nbd.${format}.${write ? 'write' : 'read'}4k.d${depth}`,
      bytes: 0,
      aim: 0.95,
      ours: contender(daemon, MONITORS),
      peers: [{ ...contender(ourServer(cli), 0), name: 'diskwright nbd' }],
    };
  });
}

/** A contender that measures `work` in a daemon of its own. */
function inDaemon(
  data: DataSet,
  program: readonly string[],
  words: readonly string[],
  work: (daemon: StorageDaemon) => Promise<Partial<Sample>>,
): Contender {
  return {
    name: program === QEMU ? 'qemu-storage-daemon' : 'diskwright',
    run: async () => {
      const daemon = await StorageDaemon.start(join(data.folder, 'qmp.sock'), words, program);
      try {
        const cpuBefore = cpuSeconds(daemon.pid);
        const before = performance.now();
        const found = await work(daemon);
        const wall = (performance.now() - before) / 1000;
        return { wall, cpu: cpuSeconds(daemon.pid) - cpuBefore, peakMiB: peakMiB(daemon.pid), ...found };
      } finally {
        await daemon.quit();
      }
    },
  };
}

/** One command after the other, each when the last one is answered. */
function repeated(command: string, count: number): (daemon: StorageDaemon) => Promise<Partial<Sample>> {
  return async (daemon) => {
    const before = performance.now();
    for (let i = 0; i < count; i++) await daemon.execute(command);
    const wall = (performance.now() - before) / 1000;
    return { wall, rate: count / wall };
  };
}

function commandCases(data: DataSet, ours: readonly string[], quick: boolean): Case[] {
  const count = quick ? 200 : 5000;
  const node = ['--blockdev', JSON.stringify({ driver: 'null-co', 'node-name': 'n', size: MIB })];
  const devices = Array.from({ length: DEVICES }, (_, i) => [
    '--blockdev',
    JSON.stringify({ driver: 'null-co', 'node-name': `n${i}`, size: MIB }),
  ]).flat();
  const drives = Array.from({ length: DEVICES }, (_, i) => [
    '--drive',
    `if=none,id=d${i},format=raw,file=null-co://`,
  ]).flat();
  const queries = quick ? 5 : 50;
  return [
    ...['query-version', 'query-named-block-nodes'].map((command) => ({
      name: `daemon.commands.${command}`,
      bytes: 0,
      aim: 1,
      ours: inDaemon(data, ours, node, repeated(command, count)),
      peers: [asked({ rate: 1000 }), inDaemon(data, QEMU, node, repeated(command, count))],
    })),
    {
      name: `daemon.query-named-block-nodes.${DEVICES}`,
      bytes: 0,
      aim: 1,
      ours: inDaemon(data, ours, devices, repeated('query-named-block-nodes', queries)),
      peers: [inDaemon(data, QEMU, devices, repeated('query-named-block-nodes', queries))],
    },
    {
      name: `daemon.query-block.${DEVICES}`,
      bytes: 0,
      aim: 1,
      ours: inDaemon(data, ours, drives, repeated('query-block', queries)),
      peers: [asked({ rate: 100 })],
    },
  ];
}

/** Fresh sparse files of this size. */
function images(data: DataSet, name: string, count: number, bytes: number, content?: Buffer): string[] {
  const folder = join(data.folder, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  return Array.from({ length: count }, (_, i) => {
    const path = join(folder, `${i}.raw`);
    writeFileSync(path, content ?? '');
    truncateSync(path, bytes);
    return path;
  });
}

/** `rate` is nodes a MiB. */
function memoryCase(data: DataSet, ours: readonly string[], quick: boolean): Case {
  const count = quick ? 50 : 1000;
  const add = async (daemon: StorageDaemon) => {
    const paths = images(data, 'idle-nodes', count, MIB);
    const node = (path: string, i: number): Json => {
      return { driver: 'raw', 'node-name': `n${i}`, file: { driver: 'file', filename: path } };
    };
    // What the first nodes bring in is not theirs.
    for (let i = 0; i < count / 10; i++) await daemon.execute('blockdev-add', node(paths[i], i));
    const before = residentMiB(daemon.pid);
    for (let i = count / 10; i < count; i++) await daemon.execute('blockdev-add', node(paths[i], i));
    // A format's node and its file's.
    return { rate: (2 * 0.9 * count) / Math.max(residentMiB(daemon.pid) - before, 0.01) };
  };
  return {
    name: 'daemon.nodes-a-MiB',
    bytes: 0,
    aim: 1,
    ours: inDaemon(data, ours, [], add),
    peers: [asked({ rate: 1024 / 100 }), inDaemon(data, QEMU, [], add)],
  };
}

/** Mirrors of small images, all at once, each completed when it is ready. */
function jobsCase(data: DataSet, ours: readonly string[], quick: boolean): Case {
  const jobs = quick ? 4 : JOBS;
  const bytes = 4 * MIB;
  const run = async (daemon: StorageDaemon): Promise<Partial<Sample>> => {
    const sources = images(data, 'job-sources', jobs, bytes, Buffer.alloc(bytes, 7));
    const targets = images(data, 'job-targets', jobs, bytes);
    for (const [i, path] of sources.entries()) {
      for (const [name, filename] of [
        ['s', path],
        ['t', targets[i]],
      ]) {
        const file = { driver: 'file', filename };
        await daemon.execute('blockdev-add', { driver: 'raw', 'node-name': `${name}${i}`, file });
      }
    }
    const before = performance.now();
    for (let i = 0; i < jobs; i++) {
      const words = { 'job-id': `j${i}`, device: `s${i}`, target: `t${i}`, sync: 'full' };
      await daemon.execute('blockdev-mirror', words);
    }
    let left = jobs;
    while (left > 0) {
      const { id, status } = await daemon.event('JOB_STATUS_CHANGE');
      if (status === 'ready') await daemon.execute('job-complete', { id });
      if (status === 'null') left--;
    }
    return { wall: (performance.now() - before) / 1000 };
  };
  return {
    name: `daemon.mirrors.${jobs}`,
    bytes: jobs * bytes,
    aim: 1,
    ours: inDaemon(data, ours, [], run),
    peers: [inDaemon(data, QEMU, [], run)],
  };
}

export function daemonCases(data: DataSet, cli: readonly string[], quick: boolean): Case[] {
  const ours = [...cli, 'daemon'];
  return [
    ...nbdCases(data, cli, quick),
    ...commandCases(data, ours, quick),
    memoryCase(data, ours, quick),
    jobsCase(data, ours, quick),
  ];
}
