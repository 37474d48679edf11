// A server of the command line in a process of its own: `diskwright nbd`, or qemu-nbd beside it.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { cliBundle, type Outcome } from './cli.js';
import { noteSaid } from './unexpected.js';

const LIMIT_MS = 30_000;
const POLL_MS = 5;

export type Server = 'diskwright' | 'qemu-nbd';
export const SERVERS: readonly Server[] = ['diskwright', 'qemu-nbd'];

export interface NbdCommand {
  program: string;
  words: readonly string[];
}

/** How a server's command line begins. */
export async function nbdCommand(server: Server): Promise<NbdCommand> {
  const bundle = await cliBundle();
  return server === 'qemu-nbd'
    ? { program: 'qemu-nbd', words: [] }
    : { program: process.execPath, words: [bundle, 'nbd'] };
}

/** Runs a command line to its end. */
export function runNbd({ program, words }: NbdCommand, args: readonly string[], folder: string): Outcome {
  const { status, stdout, stderr } = spawnSync(program, [...words, ...args], {
    cwd: folder,
    encoding: 'utf8',
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  noteSaid(stderr ?? '');
  return { code: status, stdout, stderr };
}

/** `__SO_ACCEPTCON`, as /proc/net/unix shows it. */
const ACCEPTS_CONNECTIONS = 0x10000;

/** Waits for a state of another process: there is nothing but to look. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + LIMIT_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

export function listening(path: string, gone: () => boolean = () => false): Promise<void> {
  return until(`somebody listens at ${path}`, async () => {
    const there = await new Promise<boolean>((resolve) => {
      const socket = connect(path, () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (!there && gone()) throw new Error(`nobody will listen at ${path}`);
    return there;
  });
}

/** Whether somebody listens at the UNIX socket `path`, without knocking. A socket's file is there a moment before that. */
export function isListening(path: string): boolean {
  const flags = (line: string) => Number.parseInt(line.split(/\s+/)[3], 16);
  return readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .some((line) => line.endsWith(` ${path}`) && (flags(line) & ACCEPTS_CONNECTIONS) !== 0);
}

/** Whether a server at the UNIX socket `path` greets a client: one that only listens may not have opened its image. */
export function greets(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (greeted: boolean): void => {
      socket.destroy();
      resolve(greeted);
    };
    socket
      .once('data', () => end(true))
      .once('error', () => end(false))
      .once('close', () => end(false));
  });
}

/** Also false for a process that has ended and that nobody has asked for its exit code. */
export function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

export class NbdProcess {
  readonly socket: string;
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  #stderr = '';
  /** So much of it was looked at. */
  #noted = 0;

  private constructor(child: ChildProcess, socket: string) {
    this.#child = child;
    this.socket = socket;
    this.#closed = once(child, 'close');
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
  }

  /** Starts a server; where and when it listens is the caller's affair. */
  static async launch(server: Server, args: readonly string[], folder: string, socket = ''): Promise<NbdProcess> {
    const { program, words } = await nbdCommand(server);
    const child = spawn(program, [...words, ...args], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    return new NbdProcess(child, socket);
  }

  /** Starts a server at `socket` and waits until it listens. */
  static async start(server: Server, socket: string, args: readonly string[], folder: string): Promise<NbdProcess> {
    const started = await NbdProcess.launch(server, ['-k', socket, ...args], folder, socket);
    try {
      await listening(socket, () => !started.running);
    } catch (error) {
      await started.stop('SIGKILL');
      throw new Error(`${(error as Error).message}: ${started.stderr}`);
    }
    return started;
  }

  get uri(): string {
    return `nbd+unix:///?socket=${this.socket}`;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Waits for its end by itself; its exit code. */
  async end(): Promise<number | null> {
    const patience = setTimeout(() => this.#child.kill('SIGKILL'), LIMIT_MS);
    await this.#closed;
    clearTimeout(patience);
    noteSaid(this.#stderr.slice(this.#noted));
    this.#noted = this.#stderr.length;
    return this.#child.exitCode;
  }

  /** Ends it; its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.running) this.#child.kill(signal);
    return this.end();
  }

  /** Waits until it has said something that matches. */
  said(pattern: RegExp): Promise<void> {
    return until(`it says ${pattern}`, () => pattern.test(this.#stderr));
  }
}
