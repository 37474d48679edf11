// A stream-optimised VMDK image that is written in order: which parts it has, and where they say that others are.

import { inflateSync } from 'node:zlib';
import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { BlockError } from '../../../src/util/errors.js';
import { streamImage } from '../../../src/workspace/convert-out.js';
import { type Bench, failureOf, makeBench, pattern, readNode, used } from '../support.js';

const GRAIN = 65536;
const SECTOR = 512;
const TABLE_SPAN = 512 * GRAIN;
/** Of three tables, the second of which has no grain; and the last grain is short. */
const SIZE = 2 * TABLE_SPAN + 3 * GRAIN + 1024;

/** Keeps what it gets, and fails at byte `limit`. */
class Sink {
  readonly name = 'the sink';
  readonly skips = false;
  readonly parts: Buffer[] = [];
  #left: number;

  constructor(limit = Number.POSITIVE_INFINITY) {
    this.#left = limit;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#left -= bytes.length;
    if (this.#left < 0) throw new BlockError('no-space', 'the sink is full');
    this.parts.push(Buffer.from(bytes));
  }

  zeroes(length: number): Promise<void> {
    return this.write(new Uint8Array(length));
  }

  async end(): Promise<void> {}

  stop(): void {}
}

describe('a VMDK image as a stream', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = makeBench();
  });

  afterEach(() => bench.graph.closeAll());

  /** Writes a disk with data in its first and its last grains, and gives what the disk has. */
  const streamed = async (sink: Sink): Promise<Buffer> => {
    const content = Buffer.alloc(SIZE);
    content.set(pattern(2 * GRAIN), GRAIN);
    content.fill(7, SIZE - 1024);
    await createImage(bench.graph, '/source', { driver: 'raw', size: SIZE });
    const source = await used(openNode(bench.graph, '/source', { format: 'raw' }));
    await source.write(GRAIN, content.subarray(GRAIN, 3 * GRAIN));
    await source.write(SIZE - 1024, content.subarray(SIZE - 1024));
    const options = { driver: 'vmdk', subformat: 'streamOptimized', size: SIZE } as const;
    await streamImage(bench.graph, { source, sink, options });
    return content;
  };

  it('has each part behind what it points to, markers before all, and the end where it is looked for', async () => {
    const sink = new Sink();
    const content = await streamed(sink);
    const file = Buffer.concat(sink.parts);
    expect(file.length % SECTOR).to.equal(0);
    expect(file.readBigUInt64LE(56)).to.equal(0xffff_ffff_ffff_ffffn);
    const kinds: string[] = [];
    const tables: number[] = [];
    const grains = new Map<number, number>();
    let directory = 0;
    let at = Number(file.readBigUInt64LE(64)) * SECTOR;
    while (at < file.length) {
      const [value, bytes] = [Number(file.readBigUInt64LE(at)), file.readUInt32LE(at + 8)];
      if (bytes > 0) {
        kinds.push('grain');
        grains.set(value / 128, at / SECTOR);
        const grain = Buffer.alloc(GRAIN);
        content.copy(grain, 0, value * SECTOR);
        expect(inflateSync(file.subarray(at + 12, at + 12 + bytes)).equals(grain), `grain ${value}`).to.equal(true);
        at += Math.ceil((12 + bytes) / SECTOR) * SECTOR;
        continue;
      }
      const kind = ['end', 'table', 'directory', 'footer'][file.readUInt32LE(at + 12)];
      kinds.push(kind);
      at += SECTOR;
      if (kind === 'table') tables.push(at / SECTOR);
      if (kind === 'directory') directory = at / SECTOR;
      if (kind === 'footer') expect(Number(file.readBigUInt64LE(at + 56))).to.equal(directory);
      at += value * SECTOR;
    }
    expect(kinds.join(' ')).to.equal('grain grain table grain table directory footer end');
    const entries = (place: number, count: number) =>
      Array.from({ length: count }, (_, i) => file.readUInt32LE(place * SECTOR + 4 * i));
    expect(entries(directory, 3)).to.deep.equal([tables[0], 0, tables[1]]);
    expect(entries(tables[0], 4)).to.deep.equal([0, grains.get(1), grains.get(2), 0]);
    expect(entries(tables[1], 4)).to.deep.equal([0, 0, 0, grains.get(2 * 512 + 3)]);
  });

  it('reads as the source, by its map, too, and is only read', async () => {
    const sink = new Sink();
    const content = await streamed(sink);
    bench.host.writeFile('/a.vmdk', Buffer.concat(sink.parts));
    expect((await failureOf(openNode(bench.graph, '/a.vmdk', { format: 'vmdk' }))).code).to.equal('unsupported');
    const node = await openNode(bench.graph, '/a.vmdk', { format: 'vmdk', readOnly: true });
    const found = Buffer.alloc(SIZE);
    await readNode(node, 0, found);
    expect(found.equals(content)).to.equal(true);
    expect((await node.blockStatus(3 * GRAIN, SIZE - 3 * GRAIN)).length).to.equal(2 * TABLE_SPAN);
  });

  it('gives all memory back where the sink fails, wherever that is', async () => {
    const whole = new Sink();
    await streamed(whole);
    const total = Buffer.concat(whole.parts).length;
    for (let limit = 0; limit < total; limit += 40_000) {
      bench = makeBench();
      const before = bench.host.memory.liveBytes;
      expect((await failureOf(streamed(new Sink(limit)))).code).to.equal('no-space');
      await bench.graph.closeAll();
      expect(bench.host.memory.liveBytes, `after ${limit} bytes`).to.equal(before);
    }
  });
});
