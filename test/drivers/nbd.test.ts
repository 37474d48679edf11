// The nbd driver against real servers: what is written is what is read, at every place and length, with whatever the server can do.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Random } from '../../src/host/sim/index.js';
import { run } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { NbdLab } from './nbd-support.js';
import { failureOf, pattern } from './support.js';

const SIZE = 1 << 20;

interface ServerKind {
  name: string;
  program: 'qemu-nbd' | 'nbdkit';
  size?: number;
  args: (image: string) => string[];
}

const SERVERS: ServerKind[] = [
  { name: 'qemu-nbd over raw', program: 'qemu-nbd', args: (image) => ['-f', 'raw', '--discard=unmap', image] },
  { name: 'nbdkit', program: 'nbdkit', args: (image) => ['file', image] },
  { name: 'nbdkit, no structured replies', program: 'nbdkit', args: (image) => ['--no-sr', 'file', image] },
  {
    name: 'nbdkit, newstyle that is not fixed',
    program: 'nbdkit',
    args: (image) => ['--mask-handshake=0', 'file', image],
  },
  { name: 'nbdkit, no zeroes or trim', program: 'nbdkit', args: (image) => ['--filter=nozero', 'file', image] },
  {
    name: 'nbdkit in blocks of 512 and at most 8192',
    program: 'nbdkit',
    args: (image) => [
      '--filter=blocksize-policy',
      'file',
      image,
      'blocksize-error-policy=error',
      'blocksize-minimum=512',
      'blocksize-preferred=4096',
      'blocksize-maximum=8192',
    ],
  },
  {
    name: 'nbdkit in blocks of 65536',
    program: 'nbdkit',
    args: (image) => [
      '--filter=blocksize-policy',
      'file',
      image,
      'blocksize-error-policy=error',
      'blocksize-minimum=65536',
      'blocksize-preferred=65536',
      'blocksize-maximum=131072',
    ],
  },
  { name: 'nbdkit with an odd size', program: 'nbdkit', size: 100_001, args: (image) => ['file', image] },
];

for (const { name, program, size = SIZE, args } of SERVERS) {
  describe(`nbd: ${name}`, () => {
    let lab: NbdLab;
    let image: string;

    beforeEach(async function () {
      requirePeer(this, program);
      lab = new NbdLab();
      image = lab.path('image');
      writeFileSync(image, pattern(size));
      await (program === 'qemu-nbd'
        ? lab.qemuNbd(lab.path('s'), ...args(image))
        : lab.nbdkit(lab.path('s'), ...args(image)));
    });
    afterEach(() => lab?.close());

    for (const seed of [1, 2]) {
      it(`does what a file would (seed ${seed})`, async () => {
        const node = await lab.openNbd(lab.path('s'));
        expect(node.length).to.equal(Math.ceil(size / 512) * 512);
        const model = Buffer.alloc(node.length);
        model.set(pattern(size));
        const random = new Random(seed, 1);
        const below = (limit: number): number => random.next() % limit;
        for (let step = 0; step < 150; step++) {
          const offset = below(size);
          const length = 1 + below(Math.min(size - offset, step % 10 === 0 ? size : 20_000));
          switch (below(5)) {
            case 0: {
              const data = pattern(length, step);
              await node.write(offset, data, below(2) === 0 ? { fua: true } : undefined);
              model.set(data, offset);
              break;
            }
            case 1:
              await node.writeZeroes(offset, length, { mayUnmap: below(2) === 0, fua: below(2) === 0 });
              model.fill(0, offset, offset + length);
              break;
            case 2:
              await node.flush();
              break;
            case 3: {
              const status = await node.blockStatus(offset, length);
              expect(status.length).to.be.within(1, length);
              if (status.zero) {
                expect(model.subarray(offset, offset + status.length).every((byte) => byte === 0)).to.equal(true);
              }
              break;
            }
            default: {
              const host = below(2) === 0;
              const buffer = host ? lab.host.memory.allocate(length) : new Uint8Array(length);
              await node.read(offset, buffer);
              const right = Buffer.compare(buffer, model.subarray(offset, offset + length)) === 0;
              expect(right, `step ${step}: ${length} bytes at ${offset}`).to.equal(true);
              if (host) lab.host.memory.free(buffer);
            }
          }
        }
        const all = new Uint8Array(node.length);
        await node.read(0, all);
        expect(Buffer.compare(all, model)).to.equal(0);
        await lab.graph.release(node);
        expect(readFileSync(image).equals(model.subarray(0, size))).to.equal(true);
      });
    }

    it('keeps requests that run side by side apart', async () => {
      const node = await lab.openNbd(lab.path('s'));
      const model = Buffer.alloc(node.length);
      model.set(pattern(size));
      const step = 777;
      const writes: Promise<void>[] = [];
      for (let at = 0; at + step <= size; at += step) {
        const data = pattern(step, at);
        model.set(data, at);
        writes.push(node.write(at, data));
      }
      await Promise.all(writes);
      const parts = Array.from({ length: Math.floor(size / step) }, () => new Uint8Array(step));
      await Promise.all(parts.map((part, i) => node.read(i * step, part)));
      expect(Buffer.compare(Buffer.concat(parts), model.subarray(0, parts.length * step))).to.equal(0);
    });
  });
}

