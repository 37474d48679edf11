// The file driver on a simulated disk.

import { expect } from 'chai';
import { createNode } from '../../src/block/create.js';
import { openNode } from '../../src/block/open.js';
import type { BlockdevOptions } from '../../src/schema/generated/types.js';
import { type Bench, failureOf, makeBench, pattern, used } from './support.js';

const open = ({ graph }: Bench, options: Partial<BlockdevOptions> = {}) =>
  openNode(graph, { driver: 'file', filename: '/a', ...options } as BlockdevOptions);

const KIB = 1024;

describe('file driver', () => {
  it('reads and writes the bytes of the file', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(4 * KIB));
    const node = await open(bench);
    await node.write(700, pattern(100, 5));
    const buffer = new Uint8Array(4 * KIB);
    await node.read(0, buffer);
    const expected = pattern(4 * KIB);
    expected.set(pattern(100, 5), 700);
    expect(buffer).to.deep.equal(expected);
  });

  it('rounds a size that is no multiple of 512 up, and reads zeroes there', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(1000));
    const node = await open(bench);
    expect(node.length).to.equal(1024);
    const buffer = new Uint8Array(34).fill(1);
    await node.read(990, buffer);
    expect(buffer).to.deep.equal(Uint8Array.from([...pattern(1000).subarray(990), ...new Uint8Array(24)]));
  });

  it('makes the file whole sectors long where its last sector is written', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(1000));
    const node = await open(bench);
    await node.write(900, pattern(124));
    expect(bench.host.fileSize('/a')).to.equal(1024);
    expect(await node.blockStatus(512, 512)).to.include({ length: 512, data: true });
  });

  it('tells data from holes, and coalesces', async () => {
    const bench = makeBench();
    bench.host.resizeFile('/a', 1024 * KIB);
    bench.host.patchFile('/a', 64 * KIB, pattern(128 * KIB));
    const node = await open(bench);
    expect(await node.blockStatus(0, node.length)).to.include({ length: 64 * KIB, zero: true, data: false, offset: 0 });
    expect(await node.blockStatus(96 * KIB, node.length - 96 * KIB)).to.include({
      length: 96 * KIB,
      zero: false,
      data: true,
      offset: 96 * KIB,
      allocated: true,
    });
  });

  it('says a hole at the end of an odd file reaches to the end of the node', async () => {
    const bench = makeBench();
    bench.host.resizeFile('/a', 100_000);
    const node = await open(bench);
    expect(await node.blockStatus(0, node.length)).to.include({ length: node.length, zero: true });
  });

  for (const unsupported of [[], ['punchHole'], ['zeroRange'], ['punchHole', 'zeroRange']] as const) {
    for (const mayUnmap of [false, true]) {
      it(`writes zeroes without [${unsupported}], mayUnmap ${mayUnmap}`, async () => {
        const bench = makeBench({ unsupported });
        bench.host.writeFile('/a', pattern(64 * KIB));
        const node = await open(bench);
        await node.writeZeroes(1000, 40_000, { mayUnmap });
        const expected = pattern(64 * KIB).fill(0, 1000, 41_000);
        expect(bench.host.readFile('/a')).to.deep.equal(expected);
      });
    }
  }

  it('refuses to write zeroes out where that was ruled out', async () => {
    const bench = makeBench({ unsupported: ['punchHole', 'zeroRange'] });
    bench.host.writeFile('/a', pattern(4 * KIB));
    const node = await open(bench);
    expect((await failureOf(node.writeZeroes(0, 4 * KIB, { noFallback: true }))).code).to.equal('unsupported');
    expect(bench.host.readFile('/a')).to.deep.equal(pattern(4 * KIB));
  });

  it('does not discard unless told to', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(64 * KIB));
    await (await open(bench)).discard(0, 64 * KIB);
    expect(bench.host.readFile('/a')).to.deep.equal(pattern(64 * KIB));
    const other = await open(bench, { discard: 'unmap', 'node-name': 'other' });
    await other.discard(0, 64 * KIB);
    expect(await other.blockStatus(0, 64 * KIB)).to.include({ zero: true, length: 64 * KIB });
  });

  it('takes a discard that the file system cannot do', async () => {
    const bench = makeBench({ unsupported: ['discard'] });
    bench.host.writeFile('/a', pattern(4 * KIB));
    const node = await open(bench, { discard: 'unmap' });
    await node.discard(0, 4 * KIB);
    await node.discard(0, 4 * KIB);
    expect(bench.host.count('discard')).to.equal(1);
  });

  it('answers flushes itself with cache.no-flush', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(512));
    await (await open(bench, { cache: { 'no-flush': true } })).flush();
    expect(bench.host.count('flush')).to.equal(0);
    await (await open(bench)).flush();
    expect(bench.host.count('flush')).to.equal(1);
  });

  it('resizes', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(4 * KIB));
    const node = await open(bench);
    await node.truncate(1 * KIB);
    await node.truncate(8 * KIB);
    expect(node.length).to.equal(8 * KIB);
    expect(bench.host.readFile('/a')).to.deep.equal(Uint8Array.from([...pattern(KIB), ...new Uint8Array(7 * KIB)]));
  });

  for (const preallocation of ['falloc', 'full'] as const) {
    it(`allocates the new part with ${preallocation}`, async () => {
      const bench = makeBench();
      bench.host.writeFile('/a', pattern(4 * KIB));
      const node = await open(bench);
      await node.truncate(2048 * KIB, { preallocation });
      expect((await bench.host.stat('/a')).allocated).to.be.at.least(2048 * KIB);
      expect((await failureOf(node.truncate(KIB, { preallocation }))).message).to.contain(
        'Cannot use preallocation for shrinking',
      );
    });
  }

  it('refuses to preallocate metadata', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(512));
    const node = await open(bench);
    expect((await failureOf(node.truncate(1024, { preallocation: 'metadata' }))).code).to.equal('invalid-argument');
    expect(node.length).to.equal(512);
  });

  it('goes from read-only to writable and back', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(512));
    const node = await open(bench, { 'read-only': true });
    expect((await failureOf(node.write(0, pattern(512)))).code).to.equal('read-only');
    await node.reopen(false);
    await node.write(0, pattern(512, 2));
    await node.reopen(true);
    expect((await failureOf(node.write(0, pattern(512)))).code).to.equal('read-only');
    const buffer = new Uint8Array(512);
    await node.read(0, buffer);
    expect(buffer).to.deep.equal(pattern(512, 2));
  });

  it('says which request failed and where', async () => {
    const bench = makeBench({ faults: { rules: [{ operations: ['read'], errno: 'EIO' }] }, eager: true });
    bench.host.writeFile('/a', pattern(4 * KIB));
    const node = await open(bench);
    const error = await failureOf(node.read(1024, new Uint8Array(512)));
    expect(error).to.include({ code: 'io', path: '/a', offset: 1024, length: 512, operation: 'read' });
  });
});

