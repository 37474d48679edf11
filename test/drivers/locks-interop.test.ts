// Image locks against qemu-io on real files: the same bytes, and each keeps the other out.

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createNode } from '../../src/block/create.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { openRealHost, type RealHost } from '../../src/host/real/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { requirePeer } from '../support/peers.js';
import { failureOf } from './support.js';

const USER = { userName: 'test' };
const OWNER = [Perm.CONSISTENT_READ | Perm.WRITE, PERM_ALL & ~(Perm.WRITE | Perm.RESIZE)] as const;

describe('image locks against qemu-io', () => {
  let folder: string;
  let image: string;
  let host: RealHost;
  let graph: Graph;
  let peers: ChildProcess[];

  before(function () {
    requirePeer(this, 'qemu-io');
    registerDrivers();
  });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-'));
    image = join(folder, 'a.raw');
    writeFileSync(image, new Uint8Array(65536));
    host = openRealHost();
    graph = new Graph(host);
    peers = [];
  });

  afterEach(async () => {
    for (const peer of peers) peer.kill();
    await graph.closeAll();
    await host.close();
    rmSync(folder, { recursive: true });
  });

  /** Starts qemu-io and waits until it has answered a command, hence holds the image. */
  async function hold(...args: string[]): Promise<void> {
    const peer = spawn('qemu-io', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    peers.push(peer);
    peer.stdin!.write('length\n');
    await new Promise<void>((resolve, reject) => {
      peer.once('exit', () => reject(new Error('qemu-io ended')));
      let text = '';
      peer.stdout!.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes('KiB')) resolve();
      });
    });
  }

  /** Byte ranges of the image that are locked, as the kernel lists them. */
  async function locks(): Promise<string[]> {
    const { ino } = await stat(image);
    const lines = (await readFile('/proc/locks', 'utf8')).split('\n').map((line) => line.trim().split(/\s+/));
    const mine = lines.filter((fields) => fields[1] === 'OFDLCK' && fields[5]?.endsWith(`:${ino}`));
    const bytes = mine.flatMap(([, , , kind, , , from, to]) =>
      Array.from({ length: Number(to) - Number(from) + 1 }, (_, index) => `${kind} ${Number(from) + index}`),
    );
    // The kernel's list is not read in one step: while other processes come and go, it may name a lock twice.
    return [...new Set(bytes)].sort();
  }

  const qemuIo = (...args: string[]) => spawnSync('qemu-io', [...args, '-c', 'quit'], { encoding: 'utf8' });

  it('locks the bytes that it locks, of a writer, and of a reader', async () => {
    for (const [perm, flags] of [
      [Perm.CONSISTENT_READ | Perm.WRITE, []],
      [Perm.CONSISTENT_READ, ['-r']],
    ] as const) {
      await hold('-f', 'raw', ...flags, image);
      const theirs = await locks();
      const peer = peers.pop()!;
      peer.removeAllListeners('exit');
      const gone = new Promise((resolve) => peer.once('exit', resolve));
      peer.kill();
      await gone;
      const node = await openNode(graph, image, { format: 'raw' });
      node.attach(USER, 'root', perm, PERM_ALL);
      expect(theirs).to.not.deep.equal([]);
      expect(await locks()).to.deep.equal(theirs);
      await graph.closeAll();
    }
  });

  it('keeps it out', async () => {
    const node = await openNode(graph, image, { format: 'raw' });
    const use = node.attach(USER, 'root', ...OWNER);
    const refused = qemuIo('-f', 'raw', image);
    expect(refused.stderr).to.contain('Failed to get "write" lock');
    expect(qemuIo('-f', 'raw', '-r', image).status).to.equal(0);
    node.detach(use);
    expect(qemuIo('-f', 'raw', image).status).to.equal(0);
  });

  it('is kept from emptying what it writes to, whichever way it would', async () => {
    const content = Buffer.alloc(65536, 0x5a);
    writeFileSync(image, content);
    await hold('-f', 'raw', image);
    const made = createNode(graph, { driver: 'file', filename: image, size: content.length });
    expect(await failureOf(made)).to.include({ code: 'locked', path: image });
    const workspace = new Workspace(host);
    const other = join(folder, 'b.raw');
    writeFileSync(other, new Uint8Array(4096));
    for (const call of [
      workspace.create(image, { driver: 'raw', size: 4096 }),
      workspace.create(image, { driver: 'qcow2', size: 4096 }),
      workspace.convert(other, image, 'raw'),
      workspace.convert(other, image, 'qcow2'),
    ]) {
      expect(await failureOf(call)).to.include({ code: 'locked', path: image });
      expect((await readFile(image)).equals(content)).to.equal(true);
    }
    await workspace.close();
  });

  it('is kept out by it, unless told to share or not to lock', async () => {
    const qcow2 = join(folder, 'a.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', qcow2, '64K']);
    await hold('-f', 'qcow2', qcow2);
    const node = await openNode(graph, qcow2, { format: 'raw' });
    const error = await failureOf((async () => node.attach(USER, 'root', ...OWNER))());
    expect(error).to.include({ code: 'locked', path: qcow2 });
    const shared = await openNode(graph, qcow2, { format: 'raw', readOnly: true, forceShare: true });
    shared.attach(USER, 'root', Perm.CONSISTENT_READ, PERM_ALL & ~Perm.WRITE);
    const unlocked = { driver: 'file', filename: qcow2, locking: 'off' } as const;
    (await openNode(graph, { driver: 'raw', file: unlocked })).attach(USER, 'root', ...OWNER);
  });
});
