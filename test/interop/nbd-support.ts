// What the NBD interop tests share: our server and the reference servers on UNIX sockets of one scratch folder, and programs run
// without stopping our own event loop, which is the one that answers them.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type OpenOptions, openRealHost, type ServeOptions, Workspace } from '../../src/index.js';
import { isListening } from '../support/nbd-process.js';
import { requirePeer } from '../support/peers.js';
import { qemuImg } from './support.js';

const RUN_LIMIT_MS = 60_000;
const START_LIMIT_MS = 10_000;
const MIB = 1 << 20;

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. */
export async function run(program: string, words: readonly string[], input = ''): Promise<Outcome> {
  // Debian's python3-libnbd is for Debian's python3, whichever one comes first elsewhere.
  const env = { ...process.env, PATH: `/usr/bin:${process.env['PATH']}` };
  const child = spawn(program, words, { stdio: 'pipe', timeout: RUN_LIMIT_MS, killSignal: 'SIGKILL', env });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text) => {
      said[name] += text;
    });
  }
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [code] = await once(child, 'close');
  return { code, ...said };
}

/** Runs a program that must succeed; what it prints. */
export async function must(program: string, words: readonly string[], input = ''): Promise<string> {
  const { code, stdout, stderr } = await run(program, words, input);
  if (code !== 0) throw new Error(`${program} ${words.at(-1)} ended with ${code}: ${stderr || stdout}`);
  return stdout;
}

export interface Served {
  uri: string;
  socket: string;
}

export interface Offer extends Omit<ServeOptions, 'path' | 'host' | 'port'> {
  open?: OpenOptions;
}

/** Servers of one test; `remove` ends them all and deletes the folder. */
export class NbdBench {
  readonly folder = mkdtempSync(join(tmpdir(), 'diskwright-nbd-'));
  readonly workspace = new Workspace(openRealHost());
  readonly #children = new Map<string, ChildProcess>();
  #sockets = 0;

  path(name: string): string {
    return join(this.folder, name);
  }

  freshSocket(): string {
    return this.path(`socket${this.#sockets++}`);
  }

  /** Our server for an image. It ends when the test does, or with the result's `close`. */
  async ours(
    file: string,
    format: string,
    { open, ...offer }: Offer = {},
  ): Promise<Served & { close(): Promise<void> }> {
    const image = await this.workspace.open(file, { format, ...open });
    const socket = this.freshSocket();
    const service = await this.workspace.serve(image, { path: socket, ...offer });
    const close = async () => {
      await service.close();
      await image.close();
    };
    return { uri: service.uri, socket, close };
  }

  /** qemu-nbd for an image. */
  async qemuNbd(file: string, format: string, ...words: string[]): Promise<Served> {
    const socket = this.freshSocket();
    await this.start(socket, 'qemu-nbd', ['-t', '-e', '8', '-k', socket, '-f', format, ...words, file]);
    const name = words.indexOf('-x') < 0 ? '' : encodeURIComponent(words[words.indexOf('-x') + 1]);
    return { uri: `nbd+unix:///${name}?socket=${socket}`, socket };
  }

  /** nbdkit with a plugin, and filters before it. */
  async nbdkit(...words: string[]): Promise<Served> {
    const socket = this.freshSocket();
    await this.start(socket, 'nbdkit', ['-f', '-U', socket, ...words]);
    return { uri: `nbd+unix:///?socket=${socket}`, socket };
  }

  /** A server that listens at `socket` when it is ready. */
  async start(socket: string, program: string, words: readonly string[]): Promise<ChildProcess> {
    const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    let complaint = '';
    child.stderr.on('data', (text) => {
      complaint += text;
    });
    this.#children.set(socket, child);
    const deadline = performance.now() + START_LIMIT_MS;
    // Another program's file: there is nothing but to look for it.
    while (!isListening(socket)) {
      if (child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`${program} ${words.join(' ')} does not listen (${child.exitCode}): ${complaint}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return child;
  }

  /** Ends a server of another program as a user does. */
  async end({ socket }: Served): Promise<void> {
    await this.#stop(this.#children.get(socket) as ChildProcess, 'SIGTERM');
  }

  async remove(): Promise<void> {
    await this.workspace.close();
    for (const child of this.#children.values()) await this.#stop(child, 'SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }
}

/** A bench for each test of a `describe`, which needs these programs. */
export function useNbd(...programs: string[]): () => NbdBench {
  let bench: NbdBench | null = null;
  beforeEach(function () {
    for (const program of ['qemu-img', 'qemu-io', ...programs]) requirePeer(this, program);
    bench = new NbdBench();
  });
  afterEach(async () => {
    await bench?.remove();
    bench = null;
  });
  return () => bench as NbdBench;
}

export interface Specimen {
  name: string;
  file: string;
  format: 'raw' | 'qcow2';
}

const LAYOUT = ['write -P 17 0 192k', 'write -P 18 1M 1000k', 'write -z 2M 512k', 'write -P 19 7000k 100k'];

async function qemuIo(file: string, format: string, commands: readonly string[]): Promise<void> {
  await must('qemu-io', ['-f', format, '-d', 'unmap', file, ...commands.flatMap((command) => ['-c', command])]);
}

/** Images of 8 MiB with data, zeroes and holes: raw, qcow2, and an overlay whose data are in three files. */
export async function specimens(bench: NbdBench): Promise<Specimen[]> {
  const make = async (
    name: string,
    format: 'raw' | 'qcow2',
    commands: readonly string[],
    words: readonly string[] = [],
  ) => {
    const file = bench.path(name);
    qemuImg('create', '-q', '-f', format, ...words, file, ...(words.includes('-b') ? [] : [String(8 * MIB)]));
    await qemuIo(file, format, commands);
    return { name, file, format };
  };
  const raw = await make('disk.raw', 'raw', LAYOUT);
  const qcow2 = await make('disk.qcow2', 'qcow2', [...LAYOUT, 'discard 1M 64k']);
  const small = await make('small.qcow2', 'qcow2', LAYOUT, ['-o', 'cluster_size=4k,extended_l2=off']);
  const onTop = (base: string) => ['-b', base, '-F', 'qcow2'];
  await make('middle.qcow2', 'qcow2', ['write -P 33 128k 128k', 'write -z 1M 128k'], onTop('disk.qcow2'));
  const top = await make('top.qcow2', 'qcow2', ['write -P 34 192k 32k', 'write -P 35 4M 1M'], onTop('middle.qcow2'));
  return [raw, qcow2, small, top];
}
