// A block of several mebibytes that is written in part gets what it reads as beside that in steps: with a backing file, and in a place that was used before.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { failureOf, makeBench, readNode, used } from '../support.js';

const MIB = 1 << 20;
const CLUSTER = 4 * MIB;

describe('large blocks that are written in part', () => {
  /** What differs from `byte` in a part of the disk; null: nothing. */
  async function other(node: Parameters<typeof readNode>[0], from: number, to: number, byte: number) {
    const buffer = new Uint8Array(MIB);
    const wanted = new Uint8Array(MIB).fill(byte);
    for (let at = from; at < to; at += MIB) {
      const part = buffer.subarray(0, Math.min(MIB, to - at));
      await readNode(node, at, part);
      if (Buffer.compare(part, wanted.subarray(0, part.length)) !== 0) return at;
    }
    return null;
  }

  /** An empty overlay of two clusters, over a file of so many bytes, all of them 3. */
  async function overThrees(backingBytes: number) {
    const bench = makeBench();
    bench.host.writeFile('/base', new Uint8Array(backingBytes).fill(3));
    const backing = { 'backing-file': '/base', 'backing-fmt': 'raw' } as const;
    const size = { driver: 'qed', 'cluster-size': CLUSTER, 'table-size': 1, size: 2 * CLUSTER } as const;
    await createImage(bench.graph, '/a', { ...size, ...backing });
    return { bench, node: await used(openNode(bench.graph, '/a', { format: 'qed' })) };
  }

  for (const [what, backingBytes] of [
    ['as long as the disk', 2 * CLUSTER],
    ['that ends within the block', 3 * MIB + 512],
    ['that ends before what is written', MIB],
  ] as const) {
    it(`read as the backing file beside it (one ${what})`, async () => {
      const { bench, node } = await overThrees(backingBytes);
      const [from, to] = [2 * MIB, 2 * MIB + 1024];
      await node.write(from, new Uint8Array(to - from).fill(9));
      const split = Math.min(from, backingBytes);
      expect(await other(node, 0, split, 3), 'before').to.equal(null);
      expect(await other(node, split, from, 0), 'zeroes before').to.equal(null);
      expect(await other(node, from, to, 9), 'what is written').to.equal(null);
      const end = Math.max(to, Math.min(CLUSTER, backingBytes));
      expect(await other(node, to, end, 3), 'behind').to.equal(null);
      expect(await other(node, end, CLUSTER, 0), 'zeroes behind').to.equal(null);
      await bench.graph.closeAll();
    });
  }

  it('read as zeroes beside it where a write that failed had used the place', async () => {
    const { bench, node } = await overThrees(3 * MIB);
    // What lies before and behind arrives, what is written does not.
    bench.host.setFaults({ rules: [{ operations: ['write'], path: '/a', after: 2 }] });
    expect((await failureOf(node.write(2 * MIB, new Uint8Array(512).fill(9)))).code).to.equal('io');
    bench.host.setFaults({});
    expect(Buffer.from(bench.host.readFile('/a')).includes(Buffer.alloc(512, 3)), 'remains in the file').to.equal(true);
    await node.write(CLUSTER + MIB, new Uint8Array(512).fill(9));
    expect(await other(node, CLUSTER, CLUSTER + MIB, 0)).to.equal(null);
    expect(await other(node, CLUSTER + MIB + 512, 2 * CLUSTER - 512, 0)).to.equal(null);
    expect(await other(node, 0, 3 * MIB, 3)).to.equal(null);
    await bench.graph.closeAll();
  });
});
