// Guest writes beside a job on the same node: 4 KiB at random offsets, eight at a time, by an NBD client of a daemon that mirrors or backs up
// what is written, with and without a rate limit. Beside it: the same daemon without the job (the aim: 0.8 of its rate), and qemu-storage-daemon.

import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Json, StorageDaemon } from '../../test/support/qmp.js';
import type { DataSet } from '../lib/data.js';
import { type Case, type Contender, cleanEnvironment, helper, type Sample } from '../lib/measure.js';
import { warmCache } from '../lib/nbd.js';
import { cpuSeconds, peakMiB } from '../lib/qsd.js';

const MIB = 1 << 20;
const DEPTH = 8;
/** What a guest keeps beside a job, of its rate without one. */
const KEPT = 0.8;
const LIMIT_MIB = 100;
const QEMU = ['qemu-storage-daemon'];

interface Shape {
  command: 'blockdev-mirror' | 'blockdev-backup';
  /** MiB a second; 0: no limit. */
  speedMib: number;
  direct: boolean;
}

function shapes(): Shape[] {
  const all: Shape[] = [];
  for (const command of ['blockdev-mirror', 'blockdev-backup'] as const) {
    for (const direct of [false, true]) {
      for (const speedMib of [0, LIMIT_MIB]) all.push({ command, speedMib, direct });
    }
  }
  return all;
}

/** Resolves with what a client prints that ends well. */
function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => (status === 0 ? resolve(text) : reject(new Error(`nbdload: exit ${status}`))));
  });
}

/** Jobs one after the other, as long as the guest writes; a mirror has no end of its own. */
async function keepBusy(daemon: StorageDaemon, { command, speedMib }: Shape, guest: Promise<unknown>): Promise<void> {
  let writes = true;
  void guest.then(() => {
    writes = false;
  });
  const words = { device: 'disk', target: 'target', sync: 'full', speed: speedMib * MIB };
  for (let turn = 0; writes; turn++) {
    const id = `job${turn}`;
    await daemon.execute(command, { ...words, 'job-id': id });
    const ended = (async () => {
      while ((await daemon.event('JOB_STATUS_CHANGE'))['status'] !== 'null');
    })();
    await Promise.race([ended, guest]);
    if (!writes) await daemon.execute('job-cancel', { id }).catch(() => undefined);
    await ended;
  }
}

function contender(data: DataSet, name: string, program: readonly string[], shape: Shape, busy: boolean): Contender {
  const path = join(data.folder, 'guest.raw');
  const target = join(data.folder, 'guest-target.raw');
  return {
    name,
    ...(name === 'diskwright without the job' ? { aim: KEPT } : {}),
    prepare: () => {
      // Both are written in place: no run pays for a file that grows.
      for (const file of [path, target]) if (!existsSync(file)) copyFileSync(data.fsRaw, file);
      warmCache(path);
    },
    run: () => measured(data.folder, program, shape, busy, path, target),
  };
}

async function measured(
  folder: string,
  program: readonly string[],
  shape: Shape,
  busy: boolean,
  path: string,
  target: string,
): Promise<Sample> {
  const socket = join(folder, 'guest.sock');
  rmSync(socket, { force: true });
  const node = (name: string, filename: string) => {
    const cache = { direct: shape.direct };
    const file = { driver: 'file', filename, aio: 'io_uring', cache };
    return ['--blockdev', JSON.stringify({ driver: 'raw', 'node-name': name, cache, file } as Json)];
  };
  const daemon = await StorageDaemon.start(
    join(folder, 'qmp.sock'),
    [
      ...[...node('disk', path), ...node('target', target)],
      ...['--nbd-server', `addr.type=unix,addr.path=${socket},max-connections=0`],
      ...['--export', 'type=nbd,id=e,node-name=disk,name=,writable=on'],
    ],
    program,
  );
  try {
    const cpuBefore = cpuSeconds(daemon.pid);
    const words = ['-k', socket, '-d', String(DEPTH), '-w', '-t', '1.5'];
    const client = spawn(helper(folder, 'nbdload'), words, {
      env: cleanEnvironment(),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const guest = output(client);
    if (busy) await keepBusy(daemon, shape, guest);
    const { operations, seconds, p50us, p99us } = JSON.parse(await guest);
    const cpu = cpuSeconds(daemon.pid) - cpuBefore;
    return { wall: seconds, cpu, peakMiB: peakMiB(daemon.pid), rate: operations / seconds, p50us, p99us };
  } finally {
    await daemon.quit();
  }
}

export function guestCases(data: DataSet, cli: readonly string[]): Case[] {
  const ours = [...cli, 'daemon'];
  return shapes().map((shape) => ({
    name: [
      'job.guest',
      shape.command.slice('blockdev-'.length),
      shape.speedMib === 0 ? 'free' : `limit${shape.speedMib}`,
      shape.direct ? 'direct' : 'hot',
    ].join('.'),
    bytes: 0,
    aim: 1,
    ours: contender(data, 'diskwright', ours, shape, true),
    peers: [
      contender(data, 'diskwright without the job', ours, shape, false),
      contender(data, 'qemu-storage-daemon', QEMU, shape, true),
      contender(data, 'qemu-storage-daemon without the job', QEMU, shape, false),
    ],
  }));
}
