import { expect } from 'chai';
import { Graph } from '../../src/block/graph.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { convert } from '../../src/jobs/convert.js';
import { Chunker, ownContent, Plan, skipZeroes, wholeContent } from '../../src/jobs/copy-plan.js';
import { splitZeroes } from '../../src/jobs/zero-map.js';
import { BlockError } from '../../src/util/errors.js';
import { MemoryNode, pattern } from './memory-node.js';

const KiB = 1024;
const MiB = 1024 * KiB;

function setUp() {
  const host = createSimHost();
  const graph = new Graph(host);
  const node = (
    name: string,
    size: number,
    more: { clusterBytes?: number; backing?: MemoryNode; readOnly?: boolean } = {},
  ) => new MemoryNode(graph, { name, size, ...more });
  return { host, graph, node };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    expect(error).to.be.instanceOf(BlockError);
    return (error as BlockError).code;
  }
  throw new Error('it did not fail');
}

describe('copy plan', () => {
  async function pieces(plan: Plan) {
    const all: string[] = [];
    for (let piece = await plan.next(); piece !== null; piece = await plan.next()) {
      all.push(`${piece.kind} ${piece.offset / KiB}+${piece.length / KiB}`);
    }
    return all;
  }

  it('makes one piece of a whole run', async () => {
    const { node } = setUp();
    const source = node('s', MiB);
    source.poke(256 * KiB, pattern(0, 128 * KiB));
    const plan = new Plan({ source, base: null, classify: wholeContent, align: 1, maxPieceBytes: MiB }, 0, MiB);
    expect(await pieces(plan)).to.deep.equal(['zero 0+256', 'data 256+128', 'zero 384+640']);
  });

  it('extends data to whole units', async () => {
    const { node } = setUp();
    const source = node('s', MiB, { clusterBytes: 4 * KiB });
    source.poke(68 * KiB, pattern(0, 4 * KiB));
    const plan = new Plan({ source, base: null, classify: wholeContent, align: 64 * KiB, maxPieceBytes: MiB }, 0, MiB);
    expect(await pieces(plan)).to.deep.equal(['zero 0+64', 'data 64+64', 'zero 128+896']);
  });

  it('takes a unit that is partly zero and partly of nobody as data', async () => {
    const { node } = setUp();
    const base = node('b', 128 * KiB);
    const source = node('s', 128 * KiB, { clusterBytes: 4 * KiB, backing: base });
    source.pokeZero(0, 4 * KiB);
    const plan = new Plan({ source, base, classify: ownContent, align: 64 * KiB, maxPieceBytes: MiB }, 0, 128 * KiB);
    expect(await pieces(plan)).to.deep.equal(['data 0+64', 'skip 64+64']);
  });

  it('keeps the odd end of an image', async () => {
    const { node } = setUp();
    const source = node('s', 100 * KiB);
    source.poke(64 * KiB, pattern(0, 36 * KiB));
    const plan = new Plan(
      { source, base: null, classify: wholeContent, align: 64 * KiB, maxPieceBytes: MiB },
      0,
      100 * KiB,
    );
    expect(await pieces(plan)).to.deep.equal(['zero 0+64', 'data 64+36']);
  });

  it('bounds pieces', async () => {
    const { node } = setUp();
    const source = node('s', MiB);
    const plan = new Plan({ source, base: null, classify: wholeContent, align: 1, maxPieceBytes: 400 * KiB }, 0, MiB);
    expect(await pieces(plan)).to.deep.equal(['zero 0+400', 'zero 400+400', 'zero 800+224']);
  });

  it('gathers scattered data into one chunk', async () => {
    const { node } = setUp();
    const source = node('s', MiB);
    for (const at of [0, 192, 512]) source.poke(at * KiB, pattern(0, 64 * KiB));
    const plan = new Plan({ source, base: null, classify: wholeContent, align: 1, maxPieceBytes: MiB }, 0, MiB);
    const chunker = new Chunker(plan, 16);
    const data: number[] = [];
    for (let chunk = await chunker.next(128 * KiB); chunk !== null; chunk = await chunker.next(128 * KiB)) {
      if (chunk.kind === 'data') data.push(chunk.extents.length, chunk.bytes / KiB);
    }
    expect(data).to.deep.equal([2, 128, 1, 64]);
  });

  it('gathers what is skipped, in its place between chunks of data, up to so many extents', async () => {
    const { node } = setUp();
    const source = node('s', MiB);
    for (let at = 64; at < 1024; at += 128) source.poke(at * KiB, pattern(0, 64 * KiB));
    const classify = skipZeroes(wholeContent);
    const plan = new Plan({ source, base: null, classify, align: 1, maxPieceBytes: MiB }, 0, MiB);
    const chunker = new Chunker(plan, 3);
    const chunks: string[] = [];
    for (let chunk = await chunker.next(128 * KiB); chunk !== null; chunk = await chunker.next(128 * KiB)) {
      chunks.push(`${chunk.kind} ${chunk.extents.map(({ offset }) => offset / KiB)} ${chunk.bytes / KiB}`);
    }
    expect(chunks).to.deep.equal(
      [0, 256, 512, 768].flatMap((at) => [`data ${at + 64},${at + 192} 128`, `skip ${at},${at + 128} 128`]),
    );
    const holes = new Plan(
      { source: node('h', MiB), base: null, classify, align: 1, maxPieceBytes: 128 * KiB },
      0,
      MiB,
    );
    const gathered = new Chunker(holes, 3);
    const counts: number[] = [];
    for (let chunk = await gathered.next(KiB); chunk !== null; chunk = await gathered.next(KiB)) {
      counts.push(chunk.extents.length);
    }
    expect(counts).to.deep.equal([3, 3, 2]);
  });
});

