// raw on a simulated disk: the window, and the first sector of an image whose format was guessed.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { openNode } from '../../src/block/open.js';
import type { BlockdevOptions } from '../../src/schema/generated/types.js';
import { failureOf, makeBench, pattern, used } from './support.js';

const FILE = { driver: 'file', filename: '/a' } as const;
const VHDX = new TextEncoder().encode('vhdxfile');

function benchWith(content: Uint8Array) {
  const bench = makeBench();
  bench.host.writeFile('/a', content);
  return bench;
}

describe('raw driver', () => {
  it('is the file itself without options', async () => {
    const { graph, host } = benchWith(pattern(4096));
    const node = await used(openNode(graph, '/a', { format: 'raw' }));
    expect(node).to.include({ length: 4096, filename: '/a', driver: 'raw' });
    await node.write(100, pattern(50, 3));
    expect(host.readFile('/a', 100, 50)).to.deep.equal(pattern(50, 3));
  });

  it('shows a window of the file', async () => {
    const { graph, host } = benchWith(pattern(4096));
    const node = await used(openNode(graph, { driver: 'raw', offset: 1000, size: 1024, file: FILE }));
    const buffer = new Uint8Array(1024);
    await node.read(0, buffer);
    expect(buffer).to.deep.equal(pattern(4096).subarray(1000, 2024));
    await node.writeZeroes(0, 1024);
    expect(host.readFile('/a')).to.deep.equal(pattern(4096).fill(0, 1000, 2024));
    expect((await failureOf(node.read(1000, new Uint8Array(25)))).code).to.equal('out-of-bounds');
  });

  it('says what makes it what it is in its name', async () => {
    const { graph } = benchWith(pattern(4096));
    const options = { driver: 'raw', offset: 512, size: 1024, 'read-only': true, file: FILE } as const;
    const node = await openNode(graph, options);
    expect(node.filename).to.equal(
      'json:{"offset": 512, "driver": "raw", "size": 1024, "file": {"driver": "file", "filename": "/a"}}',
    );
    const again = await openNode(graph, node.filename, { readOnly: true });
    expect(again).to.include({ length: 1024, filename: node.filename });
  });

  it('gives offsets in the file', async () => {
    const { graph } = benchWith(pattern(4096));
    const node = await openNode(graph, { driver: 'raw', offset: 512, file: FILE });
    expect(await node.blockStatus(0, 512)).to.include({
      offset: 512,
      data: true,
      node: node.children.get('file')!.node,
    });
  });

  it('resizes the file behind the offset', async () => {
    const { graph, host } = benchWith(pattern(4096));
    const node = await used(openNode(graph, { driver: 'raw', offset: 512, file: FILE }));
    await node.truncate(8192);
    expect(host.fileSize('/a')).to.equal(8704);
  });

  it('is made with the size that was asked for, over what was there', async () => {
    const { graph, host } = benchWith(pattern(4096));
    await createImage(graph, '/a', { driver: 'raw', size: 1024 });
    expect(host.readFile('/a')).to.deep.equal(new Uint8Array(1024));
    expect(graph.nodes.size).to.equal(0);
  });

  const refused: [Partial<BlockdevOptions>, string][] = [
    [{ offset: 5000 } as object, 'Offset (5000) cannot be greater than size of the containing file (4096)'],
    [{ size: 4608 } as object, 'The sum of offset (0) and size (4608) has to be smaller or equal to the actual size'],
    [{ offset: 512, size: 4096 } as object, 'The sum of offset (512) and size (4096) has to be smaller or equal'],
    [{ size: 100 } as object, 'Specified size is not multiple of 512'],
  ];
  for (const [options, message] of refused) {
    it(`refuses ${JSON.stringify(options)}`, async () => {
      const { graph } = benchWith(pattern(4096));
      const error = await failureOf(openNode(graph, { driver: 'raw', file: FILE, ...options } as BlockdevOptions));
      expect(error.code).to.equal('invalid-argument');
      expect(error.message).to.contain(message);
      expect(graph.nodes.size).to.equal(0);
    });
  }

  it('refuses to resize a window of a fixed size, and to write compressed', async () => {
    const { graph } = benchWith(pattern(4096));
    const node = await used(openNode(graph, { driver: 'raw', size: 512, file: FILE }));
    expect((await failureOf(node.truncate(1024))).message).to.contain('Cannot resize fixed-size raw disks');
    expect((await failureOf(node.write(0, pattern(512), { compressed: true }))).code).to.equal('unsupported');
  });
});