describe('file driver: opening', () => {
  const refused: [string, (bench: Bench) => Promise<unknown>, string, string][] = [
    ['a file that is not there', (b) => open(b), 'not-found', "Could not open '/a': No such file or directory"],
    ['a folder', (b) => openNode(b.graph, '/folder'), 'invalid-argument', "Could not open '/folder': Is a directory"],
    ['an empty name', (b) => openNode(b.graph, ''), 'invalid-argument', "The 'file' block driver requires a file name"],
    [
      'a device as file',
      (b) => openNode(b.graph, { driver: 'file', filename: '/dev/sda' }),
      'invalid-argument',
      "'file' driver requires '/dev/sda' to be a regular file",
    ],
    [
      'a file as device',
      (b) => openNode(b.graph, { driver: 'host_device', filename: '/folder/x' }),
      'invalid-argument',
      "'host_device' driver requires '/folder/x' to be either a character or block device",
    ],
    [
      'native AIO without direct',
      (b) => openNode(b.graph, { driver: 'file', filename: '/folder/x', aio: 'native' }),
      'invalid-argument',
      'aio=native was specified, but it requires cache.direct=on, which was not specified.',
    ],
  ];
  for (const [what, action, code, message] of refused) {
    it(`refuses ${what}`, async () => {
      const bench = makeBench();
      bench.host.writeFile('/folder/x', pattern(512));
      bench.host.createDevice('/dev/sda', 4096);
      expect(await failureOf(action(bench))).to.include({ code, message });
      expect(bench.graph.nodes.size).to.equal(0);
    });
  }

  it('drives a device that is named by its path as host_device, whose size is fixed', async () => {
    const bench = makeBench();
    bench.host.createDevice('/dev/sda', 64 * KIB);
    const node = await used(openNode(bench.graph, '/dev/sda', { format: 'raw' }));
    expect(node.children.get('file')!.node.driver).to.equal('host_device');
    await node.write(0, pattern(KIB));
    expect((await failureOf(node.truncate(128 * KIB))).message).to.contain('Cannot grow device files');
    expect(bench.host.readFile('/dev/sda', 0, KIB)).to.deep.equal(pattern(KIB));
  });

  it('falls back to read-only with auto-read-only alone', async () => {
    const rules = [{ operations: ['open'], errno: 'EACCES', times: 1 }] as const;
    for (const auto of [true, false]) {
      const bench = makeBench({ faults: { rules }, eager: true });
      bench.host.writeFile('/a', pattern(512));
      const opening = open(bench, { 'auto-read-only': auto });
      if (auto) expect((await opening).readOnly).to.equal(true);
      else expect((await failureOf(opening)).message).to.equal("Could not open '/a': Permission denied");
    }
  });
});

describe('file driver: creating', () => {
  it('makes a file of a size, and empties one that is there', async () => {
    const { host, graph } = makeBench();
    host.writeFile('/a', pattern(64 * KIB));
    await createNode(graph, { driver: 'file', filename: '/a', size: 8 * KIB });
    expect(host.readFile('/a')).to.deep.equal(new Uint8Array(8 * KIB));
  });

  it('leaves an image alone that somebody writes with the size fixed', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(64 * KIB));
    const node = await openNode(bench.graph, { driver: 'raw', size: 1024, file: { driver: 'file', filename: '/a' } });
    node.attach({ userName: 'test' }, 'root', 1, 15);
    const error = await failureOf(createNode(bench.graph, { driver: 'file', filename: '/a', size: 0 }));
    expect(error).to.include({ code: 'locked' });
    expect(bench.host.readFile('/a')).to.deep.equal(pattern(64 * KIB));
  });

  it('empties the file again where the disk is full', async () => {
    const { host, graph } = makeBench({ capacity: 1024 * KIB });
    const options = { driver: 'file', filename: '/a', size: 2048 * KIB, preallocation: 'falloc' } as const;
    expect((await failureOf(createNode(graph, options))).code).to.equal('no-space');
    expect(host.fileSize('/a')).to.equal(0);
  });
});
