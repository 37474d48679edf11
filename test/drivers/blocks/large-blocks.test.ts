// A block of several mebibytes that is written in part gets what it reads as beside that in steps: with a backing file, and in a place that was used before.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { failureOf, makeBench, readNode, used } from '../support.js';

const MIB = 1 << 20;
const CLUSTER = 4 * MIB;

describe('large blocks that are written in part', () => {
  const options = { driver: 'qed', 'cluster-size': CLUSTER, 'table-size': 1 } as const;

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

  for (const [what, backingBytes] of [
    ['as long as the disk', 2 * CLUSTER],
    ['that ends within the block', 3 * MIB + 512],
    ['that ends before what is written', MIB],
  ] as const) {
    it(`read as the backing file beside it (one ${what})`, async () => {
      const bench = makeBench();
      await createImage(bench.graph, '/base', { driver: 'raw', size: backingBytes });
      const base = await used(openNode(bench.graph, '/base', { format: 'raw' }));
      for (let at = 0; at < backingBytes; at += MIB) {
        await base.write(at, new Uint8Array(Math.min(MIB, backingBytes - at)).fill(3));
      }
      await bench.graph.closeAll();
      await createImage(bench.graph, '/a', {
        ...options,
        size: 2 * CLUSTER,
        'backing-file': '/base',
        'backing-fmt': 'raw',
      });
      const node = await used(openNode(bench.graph, '/a', { format: 'qed' }));
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
    const bench = makeBench();
    await createImage(bench.graph, '/base', { driver: 'raw', size: 3 * MIB });
    const base = await used(openNode(bench.graph, '/base', { format: 'raw' }));
    await base.write(0, new Uint8Array(3 * MIB).fill(3));
    await bench.graph.closeAll();
    await createImage(bench.graph, '/a', {
      ...options,
      size: 2 * CLUSTER,
      'backing-file': '/base',
      'backing-fmt': 'raw',
    });
    const node = await used(openNode(bench.graph, '/a', { format: 'qed' }));
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