describe('splitting by a zero map', () => {
  it('moves the data together and keeps the offsets', () => {
    const buffer = Buffer.concat([Buffer.alloc(512, 1), Buffer.alloc(512), Buffer.alloc(512, 2), Buffer.alloc(100)]);
    const split = splitZeroes(
      [
        { offset: 4096, length: 1024 },
        { offset: 8192, length: 612 },
      ],
      buffer,
      Uint8Array.from([0, 1, 0, 1]),
      512,
    );
    expect(split.data).to.deep.equal([
      { offset: 4096, length: 512 },
      { offset: 8192, length: 512 },
    ]);
    expect(split.zero).to.deep.equal([
      { offset: 4608, length: 512 },
      { offset: 8704, length: 100 },
    ]);
    expect(split.bytes).to.equal(1024);
    expect(buffer.subarray(0, 1024).equals(Buffer.concat([Buffer.alloc(512, 1), Buffer.alloc(512, 2)]))).to.equal(true);
  });
});

describe('convert', () => {
  it('copies a chain and leaves holes and zeroes out', async () => {
    const { node } = setUp();
    const base = node('b', 3 * MiB);
    base.poke(0, pattern(0, 2 * MiB));
    const source = node('s', 4 * MiB + 512, { backing: base });
    source.poke(MiB, pattern(MiB, 256 * KiB, 2));
    source.pokeZero(MiB + 256 * KiB, 256 * KiB);
    source.poke(4 * MiB, pattern(4 * MiB, 512));
    const target = node('t', 4 * MiB + 512);
    await convert({ source, target });
    expect(target.content().equals(source.content())).to.equal(true);
    expect(target.counts.zero).to.equal(0);
    expect(target.clusters.size).to.equal((2 * MiB - 256 * KiB) / (64 * KiB) + 1);
  });

  it('finds zeroes in the data', async () => {
    const { node } = setUp();
    const source = node('s', MiB);
    source.poke(0, Buffer.alloc(MiB));
    source.poke(128 * KiB, pattern(0, 64 * KiB));
    const target = node('t', MiB);
    await convert({ source, target });
    expect([...target.clusters.keys()]).to.deep.equal([2]);
    expect(target.content().equals(source.content())).to.equal(true);
  });

  it('writes everything out with a sparse size of 0', async () => {
    const { node } = setUp();
    const target = node('t', MiB);
    await convert({ source: node('s', MiB), target, sparseSize: 0 });
    expect([...target.clusters.values()].every((bytes) => bytes instanceof Uint8Array)).to.equal(true);
    expect(target.clusters.size).to.equal(16);
  });

  it('overwrites a target with old content, its tail too', async () => {
    const { node } = setUp();
    const source = node('s', MiB);
    source.poke(0, pattern(0, 64 * KiB));
    const target = node('t', 2 * MiB);
    target.poke(0, pattern(7, 2 * MiB, 9));
    await convert({ source, target });
    expect(target.content(MiB).equals(source.content())).to.equal(true);
    expect(
      target
        .content()
        .subarray(MiB)
        .every((byte) => byte === 0),
    ).to.equal(true);
  });

  it('copies only what lies above the base', async () => {
    const { node } = setUp();
    const base = node('b', MiB);
    base.poke(0, pattern(0, MiB));
    const source = node('s', MiB, { backing: base });
    source.poke(64 * KiB, pattern(0, 64 * KiB, 2));
    source.pokeZero(256 * KiB, 64 * KiB);
    const target = node('t', MiB, { backing: base });
    await convert({ source, target, overlay: true });
    expect([...target.clusters.keys()].sort((a, b) => a - b)).to.deep.equal([1, 4]);
    expect(target.content().equals(source.content())).to.equal(true);
  });

  it('says how far it is, up to the whole', async () => {
    const { node } = setUp();
    const source = node('s', 2 * MiB + 512);
    source.poke(0, pattern(0, MiB));
    const seen: number[] = [];
    await convert({ source, target: node('t', 2 * MiB + 512), onProgress: (current) => seen.push(current) });
    expect(seen.at(-1)).to.equal(2 * MiB + 512);
    expect(seen).to.deep.equal([...seen].sort((a, b) => a - b));
  });

  it('gives all buffers back', async () => {
    const { host, node } = setUp();
    const source = node('s', 8 * MiB);
    source.poke(0, pattern(0, 8 * MiB));
    await convert({ source, target: node('t', 8 * MiB) });
    expect(host.memory.liveBuffers).to.equal(0);
  });

  it('ends with the error of the source', async () => {
    const { host, node } = setUp();
    const source = node('s', 4 * MiB);
    source.poke(0, pattern(0, 4 * MiB));
    source.fault = (request, offset) => {
      if (request === 'read' && offset >= 2 * MiB) throw new Error('planned');
    };
    expect(await codeOf(convert({ source, target: node('t', 4 * MiB) }))).to.equal('io');
    expect(host.memory.liveBuffers).to.equal(0);
  });

  it('ends with the error of the target, also when that comes at the last flush', async () => {
    const { node } = setUp();
    const source = node('s', MiB);
    source.poke(0, pattern(0, MiB));
    const target = node('t', MiB);
    target.fault = (request) => {
      if (request === 'flush') throw new BlockError('no-space', 'planned');
    };
    expect(await codeOf(convert({ source, target }))).to.equal('no-space');
  });

  it('saves what can be read', async () => {
    const { node } = setUp();
    const source = node('s', MiB);
    source.poke(0, pattern(0, MiB));
    const bad = 300 * KiB;
    source.fault = (request, offset, length) => {
      if (request === 'read' && offset <= bad && bad < offset + length) throw new Error('planned');
    };
    const target = node('t', MiB);
    const lost: number[] = [];
    await convert({
      source,
      target,
      salvage: true,
      onSalvaged: (_error, extent) => lost.push(extent.offset, extent.length),
    });
    expect(lost).to.deep.equal([bad, 512]);
    const wanted = source.content();
    wanted.fill(0, bad, bad + 512);
    expect(target.content().equals(wanted)).to.equal(true);
  });

  it('stops when it is aborted', async () => {
    const { node } = setUp();
    const source = node('s', 64 * MiB);
    source.poke(0, pattern(0, 64 * MiB));
    const abort = new AbortController();
    const target = node('t', 64 * MiB);
    const work = convert({
      source,
      target,
      signal: abort.signal,
      onProgress: (current) => {
        if (current > 4 * MiB) abort.abort();
      },
    });
    expect(await codeOf(work)).to.equal('cancelled');
    expect(target.clusters.size).to.be.below(512);
  });

  it('refuses a target that is too small, and odd sparse sizes', async () => {
    const { node } = setUp();
    const source = node('s', MiB);
    expect(await codeOf(convert({ source, target: node('t', MiB - 512) }))).to.equal('invalid-argument');
    expect(await codeOf(convert({ source, target: node('u', MiB), sparseSize: 1000 }))).to.equal('invalid-argument');
    expect(await codeOf(convert({ source, target: node('v', MiB), parallel: 17 }))).to.equal('invalid-argument');
  });

  it('refuses to write to a read-only target', async () => {
    const { node } = setUp();
    const source = node('s', MiB);
    source.poke(0, pattern(0, MiB));
    expect(await codeOf(convert({ source, target: node('t', MiB, { readOnly: true }) }))).to.equal('read-only');
  });
});
