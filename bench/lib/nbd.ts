// NBD servers as the bench needs them: started on a UNIX socket, loaded by a client, and looked at while they run.
//
//   prepare: start the server, warm it     run: CPU before, client, CPU after     then: end the server

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cleanEnvironment, helper, type Sample } from './measure.js';
import { cpuSeconds, peakMiB } from './qsd.js';

const START_LIMIT_MS = 10_000;
const END_LIMIT_MS = 10_000;

export interface Disk {
  path: string;
  format: 'raw' | 'qcow2';
  direct: boolean;
}

/** How a server is started for a disk. */
export interface ServerKind {
  name: string;
  words: (disk: Disk, socket: string) => string[];
  /** Left out where it cannot do what is compared. */
  suits: (disk: Disk) => boolean;
}

export interface RunningServer {
  pid: number;
  socket: string;
  /** For libnbd's and fio's programs. */
  uri: string;
  end: () => Promise<void>;
}

const always = () => true;

export function ourServer(cli: readonly string[]): ServerKind {
  return {
    name: 'diskwright',
    words: ({ path, format, direct }, socket) => [
      ...[...cli, 'nbd', '-t', '-e', '0', '-k', socket, '-f', format],
      ...[`--cache=${direct ? 'none' : 'writeback'}`, path],
    ],
    suits: always,
  };
}

function qemuNbd(aio: 'threads' | 'io_uring'): ServerKind {
  return {
    name: `qemu-nbd ${aio}`,
    words: ({ path, format, direct }, socket) => [
      ...['qemu-nbd', '-t', '-e', '0', '-k', socket, '-f', format],
      ...[`--cache=${direct ? 'none' : 'writeback'}`, `--aio=${aio}`, path],
    ],
    suits: always,
  };
}

const STORAGE_DAEMON: ServerKind = {
  name: 'qemu-storage-daemon',
  words: ({ path, format, direct }, socket) => [
    ...['qemu-storage-daemon', '--blockdev'],
    `driver=file,node-name=file,filename=${path},aio=io_uring,cache.direct=${direct ? 'on' : 'off'},discard=unmap`,
    ...['--blockdev', `driver=${format},node-name=disk,file=file,discard=unmap`],
    ...['--nbd-server', `addr.type=unix,addr.path=${socket},max-connections=0`],
    ...['--export', 'type=nbd,id=export,node-name=disk,name=,writable=on'],
  ],
  suits: always,
};

const NBDKIT: ServerKind = {
  name: 'nbdkit file',
  words: ({ path }, socket) => ['nbdkit', '-f', '-U', socket, 'file', path],
  suits: ({ format, direct }) => format === 'raw' && !direct,
};

export const QEMU_NBD_URING = qemuNbd('io_uring');
/** The strictest first: a case's aim is against the first that suits. */
export const PEERS: ServerKind[] = [QEMU_NBD_URING, qemuNbd('threads'), STORAGE_DAEMON, NBDKIT];

/** Starts a server in `folder`; resolves when it takes connections. */
export async function startServer(folder: string, kind: ServerKind, disk: Disk): Promise<RunningServer> {
  const socket = join(folder, 'nbd.sock');
  rmSync(socket, { force: true });
  // The soft limit of open files is 1,024 in many places, which is too low for a thousand connections.
  const words = ['-c', 'ulimit -n "$(ulimit -Hn)" && exec "$@"', 'sh', ...kind.words(disk, socket)];
  const child = spawn('sh', words, { env: cleanEnvironment(), stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const end = async () => {
    child.kill('SIGTERM');
    const patience = setTimeout(() => child.kill('SIGKILL'), END_LIMIT_MS);
    await ended;
    clearTimeout(patience);
  };
  try {
    await listening(folder, socket, child, kind.name);
  } catch (error) {
    await end();
    throw error;
  }
  return { pid: child.pid as number, socket, uri: `nbd+unix:///?socket=${socket}`, end };
}

/** Until a client gets an answer: servers writeMessage of those who only knock. */
async function listening(folder: string, path: string, child: ChildProcess, name: string): Promise<void> {
  const knock = helper(folder, 'nbdload');
  const deadline = performance.now() + START_LIMIT_MS;
  while (spawnSync(knock, ['-k', path, '-n', '1'], { stdio: 'ignore' }).status !== 0) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode} before it listened`);
    if (performance.now() > deadline) throw new Error(`${name} does not listen at ${path}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export interface Load {
  write: boolean;
  sequential: boolean;
  blockBytes: number;
  depth: number;
  seconds: number;
  client: 'nbdload' | 'fio';
}

interface Outcome {
  operations: number;
  seconds: number;
  p50us: number;
  p99us: number;
}

/** Loads a server that is warm; CPU is the server's, in seconds for 100,000 requests. */
export function loaded(folder: string, server: RunningServer, load: Load): Sample {
  applyLoad(folder, server, { ...load, seconds: Math.min(0.5, load.seconds) });
  const cpuBefore = cpuSeconds(server.pid);
  const { operations, seconds, p50us, p99us } = applyLoad(folder, server, load);
  const cpu = ((cpuSeconds(server.pid) - cpuBefore) / operations) * 100_000;
  return { wall: seconds, cpu, peakMiB: peakMiB(server.pid), rate: operations / seconds, p50us, p99us };
}

function applyLoad(folder: string, server: RunningServer, load: Load): Outcome {
  return load.client === 'fio' ? fio(server, load) : nbdload(folder, server, load);
}

function nbdload(folder: string, server: RunningServer, load: Load): Outcome {
  const words = ['-k', server.socket, '-b', String(load.blockBytes), '-d', String(load.depth)];
  if (load.write) words.push('-w');
  if (load.sequential) words.push('-q');
  return JSON.parse(checked(helper(folder, 'nbdload'), [...words, '-t', String(load.seconds)]));
}

function fio(server: RunningServer, load: Load): Outcome {
  const stdout = checked('fio', [
    ...['--name=nbd', '--ioengine=nbd', `--uri=${server.uri}`, '--output-format=json', '--time_based'],
    ...[`--bs=${load.blockBytes}`, `--iodepth=${load.depth}`, `--runtime=${load.seconds}`],
    `--rw=${load.sequential ? '' : 'rand'}${load.write ? 'write' : 'read'}`,
  ]);
  const job = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs[0];
  const side = load.write ? job.write : job.read;
  const at = (percent: string) => side.clat_ns.percentile[percent] / 1000;
  return {
    operations: side.total_ios,
    seconds: side.runtime / 1000,
    p50us: at('50.000000'),
    p99us: at('99.000000'),
  };
}

/** Reads a whole file into the page cache. */
export function warmCache(path: string): void {
  const buffer = Buffer.alloc(1 << 20);
  const fd = openSync(path, 'r');
  while (readSync(fd, buffer) > 0);
  closeSync(fd);
}

/** Runs a client that must succeed; what it prints. */
export function checked(program: string, words: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8', env: cleanEnvironment() });
  if (status !== 0) throw new Error(`${program} ${words.join(' ')}: exit ${status}: ${stderr}`);
  return stdout;
}

/** Memory that a process holds now. */
export function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}
