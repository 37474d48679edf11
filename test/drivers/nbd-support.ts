// What the tests of the nbd driver share: a folder, servers in it, and nodes on a host of the test's own.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { type OpenOptions, openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { NbdNode } from '../../src/drivers/protocols/nbd/driver.js';
import type { Clock, Host, OpenFileOptions } from '../../src/host/host.js';
import { openRealHost, type RealHost } from '../../src/host/real/index.js';
import type { BlockdevOptions } from '../../src/schema/generated/types.js';
import { type FakeExport, FakeNbd, type FakePeer } from '../support/fake-nbd.js';

const START_LIMIT_MS = 10_000;

/** Everything that a test has made goes away with `close`. */
export class NbdLab {
  readonly folder = mkdtempSync(join(tmpdir(), 'diskwright-nbd-'));
  readonly real: RealHost;
  readonly host: Host;
  readonly graph: Graph;
  readonly #children: ChildProcess[] = [];
  readonly #fakes: FakeNbd[] = [];
  #sockets = 0;

  /** With a clock of the test's own, time stands still until the test moves it. */
  constructor(clock?: Clock) {
    registerDrivers();
    this.real = openRealHost();
    const { memory, net, codecs } = this.real;
    const { real } = this;
    this.host =
      clock === undefined
        ? this.real
        : ({
            engine: real.engine,
            clock,
            memory,
            net,
            codecs,
            random: () => real.random(),
            open: (path: string, options: OpenFileOptions) => real.open(path, options),
            stat: (path: string) => real.stat(path),
            realPath: (path: string) => real.realPath(path),
          } as Partial<Host> as Host);
    this.graph = new Graph(this.host);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  freshSocket(): string {
    return this.path(`socket${this.#sockets++}`);
  }

  /** Starts `qemu-nbd` on a socket, and waits until it takes connections. */
  qemuNbd(socket: string, ...args: string[]): Promise<ChildProcess> {
    return this.#start('qemu-nbd', ['-t', '-k', socket, ...args], socket);
  }

  nbdkit(socket: string, ...args: string[]): Promise<ChildProcess> {
    return this.#start('nbdkit', ['-f', '-U', socket, ...args], socket);
  }

  async fake(script: (peer: FakePeer, index: number) => Promise<void>, socket = this.freshSocket()): Promise<FakeNbd> {
    const fake = await FakeNbd.listen(socket, script);
    this.#fakes.push(fake);
    return fake;
  }

  /** A fake server that goes through the handshake of `offer`, then does as `script` says. */
  afterHandshake(offer: FakeExport, script: (peer: FakePeer) => Promise<void>): Promise<FakeNbd> {
    return this.fake(async (peer) => {
      await peer.negotiate(offer);
      await script(peer);
    });
  }

  open(image: string | BlockdevOptions, options: OpenOptions = {}): Promise<BlockNode> {
    return openNode(this.graph, image, { discard: 'unmap', ...options });
  }

  /** The export behind a UNIX socket, without a format. */
  async openNbd(
    path: string,
    own: Partial<Extract<BlockdevOptions, { driver: 'nbd' }>> = {},
    options: OpenOptions = {},
  ): Promise<NbdNode> {
    const node = await this.open({ driver: 'nbd', server: { type: 'unix', path }, ...own }, options);
    if (!(node instanceof NbdNode)) throw new Error('no nbd node');
    return node;
  }

  async end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await gone;
  }

  async close(): Promise<void> {
    try {
      await this.graph.closeAll().catch(() => undefined);
      await this.real.close();
    } finally {
      for (const child of this.#children) await this.end(child);
      for (const fake of this.#fakes) await fake.close();
      rmSync(this.folder, { recursive: true, force: true });
    }
  }

  async #start(program: string, args: string[], socket: string): Promise<ChildProcess> {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    this.#children.push(child);
    const deadline = Date.now() + START_LIMIT_MS;
    while (!(await accepts(socket))) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${program} does not listen: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return child;
  }
}

function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
