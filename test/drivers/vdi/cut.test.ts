// VDI images whose file was cut: blocks that lie beyond its end read as zeroes, and are there again when they are written to, as with QEMU.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { failureOf, makeBench, used } from '../support.js';

const MIB = 1 << 20;

describe('a VDI image that was cut', () => {
  for (const zeroes of [false, true]) {
    it(`takes ${zeroes ? 'zeroes' : 'data'} beyond the end of its file`, async () => {
      const bench = makeBench();
      await createImage(bench.graph, '/a', { driver: 'vdi', size: 4 * MIB, preallocation: 'metadata' });
      bench.host.writeFile('/a', bench.host.readFile('/a', 0, 2 * MIB));
      const node = await used(openNode(bench.graph, '/a', { format: 'vdi' }));
      const bytes = Buffer.alloc(4096, zeroes ? 0 : 5);
      if (zeroes) await node.writeZeroes(3 * MIB, bytes.length);
      else await node.write(3 * MIB, bytes);
      const found = Buffer.alloc(bytes.length);
      await node.read(3 * MIB, found);
      expect(found.equals(bytes)).to.equal(true);
      await bench.graph.closeAll();
    });
  }

  it('is refused where its map is cut, at once', async () => {
    const bench = makeBench();
    await createImage(bench.graph, '/a', { driver: 'vdi', size: 2 ** 42 });
    bench.host.writeFile('/a', bench.host.readFile('/a', 0, 4096));
    const error = await failureOf(openNode(bench.graph, '/a', { format: 'vdi' }));
    expect([error.code, error.reason]).to.deep.equal(['invalid-image', 'The block map does not lie within the file']);
  });
});
