// The same image through us and through QEMU's tools: what one writes, the other reads, and qemu-img check finds no fault.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { contentOf, createAt, fresh, makeFixture, openAt, PATH } from './bench.js';

const MIB = 1 << 20;

interface Shape {
  cluster: number;
  compat: '0.10' | '1.1';
  bits: number;
  compression: 'zlib' | 'zstd';
}

function shapes(): Shape[] {
  const all: Shape[] = [];
  const widths = [16, 1, 2, 4, 8, 32, 64];
  for (let power = 9, i = 0; power <= 21; power++, i++) {
    all.push({ cluster: 2 ** power, compat: '0.10', bits: 16, compression: 'zlib' });
    all.push({ cluster: 2 ** power, compat: '1.1', bits: widths[i % 7], compression: i % 2 === 0 ? 'zlib' : 'zstd' });
  }
  return all;
}

/** Writes that cross clusters and L2 tables; the same for qemu-io and for us. */
const WRITES: [number, number, number][] = [
  [0, 512, 0x11],
  [100 * 1024, 70 * 1024, 0x22],
  [3 * MIB - 1024, 2 * MIB + 1536, 0x33],
  [120 * 1024, 512, 0x44],
  [8 * MIB - 512, 512, 0x55],
];
const SIZE = 8 * MIB;

function expected(): Buffer {
  const content = Buffer.alloc(SIZE);
  for (const [offset, length, byte] of WRITES) content.fill(byte, offset, offset + length);
  content.fill(0, 4 * MIB, 4 * MIB + 300 * 1024);
  return content;
}

describe('qcow2 and QEMU', function () {
  this.timeout(120_000);
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-qcow2-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const { cluster, compat, bits, compression } of shapes()) {
    const name = `${cluster}-byte clusters, compat ${compat}, ${bits}-bit refcounts, ${compression}`;
    it(`QEMU reads what we write: ${name}`, async () => {
      const { graph, host, node } = await fresh({
        size: SIZE,
        version: compat === '1.1' ? 'v3' : 'v2',
        'cluster-size': cluster,
        'refcount-bits': bits,
        'compression-type': compression,
      });
      for (const [offset, length, byte] of WRITES) await node.write(offset, new Uint8Array(length).fill(byte));
      await node.writeZeroes(4 * MIB, 300 * 1024, { mayUnmap: true });
      const again = new Uint8Array(2 * MIB).fill(0x66);
      await node.write(6 * MIB - ((6 * MIB) % cluster), again.subarray(0, cluster), { compressed: true });
      await graph.closeAll();
      const path = join(folder, 'ours.qcow2');
      const raw = join(folder, 'ours.raw');
      writeFileSync(path, host.readFile(PATH));
      execFileSync('qemu-img', ['check', '-q', path]);
      execFileSync('qemu-img', ['convert', '-O', 'raw', path, raw]);
      const content = expected();
      content.fill(0x66, 6 * MIB - ((6 * MIB) % cluster), Math.min(SIZE, 6 * MIB + cluster));
      expect(readFileSync(raw).equals(content)).to.equal(true);
    });

    it(`we read and change what QEMU wrote: ${name}`, async () => {
      const path = join(folder, 'theirs.qcow2');
      const options = `compat=${compat},cluster_size=${cluster},refcount_bits=${bits},compression_type=${compression}`;
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', options, path, String(SIZE)]);
      const words = WRITES.flatMap(([offset, length, byte]) => ['-c', `write -P ${byte} ${offset} ${length}`]);
      execFileSync('qemu-io', [
        '-c',
        `write -c -P 0x66 ${6 * MIB} ${cluster}`,
        ...words,
        '-c',
        `write -z -u ${4 * MIB} 300k`,
        path,
      ]);
      const content = expected().fill(0x66, 6 * MIB, Math.min(SIZE - 512, 6 * MIB + cluster));
      const fixture = makeFixture();
      fixture.host.writeFile(PATH, readFileSync(path));
      const node = await openAt(fixture);
      expect(Buffer.from(await contentOf(node)).equals(content)).to.equal(true);
      await node.write(6 * MIB + 100, new Uint8Array(300).fill(0x77));
      content.fill(0x77, 6 * MIB + 100, 6 * MIB + 400);
      await node.discard(0, 2 * MIB);
      content.fill(0, 0, 2 * MIB);
      await node.write(MIB + 5, new Uint8Array(77).fill(0x12));
      content.fill(0x12, MIB + 5, MIB + 82);
      await fixture.graph.closeAll();
      const raw = join(folder, 'theirs.raw');
      writeFileSync(path, fixture.host.readFile(PATH));
      execFileSync('qemu-img', ['check', '-q', path]);
      execFileSync('qemu-img', ['convert', '-O', 'raw', path, raw]);
      expect(readFileSync(raw).equals(content)).to.equal(true);
    });
  }

  it('reads what qemu-img convert -c made, in both codecs', async () => {
    const raw = join(folder, 'text.raw');
    const content = Buffer.alloc(2 * MIB, 'all work and no play makes Jack a dull boy. ');
    writeFileSync(raw, content);
    for (const codec of ['zlib', 'zstd']) {
      const path = join(folder, `${codec}.qcow2`);
      execFileSync('qemu-img', ['convert', '-c', '-O', 'qcow2', '-o', `compression_type=${codec}`, raw, path]);
      const fixture = makeFixture();
      fixture.host.writeFile(PATH, readFileSync(path));
      const node = await openAt(fixture, { readOnly: true });
      expect(Buffer.from(await contentOf(node)).equals(content), codec).to.equal(true);
      await fixture.graph.closeAll();
    }
  });

  it('reads over backing files that are shorter and longer', async () => {
    for (const size of [MIB + 512, 3 * MIB]) {
      const fixture = makeFixture();
      const base = new Uint8Array(size).fill(0x42);
      fixture.host.writeFile('/base.raw', base);
      await createAt(fixture, { size: 2 * MIB, 'backing-file': '/base.raw', 'backing-fmt': 'raw' });
      const node = await openAt(fixture);
      await node.write(MIB, new Uint8Array([1]));
      const content = Buffer.alloc(2 * MIB);
      content.fill(0x42, 0, Math.min(size, 2 * MIB));
      content[MIB] = 1;
      expect(Buffer.from(await contentOf(node)).equals(content)).to.equal(true);
      await fixture.graph.closeAll();
    }
  });

  it('sees a leak of ours where there is one (the check is no rubber stamp)', async () => {
    const { graph, host, node } = await fresh({ size: SIZE });
    await node.write(0, new Uint8Array(65536).fill(1));
    await graph.closeAll();
    const path = join(folder, 'leak.qcow2');
    const image = host.readFile(PATH);
    image[2 * 65536 + 2 * 3 + 1] = 2;
    writeFileSync(path, image);
    expect(spawnSync('qemu-img', ['check', '-q', path]).status).to.equal(3);
  });
});
