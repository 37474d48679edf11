// dmg: reads of any length, at once and one after the other, of chunks that are kept, or too large for that.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { openNode } from '../../../src/block/open.js';
import { ChunkCache } from '../../../src/drivers/formats/dmg/chunk-cache.js';
import { Random } from '../../../src/host/sim/index.js';
import { chunk, Kind } from '../../formats/dmg/images.js';
import { failureOf, makeBench, readNode } from '../support.js';
import { counted, END, forked, IMAGE, readSectors, SECTOR } from './support.js';

const MIB = 1 << 20;

/** Bytes that tell where they stand. */
function telling(length: number, from: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4) bytes.writeUInt32LE(from + at, at);
  return bytes;
}

describe('dmg: reads', () => {
  it('take each sector from its own chunk, whichever are kept', async () => {
    const tables = [[1, 5, 9, 13].map((from) => counted(Kind.zlib, from, 4)).concat(END)];
    expect((await readSectors(forked(tables).image)).sectors).to.deep.equal(
      Array.from({ length: 16 }, (_, i) => i + 1),
    );
  });

  it('of a range in which chunks overlap are errors as a whole', async () => {
    const { image, chunkAt } = forked([[counted(Kind.raw, 1, 3), counted(Kind.raw, 11, 3), END]]);
    image.writeBigUInt64BE(2n, chunkAt(1) + 8);
    const { host, graph } = makeBench();
    host.writeFile(IMAGE, image);
    const node = await openNode(graph, IMAGE, { readOnly: true });
    await readNode(node, 0, Buffer.alloc(2 * SECTOR));
    expect((await failureOf(readNode(node, 0, Buffer.alloc(3 * SECTOR)))).code).to.equal('corrupt-image');
    await graph.closeAll();
  });

  it('of large chunks, at random and at once, are right', async () => {
    const content = telling(24 * MIB, 7);
    const sizes = [5 * MIB, SECTOR, 9 * MIB, 3 * MIB, 7 * MIB - SECTOR];
    let at = 0;
    const chunks = sizes.map((size) => {
      at += size;
      return chunk(Kind.zlib, content.subarray(at - size, at));
    });
    const { host, graph } = makeBench();
    host.writeFile(IMAGE, forked([[...chunks, END]]).image);
    const node = await openNode(graph, IMAGE, { readOnly: true });
    const random = new Random(1, 1);
    for (let round = 0; round < 8; round++) {
      const ranges = Array.from({ length: 6 }, () => {
        const from = random.below(content.length);
        return [from, Math.min(content.length, from + random.between(1, random.pick([100, 6 * MIB])))];
      });
      const buffers = ranges.map(([from, to]) => Buffer.alloc(to - from));
      await Promise.all(ranges.map(([from], i) => readNode(node, from, buffers[i])));
      for (const [i, [from, to]] of ranges.entries()) {
        expect(buffers[i].equals(content.subarray(from, to)), `${from} to ${to}`).to.equal(true);
      }
    }
    await graph.closeAll();
  });
});

describe('dmg: chunks that are kept', () => {
  const content = Promise.resolve(new Uint8Array(1));

  it('are 16 MiB, and the least used ones go first', () => {
    const cache = new ChunkCache();
    for (let i = 0; i < 4; i++) cache.add(i, 4 * MIB, content);
    cache.get(0);
    cache.add(4, 4 * MIB, content);
    expect([0, 1, 2, 3, 4].map((i) => cache.get(i) !== null)).to.deep.equal([true, false, true, true, true]);
  });

  it('are one alone where it is larger than that', () => {
    const cache = new ChunkCache();
    cache.add(0, MIB, content);
    cache.add(1, 64 * MIB, content);
    expect([cache.get(0), cache.get(1)]).to.deep.equal([null, content]);
    cache.add(2, MIB, content);
    expect([cache.get(1), cache.get(2)]).to.deep.equal([null, content]);
  });

  it('are none that could not be read', async () => {
    const cache = new ChunkCache();
    const failing = Promise.reject(new Error('no'));
    cache.add(0, 15 * MIB, failing);
    await failing.catch(() => undefined);
    expect(cache.get(0)).to.equal(null);
    cache.add(1, 8 * MIB, content);
    cache.add(2, 8 * MIB, content);
    expect(cache.get(1)).to.equal(content);
  });
});
