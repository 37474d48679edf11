// qemu-storage-daemon as the peer of our jobs: one daemon a run, one QMP connection, time from the job's command to its end.

import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Sample } from './measure.js';

type Json = Record<string, unknown>;

/** One QMP connection: commands are answered in order, events are awaited by name. */
class Qmp {
  readonly #socket: Socket;
  #replies: ((line: Json) => void)[] = [];
  #events: Json[] = [];
  #waiters: (() => void)[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    createInterface({ input: socket }).on('line', (line) => {
      const message = JSON.parse(line) as Json;
      if ('return' in message || 'error' in message) this.#replies.shift()?.(message);
      else if ('event' in message) this.#events.push(message);
      for (const wake of this.#waiters.splice(0)) wake();
    });
  }

  async execute(name: string, words: Json = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute: name, arguments: words })}\n`);
    const reply = await new Promise<Json>((resolve) => this.#replies.push(resolve));
    if ('error' in reply) throw new Error(`${name}: ${JSON.stringify(reply['error'])}`);
    return reply['return'];
  }

  async event(...names: string[]): Promise<Json> {
    for (;;) {
      const at = this.#events.findIndex((event) => names.includes(String(event['event'])));
      if (at >= 0) return this.#events.splice(at, 1)[0];
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  end(): void {
    this.#socket.destroy();
  }
}

/** User and system seconds of a process, all its threads, ended ones too (10 ms steps). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function peakMiB(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

export interface QsdJob {
  /** `--blockdev` options, as JSON. */
  nodes: Json[];
  command: string;
  arguments: Json;
  /** For a job that becomes ready: complete it then. */
  complete?: boolean;
}

/** One job in a fresh daemon. */
export async function qsdJob(folder: string, job: QsdJob): Promise<Sample> {
  const path = join(folder, 'qmp.sock');
  rmSync(path, { force: true });
  const daemon = spawn(
    'qemu-storage-daemon',
    [
      ...job.nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]),
      '--chardev',
      `socket,id=qmp,path=${path},server=on,wait=off`,
      '--monitor',
      'chardev=qmp',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const ended = new Promise<void>((resolve) => daemon.once('exit', () => resolve()));
  const qmp = new Qmp(await connected(path));
  await qmp.execute('qmp_capabilities');
  const pid = daemon.pid as number;
  const cpuBefore = cpuSeconds(pid);
  const before = performance.now();
  await qmp.execute(job.command, { 'job-id': 'job0', ...job.arguments });
  if (job.complete) {
    await qmp.event('BLOCK_JOB_READY');
    await qmp.execute('block-job-complete', { device: 'job0' });
  }
  const end = await qmp.event('BLOCK_JOB_COMPLETED');
  const sample = {
    wall: (performance.now() - before) / 1000,
    cpu: cpuSeconds(pid) - cpuBefore,
    peakMiB: peakMiB(pid),
  };
  const failure = (end['data'] as Json)['error'];
  await qmp.execute('quit');
  qmp.end();
  await ended;
  if (failure !== undefined) throw new Error(`${job.command}: ${failure}`);
  return sample;
}

async function connected(path: string): Promise<Socket> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect(path, () => resolve(socket));
        socket.once('error', reject);
      });
    } catch (error) {
      if (attempt === 400) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
