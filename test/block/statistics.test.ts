// Figures of nodes.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { openNode } from '../../src/block/open.js';
import { nodeStats } from '../../src/block/statistics.js';
import { type Bench, linkTo, makeBench, pattern } from '../drivers/support.js';

const SIZE = 1 << 20;

async function overlay(): Promise<Bench> {
  const bench = makeBench();
  const { graph } = bench;
  await createImage(graph, '/base', { driver: 'raw', size: SIZE });
  await createImage(graph, '/top', { driver: 'qcow2', size: SIZE, 'backing-file': '/base', 'backing-fmt': 'raw' });
  return bench;
}

describe('figures of a node', () => {
  it('name the end of the furthest write, however it went to the file', async () => {
    const { graph } = await overlay();
    const file = await openNode(graph, '/base', { format: 'file', nodeName: 'file' });
    const node = await openNode(graph, { driver: 'raw', file: 'file' }, { nodeName: 'raw' });
    const link = linkTo(node);
    const ends = () => [nodeStats(node, false), nodeStats(file, false)].map(({ stats }) => stats.wr_highest_offset);
    expect(ends()).to.deep.equal([0, 0]);
    await link.write(4096, pattern(512, 1));
    expect(ends()).to.deep.equal([4608, 4608]);
    await link.write(0, pattern(512, 1));
    expect(ends()).to.deep.equal([4608, 4608]);
    await link.writeZeroes(65536, 4096);
    expect(ends()).to.deep.equal([69632, 69632]);
    await link.writeExtents(
      [0, 131072].map((offset) => ({ offset, length: 512 })),
      pattern(1024, 2),
    );
    expect(ends()).to.deep.equal([131584, 131584]);
    await link.discard(SIZE - 4096, 4096);
    expect(ends()).to.deep.equal([131584, 131584]);
    await graph.closeAll();
  });

  it('tell of the first write beyond a threshold, once, however it went to the file', async () => {
    const { graph } = await overlay();
    const node = await openNode(graph, '/base', { format: 'raw', nodeName: 'raw' });
    const link = linkTo(node);
    const told: object[] = [];
    graph.events.on('BLOCK_WRITE_THRESHOLD', (data) => told.push(data));
    await link.write(65536, pattern(512, 1));
    node.writeThreshold = 4096;
    await link.write(0, pattern(4096, 1));
    expect(told).to.deep.equal([]);
    await link.write(4096, pattern(512, 1));
    const event = { 'node-name': 'raw', 'amount-exceeded': 512, 'write-threshold': 4096 };
    expect(told).to.deep.equal([event]);
    expect(node.writeThreshold).to.equal(0);
    await link.write(8192, pattern(512, 1));
    expect(told).to.deep.equal([event]);
    node.writeThreshold = 4096;
    await link.writeZeroes(0, 8192);
    expect(told[1]).to.deep.equal({ ...event, 'amount-exceeded': 4096 });
    node.writeThreshold = 4096;
    node.writeThreshold = 0;
    await link.write(8192, pattern(512, 1));
    expect(told).to.have.length(2);
    await graph.closeAll();
  });

  it('have those of the node that it is stored in, and of its backing chain where they are asked for', async () => {
    const { graph } = await overlay();
    const top = await openNode(graph, '/top', { format: 'qcow2', nodeName: 'top' });
    expect(nodeStats(top, false)).to.have.nested.property('parent.driver-specific.driver', 'file');
    expect(nodeStats(top, false)).not.to.have.property('backing');
    expect(nodeStats(top, true)).to.have.nested.property('backing.parent.driver-specific.driver', 'file');
    await graph.closeAll();
  });

  it('count the discards that a file took', async () => {
    const { graph } = await overlay();
    const file = await openNode(graph, '/base', { format: 'file', discard: 'unmap' });
    const link = linkTo(file);
    await link.discard(0, 65536);
    expect(nodeStats(file, false)['driver-specific']).to.deep.equal({
      driver: 'file',
      'discard-nb-ok': 1,
      'discard-nb-failed': 0,
      'discard-bytes-ok': 65536,
    });
    await graph.closeAll();
  });
});