describe('raw driver: an image whose format was guessed', () => {
  it('warns when it can be written', async () => {
    const { graph, warnings } = benchWith(pattern(4096));
    await openNode(graph, '/a', { readOnly: true });
    expect(warnings).to.deep.equal([]);
    await openNode(graph, '/a');
    expect(warnings.join()).to.contain("Image format was not specified for '/a' and probing guessed raw.");
  });

  it('takes ordinary writes to the first sector', async () => {
    const { graph, host } = benchWith(pattern(4096));
    const node = await used(openNode(graph, '/a'));
    await node.write(0, pattern(2048, 9));
    await node.write(510, pattern(4, 2));
    await node.writeZeroes(0, 600);
    expect(host.readFile('/a', 600, 1448)).to.deep.equal(pattern(2048, 9).subarray(600));
  });

  it("refuses another format's header, whole or in a longer write", async () => {
    const { graph, host } = benchWith(pattern(4096));
    const node = await used(openNode(graph, '/a'));
    for (const length of [8, 100, 512, 4096]) {
      const data = pattern(length);
      data.set(VHDX);
      expect((await failureOf(node.write(0, data))).code).to.equal('permission');
    }
    expect(host.readFile('/a')).to.deep.equal(pattern(4096));
  });

  it('refuses the write that completes a header, also of two at once', async () => {
    const { graph } = benchWith(new Uint8Array(4096));
    const node = await used(openNode(graph, '/a'));
    const parts = [node.write(0, VHDX.subarray(0, 2)), node.write(2, VHDX.subarray(2))];
    const outcomes = (await Promise.allSettled(parts)).map((outcome) => outcome.status);
    expect(outcomes).to.deep.equal(['fulfilled', 'rejected']);
  });

  it('lets it through where the format was named, and where it is not at the start', async () => {
    const { graph } = benchWith(new Uint8Array(4096));
    await (await used(openNode(graph, '/a'))).write(512, VHDX);
    await (await used(openNode(graph, '/a', { format: 'raw' }))).write(0, VHDX);
  });
});

describe('null-co driver', () => {
  it('has a size, takes writes and reads zeroes if asked to', async () => {
    const { graph } = makeBench();
    const node = await openNode(graph, { driver: 'null-co', size: 4096, 'read-zeroes': true });
    const buffer = pattern(4096);
    await node.write(0, buffer);
    await node.read(0, buffer);
    expect(buffer).to.deep.equal(new Uint8Array(4096));
    expect(await node.blockStatus(0, 4096)).to.include({ length: 4096, zero: true });
  });

  it('is 1 GiB and reads as zeroes, never as what the buffer held', async () => {
    const { graph } = makeBench();
    const node = await openNode(graph, 'null-co://', { format: 'null-co' });
    expect(node).to.include({ length: 2 ** 30, filename: 'null-co://' });
    const buffer = pattern(512);
    await node.read(0, buffer);
    expect(buffer.every((byte) => byte === 0)).to.equal(true);
    expect((await failureOf(node.read(2 ** 30, buffer))).code).to.equal('out-of-bounds');
  });

  it('has one name only, and another driver of its kind has its own', async () => {
    const { graph } = makeBench();
    expect(await openNode(graph, 'null-aio://')).to.include({ length: 2 ** 30, filename: 'null-aio://' });
    for (const driver of ['null-co', 'null-aio']) {
      const { message } = await failureOf(openNode(graph, `${driver}://x`));
      expect(message).to.contain(`The only allowed filename for this driver is '${driver}://'`);
    }
  });

  it('takes its time', async () => {
    const { graph, host } = makeBench();
    const node = await openNode(graph, { driver: 'null-co', 'latency-ns': 5_000_000 });
    const before = host.clock.now();
    await node.read(0, new Uint8Array(512));
    expect(host.clock.now() - before).to.equal(5);
  });
});
