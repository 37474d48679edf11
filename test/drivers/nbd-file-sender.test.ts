// Copies into an export whose source lies in files: pages of the file are sent, without being read, where that is safe; the bytes are the same either way.

import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import type { BlockNode } from '../../src/block/node/node.js';
import { Perm } from '../../src/block/types.js';
import type { HostFile } from '../../src/host/host.js';
import { SocketLink } from '../../src/host/real/link.js';
import type { Chunk } from '../../src/jobs/copy-plan.js';
import { moveChunk, type StepResult } from '../../src/jobs/copy-step.js';
import { SIMPLE_REPLY_MAGIC } from '../../src/wire/nbd/constants.js';
import { ALL_FLAGS, type FakeExport, type FakePeer, serveMemory } from '../support/fake-nbd.js';
import { pagesCanBeHeld } from '../support/held-pages.js';
import { leaveOut } from '../support/needs.js';
import { requirePeer } from '../support/peers.js';
import { NbdLab } from './nbd-support.js';
import { linkTo, pattern } from './support.js';

const MIB = 1 << 20;
const SIZE = 6 * MIB;
const OFFER: FakeExport = { size: SIZE, flags: ALL_FLAGS };

describe('nbd: data that lies in files', () => {
  const source = Buffer.from(pattern(SIZE, 5));
  const { pushFile } = SocketLink.prototype;
  let lab: NbdLab;
  let target: Buffer;
  /** What was sent without being read: bytes. */
  let held: number;

  before(async function () {
    if (!(await pagesCanBeHeld())) leaveOut(this, 'held pages');
  });
  beforeEach(() => {
    lab = new NbdLab();
    target = Buffer.alloc(SIZE, 0x55);
    held = 0;
    writeFileSync(lab.path('source'), source);
    SocketLink.prototype.pushFile = function (this: SocketLink, ...words: Parameters<typeof pushFile>) {
      const pieces = pushFile.apply(this, words);
      if (pieces > 0) held += words[5];
      return pieces;
    };
  });
  afterEach(async () => {
    SocketLink.prototype.pushFile = pushFile;
    await lab.close();
  });

  const open = (readOnly: boolean): Promise<BlockNode> =>
    lab.open({ driver: 'raw', 'read-only': readOnly, file: { driver: 'file', filename: lab.path('source') } });
  const serve = (peer: FakePeer): Promise<void> => serveMemory(peer, OFFER, target);

  /** Moves extents as one chunk of a copy. */
  function move(from: BlockNode, to: BlockNode, extents: [offset: number, length: number][]): Promise<StepResult> {
    const chunk: Chunk = {
      kind: 'data',
      extents: extents.map(([offset, length]) => ({ offset, length })),
      bytes: extents.reduce((sum, [, length]) => sum + length, 0),
    };
    return moveChunk({ source: linkTo(from, Perm.CONSISTENT_READ), target: linkTo(to), zeroStep: 0 }, chunk, () => {});
  }

  function expected(extents: [offset: number, length: number][]): Buffer {
    const content = Buffer.alloc(SIZE, 0x55);
    for (const [offset, length] of extents) source.copy(content, offset, offset, offset + length);
    return content;
  }

  it('is sent from there, whatever its pieces', async () => {
    const fake = await lab.fake(serve);
    const to = await lab.openNbd(fake.path);
    const extents: [number, number][] = [
      [512, MIB],
      [MIB + 4096, 2 * MIB - 512],
      [4 * MIB, 2 * MIB],
    ];
    expect(await move(await open(true), to, extents)).to.deep.include({ error: null });
    expect(target.equals(expected(extents))).to.equal(true);
    expect(held).to.equal(5 * MIB - 512);
    expect(fake.failures).to.deep.equal([]);
  });

  it('is sent through raw with an offset, and among other requests', async () => {
    const fake = await lab.fake(serve);
    const server = { type: 'unix' as const, path: fake.path };
    const to = await lab.open({ driver: 'raw', offset: MIB, size: 5 * MIB, file: { driver: 'nbd', server } });
    const link = linkTo(to);
    const from = await open(true);
    const small = lab.host.memory.allocate(4096);
    small.fill(0x77);
    const writes = Array.from({ length: 200 }, (_, i) => link.write(3 * MIB + 4096 * i, small));
    const moved = await move(from, to, [[0, 2 * MIB]]);
    await Promise.all(writes);
    expect(moved).to.deep.include({ error: null });
    expect(target.subarray(MIB, 3 * MIB).equals(source.subarray(0, 2 * MIB))).to.equal(true);
    expect(target.subarray(4 * MIB, 4 * MIB + 200 * 4096).every((byte) => byte === 0x77)).to.equal(true);
    expect(target.subarray(0, MIB).every((byte) => byte === 0x55)).to.equal(true);
    expect(held).to.equal(2 * MIB);
  });

  it('is read where the link cannot hold it', async () => {
    const fake = await lab.fake(serve);
    const to = await lab.openNbd(fake.path);
    const from = await open(true);
    lab.real.setFaults({ again: 2 });
    const extents: [number, number][] = [[0, 4 * MIB]];
    expect(await move(from, to, extents)).to.deep.include({ error: null });
    expect(target.equals(expected(extents))).to.equal(true);
    expect(held).to.equal(2 * MIB);
  });

  it('is read where the file has become shorter: what is missing is zeroes', async () => {
    const fake = await lab.fake(serve);
    const to = await lab.openNbd(fake.path);
    const from = await open(true);
    truncateSync(lab.path('source'), MIB + 100);
    expect(await move(from, to, [[0, 2 * MIB]])).to.deep.include({ error: null });
    const content = Buffer.alloc(2 * MIB);
    source.copy(content, 0, 0, MIB + 100);
    expect(target.subarray(0, 2 * MIB).equals(content)).to.equal(true);
    expect(held).to.equal(MIB);
  });

  it('is sent again over the next connection', async () => {
    const fake = await lab.fake(async (peer, index) => {
      if (index > 0) return serve(peer);
      await peer.negotiate(OFFER);
      await peer.request();
      await peer.read(1000);
    });
    const to = await lab.openNbd(fake.path, { 'reconnect-delay': 10 });
    const extents: [number, number][] = [[MIB, 4 * MIB]];
    expect(await move(await open(true), to, extents)).to.deep.include({ error: null });
    expect(fake.connections).to.equal(2);
    expect(target.equals(expected(extents))).to.equal(true);
    expect(held).to.be.greaterThan(4 * MIB);
  });

  it('is in use until it is sent, also where the answer comes earlier', async () => {
    let answered: () => void = () => {};
    const early = new Promise<void>((resolve) => {
      answered = resolve;
    });
    const fake = await lab.fake(async (peer) => {
      await peer.negotiate(OFFER);
      const head = await peer.read(28);
      peer.socket.pause();
      peer.write(SIMPLE_REPLY_MAGIC, 28, head.subarray(8, 16));
      answered();
      await peer.read(MIB);
      for (;;) peer.simple(await peer.request());
    });
    const to = await lab.openNbd(fake.path);
    let moved: StepResult | undefined;
    const moving = move(await open(true), to, [[0, MIB]]).then((result) => {
      moved = result;
    });
    await early;
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(moved).to.equal(undefined);
    fake.resume();
    await moving;
    expect(moved?.error).to.include({ code: 'no-space' });
  });

  it('says which piece the server refused', async () => {
    const fake = await lab.fake(async (peer) => {
      await peer.negotiate(OFFER);
      for (;;) {
        const request = await peer.request();
        peer.simple(request, request.offset === 2 * MIB ? 28 : 0);
      }
    });
    const to = await lab.openNbd(fake.path);
    const moved = await move(await open(true), to, [[0, 4 * MIB]]);
    expect(moved).to.include({ isRead: false, at: 2 * MIB });
    expect(moved?.error).to.include({ code: 'no-space', offset: 2 * MIB, length: MIB });
  });

  it('goes by requests where it is stored compressed', async function () {
    requirePeer(this, 'qemu-img');
    const names = [lab.path('source'), lab.path('packed')];
    execFileSync('qemu-img', ['convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', 'cluster_size=2M', ...names]);
    const fake = await lab.fake(serve);
    const to = await lab.openNbd(fake.path);
    const file = { driver: 'file' as const, filename: lab.path('packed') };
    const from = await lab.open({ driver: 'qcow2', 'read-only': true, file });
    expect(await move(from, to, [[0, 4 * MIB]])).to.equal(null);
    expect(held).to.equal(0);
    expect(target.every((byte) => byte === 0x55)).to.equal(true);
  });

  it('goes by requests where somebody may change it, where it is looked through, and where a file is closed', async () => {
    const fake = await lab.fake(serve);
    const to = linkTo(await lab.openNbd(fake.path));
    const data: Chunk = { kind: 'data', extents: [{ offset: 0, length: MIB }], bytes: MIB };
    const written = linkTo(await open(false), Perm.CONSISTENT_READ);
    expect(await moveChunk({ source: written, target: to, zeroStep: 0 }, data, () => {})).to.equal(null);
    written.node.detach(written);
    const read = linkTo(await open(true), Perm.CONSISTENT_READ);
    expect(await moveChunk({ source: read, target: to, zeroStep: 4096 }, data, () => {})).to.equal(null);
    await (read.node.hostFile() as HostFile).close();
    expect(await moveChunk({ source: read, target: to, zeroStep: 0 }, data, () => {})).to.equal(null);
    expect(held).to.equal(0);
    expect(target.every((byte) => byte === 0x55)).to.equal(true);
  });
});
