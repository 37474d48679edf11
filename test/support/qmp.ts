// A storage daemon and one QMP connection to it: qemu-storage-daemon as the reference, or `diskwright daemon`.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';

const QUIT_LIMIT_MS = 10_000;
/** Far more than anything takes that a test waits for. */
const PATIENCE_MS = 15_000;
/** Far more than a command takes: none of those that are sent here waits for anything. Less than a test has. */
const ANSWER_MS = 30_000;
/** The same of the first command, where QEMU's daemon is started again if it does not answer that. */
const FIRST_ANSWER_MS = 8_000;
const STARTS = 3;

export type Json = Record<string, unknown>;

/** Commands are answered in order; events are awaited by name. */
export class StorageDaemon {
  readonly pid: number;
  readonly #process: ChildProcess;
  readonly #socket: Socket;
  readonly #ended: Promise<void>;
  #replies: ((line: Json) => void)[] = [];
  #events: Json[] = [];
  #waiters: (() => void)[] = [];

  private constructor(process: ChildProcess, socket: Socket) {
    this.#process = process;
    this.pid = process.pid as number;
    this.#socket = socket;
    this.#ended = new Promise((resolve) => process.once('exit', () => resolve()));
    const lines = createInterface({ input: socket }).on('line', (line) => this.#receive(JSON.parse(line) as Json));
    // The daemon goes without a word: that is seen where its process is awaited.
    for (const source of [socket, lines]) source.on('error', () => undefined);
  }

  /** Starts a daemon whose monitor listens at `socketPath`. `program` is its command line without options. Default: qemu-storage-daemon. */
  static async start(
    socketPath: string,
    words: readonly string[] = [],
    [program, ...first]: readonly string[] = ['qemu-storage-daemon'],
  ): Promise<StorageDaemon> {
    const command = [program, ...first];
    // Once in some thousand starts, qemu-storage-daemon 7.2 answers nothing at all.
    const starts = program === 'qemu-storage-daemon' ? STARTS : 1;
    for (let left = starts; ; left--) {
      const daemon = await StorageDaemon.#startOnce(socketPath, words, command);
      const answer = daemon.ask({ execute: 'qmp_capabilities' }, left > 1 ? FIRST_ANSWER_MS : ANSWER_MS);
      const failure = await answer.then(
        () => null,
        (error: Error) => error,
      );
      if (failure === null) return daemon;
      daemon.kill();
      await daemon.end();
      if (left === 1) throw failure;
    }
  }

  static async #startOnce(
    socketPath: string,
    words: readonly string[],
    [program, ...first]: readonly string[],
  ): Promise<StorageDaemon> {
    // Of a machine, `--monitor` is something else.
    const machine = program.startsWith('qemu-system');
    const mode = machine ? ['-mon', 'chardev=qmp,mode=control'] : ['--monitor', 'chardev=qmp'];
    const monitor = (server: string) => ['--chardev', `socket,id=qmp,path=${socketPath},${server}`, ...mode];
    const startWith = (more: readonly string[]): ChildProcess =>
      spawn(program, [...first, ...words, ...more], {
        // Names without a folder are of the folder that the test works in.
        cwd: dirname(socketPath),
        stdio: ['ignore', 'ignore', 'inherit'],
      });
    rmSync(socketPath, { force: true });
    if (machine) {
      // It comes to us. Who comes to it before its monitor is up may never be answered, or has its bytes read by two of its threads (qemu 7.2), and nothing says when it is up.
      const server = createServer().listen(socketPath);
      await once(server, 'listening');
      const child = startWith(monitor('server=off'));
      return new StorageDaemon(child, await comer(server, child));
    }
    // The daemon writes its pid file when it is up.
    const pidFile = `${socketPath}.pid`;
    rmSync(pidFile, { force: true });
    const child = startWith([...monitor('server=on,wait=off'), '--pidfile', pidFile]);
    await exists(pidFile, child);
    return new StorageDaemon(child, await connected(socketPath));
  }

