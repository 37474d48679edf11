// Whole disks over NBD: nbdcopy from and to each server, convert, mirror and backup to one, and what connections that do nothing cost.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DataSet, once as onceMade } from '../lib/data.js';
import { type Case, type Contender, command, helper, type Sample } from '../lib/measure.js';
import {
  checked,
  type Disk,
  ourServer,
  PEERS,
  QEMU_NBD_URING,
  type RunningServer,
  residentMiB,
  type ServerKind,
  startServer,
} from '../lib/nbd.js';
import { cpuSeconds, peakMiB, qsdJob } from '../lib/qsd.js';
import { worker } from '../lib/worker.js';
import { allocatedImages } from './random.js';

const GIB = 1 << 30;
const IDLE_CONNECTIONS = 1000;

/** One client, one server of `kind`: the wall time is the client's, CPU and memory are the server's. */
function served(folder: string, kind: ServerKind, disk: Disk, client: (server: RunningServer) => void): Contender {
  return {
    name: kind.name,
    run: async () => {
      const server = await startServer(folder, kind, disk);
      try {
        // Servers live long: the first client is not measured.
        client(server);
        const cpuBefore = cpuSeconds(server.pid);
        const before = performance.now();
        client(server);
        const wall = (performance.now() - before) / 1000;
        return { wall, cpu: cpuSeconds(server.pid) - cpuBefore, peakMiB: peakMiB(server.pid) };
      } finally {
        await server.end();
      }
    },
  };
}

/** Opens connections that go through the handshake and stay; the peak is what the server grew by. */
async function idle(folder: string, kind: ServerKind, disk: Disk): Promise<Sample> {
  const server = await startServer(folder, kind, disk);
  const holder = spawn(helper(folder, 'nbdload'), ['-k', server.socket, '-i', String(IDLE_CONNECTIONS)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(holder, 'exit');
  try {
    checked(helper(folder, 'nbdload'), ['-k', server.socket, '-n', '1000']);
    const [memoryBefore, cpuBefore, before] = [residentMiB(server.pid), cpuSeconds(server.pid), performance.now()];
    await Promise.race([
      once(holder.stdout, 'data'),
      ended.then(([code]) => Promise.reject(new Error(`nbdload -i: exit ${code}`))),
    ]);
    const wall = (performance.now() - before) / 1000;
    const grown = Math.max(0, residentMiB(server.pid) - memoryBefore);
    return { wall, cpu: cpuSeconds(server.pid) - cpuBefore, peakMiB: grown };
  } finally {
    holder.stdin.end();
    await ended;
    await server.end();
  }
}

export function nbdCopyCases(data: DataSet, cli: readonly string[]): Case[] {
  const us = ourServer(cli);
  const images = allocatedImages(data);
  /** Written over and over, so that no run pays for new blocks. */
  const target = onceMade(join(data.folder, 'nbd-target.raw'), (path) => copyFileSync(data.fsRaw, path));
  const disk = (format: Disk['format']): Disk => ({ path: images[format], format, direct: false });
  const targetDisk: Disk = { path: target, format: 'raw', direct: false };

  const nbdcopy = (format: Disk['format'], to: boolean): Case => {
    const client = ({ uri }: RunningServer) => void checked('nbdcopy', to ? [data.fsRaw, uri] : [uri, 'null:']);
    const contender = (kind: ServerKind) => served(data.folder, kind, disk(format), client);
    return {
      name: `nbd.${format}.nbdcopy-${to ? 'to' : 'from'}`,
      bytes: GIB,
      aim: 1,
      ours: contender(us),
      peers: PEERS.filter((kind) => kind.suits(disk(format))).map(contender),
    };
  };

  const convert = (to: boolean): Case => {
    const words = ({ uri }: RunningServer) =>
      to ? ['-n', '-f', 'raw', '-O', 'raw', data.fsRaw, uri] : ['-n', '-f', 'raw', '-O', 'raw', uri, target];
    const place = to ? targetDisk : disk('raw');
    return {
      name: `nbd.convert-${to ? 'to' : 'from'}`,
      bytes: GIB,
      aim: 1,
      ours: served(data.folder, us, place, (server) => void checked(cli[0], [cli[1], 'convert', ...words(server)])),
      peers: [
        served(data.folder, QEMU_NBD_URING, place, (server) => void checked('qemu-img', ['convert', ...words(server)])),
        { name: 'a socket without a protocol', run: command(data.folder, socketCopy) },
      ],
    };
  };

  const socketCopy = () => [helper(data.folder, 'socketcopy'), data.fsRaw, target];

  const job = (name: 'mirror' | 'backup'): Case => {
    const nodes = (socket: string) => [
      { driver: 'raw', 'node-name': 'source', 'read-only': true, file: { driver: 'file', filename: data.fsRaw } },
      { driver: 'nbd', 'node-name': 'target', server: { type: 'unix', path: socket }, export: '' },
    ];
    const task = (socket: string) => ({
      nodes: nodes(socket),
      command: `blockdev-${name}`,
      arguments: { device: 'source', target: 'target', sync: 'full' },
    });
    const contender = (kind: ServerKind, run: (socket: string) => Promise<Sample> | Sample): Contender => ({
      name: kind === us ? 'diskwright' : `qemu-storage-daemon to ${kind.name}`,
      run: async () => {
        const server = await startServer(data.folder, kind, targetDisk);
        try {
          return await run(server.socket);
        } finally {
          await server.end();
        }
      },
    });
    return {
      name: `nbd.${name}-to`,
      bytes: GIB,
      aim: 1,
      ours: contender(us, (socket) => worker('job', task(socket))),
      peers: [
        contender(QEMU_NBD_URING, (socket) => qsdJob(data.folder, task(socket))),
        { name: 'a socket without a protocol', run: command(data.folder, socketCopy) },
      ],
    };
  };

  return [
    ...(['raw', 'qcow2'] as const).flatMap((format) => [nbdcopy(format, false), nbdcopy(format, true)]),
    convert(true),
    convert(false),
    job('mirror'),
    job('backup'),
    {
      name: `nbd.idle${IDLE_CONNECTIONS}`,
      bytes: 0,
      ours: { name: us.name, run: () => idle(data.folder, us, disk('raw')) },
      peers: PEERS.filter((kind) => kind.suits(disk('raw'))).map((kind) => ({
        name: kind.name,
        run: () => idle(data.folder, kind, disk('raw')),
      })),
    },
  ];
}
