// The server that is attacked and the good client beside it, as child processes of a test.

import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seeded } from '../interop/chain-maker.js';
import { programOf } from '../support/program.js';
import { knownWord, type Pauses } from './good-client.js';
import type { Subject } from './messages.js';
import type { Stats } from './target.js';

const MIB = 1 << 20;
const GOOD_BYTES = MIB;

export const SUBJECT: Subject = {
  exports: [
    { name: 'fuzzed', size: 4 * MIB, writable: true },
    { name: 'sized', size: MIB, writable: true },
    { name: 'fixed', size: MIB, writable: false },
  ],
};

function child(name: string, words: string[]): ChildProcess {
  return fork(programOf(new URL(`./${name}.ts`, import.meta.url)), words, {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
}

/** The next message of a child; rejects with what it wrote where it ends instead. */
async function answer<T>(from: ChildProcess, question?: string): Promise<T> {
  let complaint = '';
  const listen = (text: Buffer) => {
    complaint += text;
  };
  from.stderr?.on('data', listen);
  const stop = new AbortController();
  try {
    const message = once(from, 'message', { signal: stop.signal });
    const ended = once(from, 'close', { signal: stop.signal });
    message.catch(() => undefined);
    ended.catch(() => undefined);
    if (question !== undefined) from.send(question);
    const [value] = await Promise.race([
      message,
      ended.then(([code, signal]) => Promise.reject(new Error(`a child ended with ${code ?? signal}: ${complaint}`))),
    ]);
    return value as T;
  } finally {
    stop.abort();
    from.stderr?.off('data', listen);
  }
}

/** Everything that one attack needs; `remove` ends and deletes it, however far it came. */
export class Range {
  readonly folder = mkdtempSync(join(tmpdir(), 'diskwright-fuzz-'));
  readonly socket = join(this.folder, 'nbd.sock');
  /** Where nobody comes in without a key. */
  readonly secureSocket = join(this.folder, 'tls.sock');
  #target: ChildProcess | null = null;
  #good: ChildProcess | null = null;
  #complaint = '';

  async open(): Promise<void> {
    const good = Buffer.alloc(GOOD_BYTES);
    for (let at = 0; at < GOOD_BYTES; at += 4) good.writeUInt32LE(knownWord(at / 4), at);
    writeFileSync(this.path('good.raw'), good);
    const random = seeded(5);
    const qemuIo = (file: string, size: number) => {
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', this.path(file), String(size)]);
      const writes = Array.from({ length: 12 }, () => `write -q -P ${1 + random(255)} ${random(size - 70_000)} 65000`);
      execFileSync('qemu-io', ['-f', 'qcow2', ...writes.flatMap((write) => ['-c', write]), this.path(file)]);
    };
    qemuIo('fuzzed.qcow2', 4 * MIB);
    qemuIo('sized.qcow2', MIB);
    qemuIo('fixed.qcow2', MIB);
    qemuIo('secret.qcow2', MIB);
    this.#target = child('target', [this.folder]);
    this.#target.stderr?.on('data', (text) => {
      this.#complaint += text;
    });
    await answer(this.#target);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  get pid(): number {
    return this.#target?.pid as number;
  }

  /** What the server's process has written that nobody expects. */
  get complaint(): string {
    return this.#complaint;
  }

  /** Resolves only when the server's process ends, with what is known of it. */
  async crash(): Promise<never> {
    const [code, signal] = await once(this.#target as ChildProcess, 'close');
    throw new Error(`the server ended with ${code ?? signal}: ${this.#complaint}`);
  }

  async startGoodClient(): Promise<void> {
    this.#good = child('good-client', [this.socket, 'good', String(GOOD_BYTES)]);
    await answer(this.#good);
  }

  async stopGoodClient(): Promise<Pauses> {
    return answer<Pauses>(this.#good as ChildProcess, 'stop');
  }

  async stats(): Promise<Stats> {
    return answer<Stats>(this.#target as ChildProcess, 'stats');
  }

  /** Sockets of the server's process, the listening one included. */
  socketCount(): number {
    const folder = `/proc/${this.pid}/fd`;
    return readdirSync(folder).filter((fd) => {
      try {
        return readlinkSync(join(folder, fd)).startsWith('socket:');
      } catch {
        return false;
      }
    }).length;
  }

  peakBytes(): number {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1]) * 1024;
  }

  /** Ends the server as a user does. Rejects where it ends with anything but success. */
  async close(): Promise<void> {
    const target = this.#target as ChildProcess;
    const ended = once(target, 'close');
    target.send('close');
    const [code, signal] = await ended;
    if (code !== 0) throw new Error(`the server ended with ${code ?? signal}: ${this.#complaint}`);
  }

  remove(): void {
    this.#good?.kill('SIGKILL');
    this.#target?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