  /** The whole answer to a message. Rejects where the daemon has gone, and where it does not answer. */
  async ask(message: Json, patienceMs = ANSWER_MS): Promise<Json> {
    this.#socket.write(`${JSON.stringify(message)}\n`);
    const gone = this.#ended.then(() => {
      throw new Error(`the daemon ended at ${JSON.stringify(message)}`);
    });
    let patience: NodeJS.Timeout | undefined;
    const silent = new Promise<never>((_, reject) => {
      patience = setTimeout(
        () => reject(new Error(`the daemon does not answer ${JSON.stringify(message)}`)),
        patienceMs,
      );
    });
    try {
      return await Promise.race([new Promise<Json>((resolve) => this.#replies.push(resolve)), gone, silent]);
    } finally {
      clearTimeout(patience);
    }
  }

  /** Events that nobody has waited for yet. */
  takeEvents(): Json[] {
    return this.#events.splice(0);
  }

  async execute(name: string, words: Json = {}): Promise<unknown> {
    const reply = await this.ask({ execute: name, arguments: words });
    if ('error' in reply) throw new Error(`${name}: ${JSON.stringify(reply['error'])}`);
    return reply['return'];
  }

  /** The next event of one of these names; its data. */
  async event(...names: string[]): Promise<Json> {
    for (;;) {
      const at = this.#events.findIndex((event) => names.includes(String(event['event'])));
      if (at >= 0) return this.#events.splice(at, 1)[0]['data'] as Json;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** Moves events to `seen`, up to the first of this name with these members. Rejects where the daemon has gone, and where it does not come. */
  async await(name: string, data: Json, seen: Json[]): Promise<void> {
    let over: string | null = null;
    const end = (why: string) => {
      over ??= why;
      for (const wake of this.#waiters.splice(0)) wake();
    };
    void this.#ended.then(() => end('the daemon ended before'));
    const patience = setTimeout(end, PATIENCE_MS, 'the daemon does not tell of');
    try {
      for (;;) {
        const event = this.#events.shift();
        if (event === undefined) {
          if (over !== null) throw new Error(`${over} ${name} ${JSON.stringify(data)}`);
          await new Promise<void>((resolve) => this.#waiters.push(resolve));
          continue;
        }
        seen.push(event);
        const found = (event['data'] ?? {}) as Json;
        if (event['event'] === name && Object.entries(data).every(([key, value]) => found[key] === value)) return;
      }
    } finally {
      clearTimeout(patience);
    }
  }

  /** Runs a block job to its end, completing it when it becomes ready. Throws what the job failed with. */
  async job(command: string, words: Json): Promise<void> {
    const id = String(words['job-id']);
    await this.execute(command, words);
    for (;;) {
      const event = await this.event('JOB_STATUS_CHANGE', 'BLOCK_JOB_COMPLETED');
      if (event['status'] === 'ready') await this.execute('block-job-complete', { device: id });
      if (event['device'] !== id) continue;
      if (event['error'] !== undefined) throw new Error(`${command}: ${event['error']}`);
      break;
    }
    for (;;) if ((await this.event('JOB_STATUS_CHANGE'))['status'] === 'null') return;
  }

  async quit(): Promise<void> {
    // The answer may be lost with the connection: what counts is that the process ends.
    this.#socket.write('{"execute":"quit"}\n');
    const patience = setTimeout(() => this.#process.kill('SIGKILL'), QUIT_LIMIT_MS);
    await this.#ended;
    clearTimeout(patience);
    this.#socket.destroy();
  }

  /** Exit code, or the signal that ended it. */
  async end(): Promise<number | NodeJS.Signals | null> {
    await this.#ended;
    this.#socket.destroy();
    return this.#process.exitCode ?? this.#process.signalCode;
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  kill(): void {
    this.#socket.destroy();
    this.#process.kill('SIGKILL');
  }

  #receive(message: Json): void {
    if ('return' in message || 'error' in message) this.#replies.shift()?.(message);
    else if ('event' in message) this.#events.push(message);
    for (const wake of this.#waiters.splice(0)) wake();
  }
}

/** The connection that `child` makes to `server`, which takes no other. */
async function comer(server: Server, child: ChildProcess): Promise<Socket> {
  try {
    return await new Promise((resolve, reject) => {
      server.once('connection', resolve);
      child.once('exit', (code) => reject(new Error(`the machine ended with ${code} before its monitor was up`)));
    });
  } finally {
    server.close();
  }
}

/** Another program's file: there is nothing but to look for it. */
async function exists(path: string, child: ChildProcess): Promise<void> {
  while (!existsSync(path)) {
    if (child.exitCode !== null) throw new Error(`qemu-storage-daemon ended with ${child.exitCode}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A connection to a socket whose file is there already. */
export async function connected(path: string): Promise<Socket> {
  for (;;) {
    try {
      return await new Promise((resolve, reject) => {
        const socket = connect(path, () => resolve(socket));
        socket.once('error', reject);
      });
    } catch (error) {
      // A socket file is there before anybody listens.
      if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED') throw error;
    }
  }
}
