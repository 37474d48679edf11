// What a node's changes leave behind in its dirty bitmaps.

import { expect } from 'chai';
import { DirtyBitmap } from '../../../src/block/bitmap.js';
import { openNode } from '../../../src/block/open.js';
import { failureOf, makeBench, pattern } from '../../drivers/support.js';
import { MemoryNode } from '../../jobs/memory-node.js';
import { lateBench, openUsed, PASS_MS } from '../support.js';
import { patterned, SIZE } from './patterned.js';

describe('node: dirty bitmaps', () => {
  async function withBitmap(options: Partial<ConstructorParameters<typeof DirtyBitmap>[0]> = {}) {
    const made = await patterned();
    const bitmap = new DirtyBitmap({ name: 'b', size: SIZE, granularity: 512, ...options });
    made.node.bitmaps.set('b', bitmap);
    return { ...made, bitmap };
  }
  function dirty(bitmap: DirtyBitmap): string[] {
    const runs: string[] = [];
    for (let run = bitmap.nextDirtyRun(0); run !== undefined; run = bitmap.nextDirtyRun(run.offset + run.length)) {
      runs.push(`${run.offset}+${run.length}`);
    }
    return runs;
  }

  it('record each kind of change, and nothing else', async () => {
    const { node, bitmap } = await withBitmap();
    await node.read(0, new Uint8Array(SIZE));
    await node.flush();
    expect(dirty(bitmap)).to.deep.equal([]);
    await node.write(511, Uint8Array.of(1, 2));
    await node.writeZeroes(2048, 1);
    await node.discard(4096, 512);
    await node.writeExtents(
      [
        { offset: 6144, length: 1 },
        { offset: 7168, length: 1 },
      ],
      Uint8Array.of(1, 2),
    );
    expect(dirty(bitmap)).to.deep.equal(['0+1024', '2048+512', '4096+512', '6144+512', '7168+512']);
  });

  it('record a write of zeroes that was detected', async () => {
    const { node, bitmap } = await withBitmap();
    node.detectZeroes = 'on';
    await node.write(512, new Uint8Array(512));
    expect(dirty(bitmap)).to.deep.equal(['512+512']);
  });

  it('do not record a discard that is ignored', async () => {
    const { node, bitmap } = await withBitmap();
    node.discardMode = 'ignore';
    await node.discard(0, SIZE);
    expect(dirty(bitmap)).to.deep.equal([]);
  });

  it('record a write that failed: part of it may have reached the disk', async () => {
    const { node, bitmap, host } = await withBitmap();
    host.setFaults({ rules: [{ operations: ['write'] }] });
    expect((await failureOf(node.write(0, Uint8Array.of(1)))).code).to.equal('io');
    expect(dirty(bitmap)).to.deep.equal(['0+512']);
  });

  it('do not record what is refused at once', async () => {
    const { node, bitmap } = await withBitmap();
    expect((await failureOf(node.write(SIZE, Uint8Array.of(1)))).code).to.equal('out-of-bounds');
    expect(dirty(bitmap)).to.deep.equal([]);
  });

  it('lose no mark to a job that cleans them while the write is under way', async () => {
    const bench = lateBench(['write']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const bitmap = new DirtyBitmap({ size: SIZE, granularity: 512 });
    node.bitmaps.set('b', bitmap);
    const writing = node.write(0, Uint8Array.of(1));
    expect(dirty(bitmap)).to.deep.equal(['0+512']);
    bitmap.clear();
    await bench.host.advance(PASS_MS);
    await writing;
    expect(dirty(bitmap)).to.deep.equal(['0+512']);
  });

  it('that came while a write was under way have it', async () => {
    const bench = lateBench(['write']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const writing = node.write(0, Uint8Array.of(1));
    const bitmap = new DirtyBitmap({ size: SIZE, granularity: 512 });
    node.bitmaps.set('b', bitmap);
    await bench.host.advance(PASS_MS);
    await writing;
    expect(dirty(bitmap)).to.deep.equal(['0+512']);
  });

  it('that cannot record fail the write before it happens', async () => {
    const { node, bitmap, host } = await withBitmap({ memoryLimit: 0 });
    expect((await failureOf(node.write(0, Uint8Array.of(200)))).code).to.equal('limit');
    expect((await failureOf(node.writeZeroes(512, 512))).code).to.equal('limit');
    expect((await failureOf(node.discard(512, 512))).code).to.equal('limit');
    expect(host.readFile('/a')).to.deep.equal(pattern(SIZE));
    expect(dirty(bitmap)).to.deep.equal([]);
    expect(node.inFlight).to.equal(0);
    await node.idle();
  });

  it('that are full do not fail a write whose mark was taken away meanwhile', async () => {
    const bench = lateBench(['write']);
    const size = 2 ** 40;
    const node = await openNode(bench.graph, { driver: 'null-co', size, 'latency-ns': 1_000_000 });
    // Room for the paths to one end of a run.
    const bitmap = new DirtyBitmap({ size, granularity: 512, memoryLimit: 25_000 });
    node.bitmaps.set('b', bitmap);
    const writing = node.write(0, Uint8Array.of(1));
    bitmap.clear();
    bitmap.set(2 ** 39, 512);
    expect(() => bitmap.set(0, 512))
      .to.throw()
      .with.property('code', 'limit');
    await bench.host.advance(PASS_MS);
    await writing;
    expect([bitmap.get(0), bitmap.get(2 ** 39)]).to.deep.equal([true, true]);
  });

  it('follow the size, which changes after a write that is under way at what is cut off', async () => {
    const bench = lateBench(['write']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const bitmap = new DirtyBitmap({ size: SIZE, granularity: 512 });
    node.bitmaps.set('b', bitmap);
    const writing = node.write(4000, new Uint8Array(1000).fill(1));
    const cutting = node.truncate(4096);
    await bench.host.advance(PASS_MS);
    await Promise.all([writing, cutting]);
    expect(bitmap.size).to.equal(4096);
    expect(dirty(bitmap)).to.deep.equal(['3584+512']);
    await node.truncate(SIZE);
    expect(dirty(bitmap)).to.deep.equal(['3584+512']);
  });

  it('do not follow a change of size that failed', async () => {
    const { node, bitmap, host } = await withBitmap();
    host.setFaults({ rules: [{ operations: ['truncate'], errno: 'ENOSPC' }] });
    expect((await failureOf(node.truncate(2 * SIZE))).code).to.equal('no-space');
    expect([node.length, bitmap.size]).to.deep.equal([SIZE, SIZE]);
  });

  it('are all dirty after the layer was emptied', async () => {
    const { graph } = makeBench();
    const node = new MemoryNode(graph, { name: 'm', size: SIZE });
    const bitmap = new DirtyBitmap({ size: SIZE, granularity: 512 });
    node.bitmaps.set('b', bitmap);
    await node.makeEmpty();
    expect(dirty(bitmap)).to.deep.equal([`0+${SIZE}`]);
  });
});