describe('nbd: with qemu-nbd', () => {
  let lab: NbdLab;
  beforeEach(function () {
    requirePeer(this, 'qemu-nbd');
    requirePeer(this, 'qemu-img');
    lab = new NbdLab();
  });
  afterEach(() => lab?.close());

  async function serveQcow2(...args: string[]): Promise<string> {
    const image = lab.path('a.qcow2');
    run('qemu-img', ['create', '-q', '-f', 'qcow2', image, '4M'], lab.folder);
    run('qemu-io', ['-c', 'write 0 64k', image], lab.folder);
    run('qemu-img', ['bitmap', '--add', '-g', '64k', image, 'bm'], lab.folder);
    run('qemu-io', ['-c', 'write 1M 64k', image], lab.folder);
    await lab.qemuNbd(lab.path('s'), '-f', 'qcow2', ...args, image);
    return lab.path('s');
  }

  async function runs(path: string, own: object = {}): Promise<[number, number, boolean, boolean, boolean][]> {
    const node = await lab.openNbd(path, own, { readOnly: true });
    const found: [number, number, boolean, boolean, boolean][] = [];
    for (let at = 0; at < node.length; ) {
      const { length, allocated, data, zero } = await node.blockStatus(at, node.length - at);
      found.push([at, length, allocated, data, zero]);
      at += length;
    }
    // It takes one client at a time.
    await lab.graph.release(node);
    return found;
  }

  it('block status is what qemu-img map says', async () => {
    const path = await serveQcow2('-r', '-B', 'bm', '-A');
    for (const context of [undefined, 'qemu:dirty-bitmap:bm']) {
      const own = context === undefined ? {} : { 'x-dirty-bitmap': context };
      const options = `driver=nbd,server.type=unix,server.path=${path}${context ? `,x-dirty-bitmap=${context}` : ''}`;
      const { stdout } = run('qemu-img', ['map', '--output=json', '--image-opts', options], lab.folder);
      const theirs = JSON.parse(stdout) as {
        start: number;
        length: number;
        present: boolean;
        data: boolean;
        zero: boolean;
      }[];
      expect(await runs(path, own)).to.deep.equal(theirs.map((e) => [e.start, e.length, e.present, e.data, e.zero]));
    }
  });

  it('one question tells of all data, until something is written; what may be skipped is asked anew', async () => {
    const path = await serveQcow2();
    const node = await lab.openNbd(path);
    expect(node.blockStatusSync(0, node.length)).to.equal(null);
    expect((await node.blockStatus(0, node.length)).length).to.equal(65536);
    expect(node.blockStatusSync(65536, node.length - 65536)).to.equal(null);
    expect(node.blockStatusSync(1 << 20, 512)).to.include({ length: 512, data: true });
    await node.write(65536, new Uint8Array(512).fill(1));
    expect(node.blockStatusSync(1 << 20, 512)).to.equal(null);
  });

  it('a context that is not there is refused', async () => {
    const path = await serveQcow2('-r');
    const error = await failureOf(lab.openNbd(path, { 'x-dirty-bitmap': 'qemu:dirty-bitmap:no' }, { readOnly: true }));
    expect(error.message).to.contain("the server has no metadata context 'qemu:dirty-bitmap:no'");
  });

  it('a read-only export is not written', async () => {
    const path = await serveQcow2('-r');
    expect((await failureOf(lab.openNbd(path))).code).to.equal('read-only');
    const node = await lab.openNbd(path, {}, { autoReadOnly: true });
    expect(node.readOnly).to.equal(true);
    expect((await failureOf(node.reopen(false))).code).to.equal('read-only');
  });

  it('an export that is not there says so, as qemu-img does', async () => {
    const path = await serveQcow2('-x', 'there');
    const error = await failureOf(lab.openNbd(path, { export: 'elsewhere' }));
    expect(error.code).to.equal('not-found');
    expect(error.message).to.equal("Requested export not available\nserver reported: export 'elsewhere' not present");
  });

  it('several connections are used where the server allows it', async () => {
    const path = await serveQcow2('-e', '8');
    expect((await lab.openNbd(path)).connections).to.equal(1);
    const node = await lab.openNbd(path, { 'x-multi-conn': 4 });
    expect(node.connections).to.equal(4);
    const data = pattern(1 << 20);
    const writes: Promise<void>[] = [];
    for (let at = 0; at < data.length; at += 4096) writes.push(node.write(at, data.subarray(at, at + 4096)));
    await Promise.all(writes);
    await node.flush();
    const back = new Uint8Array(data.length);
    await node.read(0, back);
    expect(Buffer.compare(back, data)).to.equal(0);
    for (const wrong of [0, 17]) {
      expect((await failureOf(lab.openNbd(path, { 'x-multi-conn': wrong }))).code).to.equal('invalid-argument');
    }
  });

  it('cannot change its size', async () => {
    const node = await lab.openNbd(await serveQcow2());
    expect((await failureOf(node.truncate(node.length + 512))).message).to.contain('Cannot grow NBD nodes');
    expect((await failureOf(node.truncate(512))).message).to.contain('Cannot resize NBD nodes');
  });
});
