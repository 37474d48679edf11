// A file whose size could not be changed: it is what it was, in what it says of itself and in what it does.

import { expect } from 'chai';
import { openNode } from '../../src/block/open.js';
import { failureOf, makeBench, pattern, used } from './support.js';

const MIB = 1 << 20;
const PATH = '/disk.raw';

async function opened(size: number) {
  const { host, graph } = makeBench();
  host.writeFile(PATH, pattern(size));
  const node = await used(openNode(graph, `json:${JSON.stringify({ driver: 'file', filename: PATH })}`));
  return { host, graph, node };
}

describe('file driver: a resize that fails', () => {
  it('leaves a file that could not get shorter as it is', async () => {
    const { host, graph, node } = await opened(8 * MIB);
    host.setFaults({ rules: [{ operations: ['truncate'] }] });
    expect((await failureOf(node.truncate(4 * MIB))).code).to.equal('io');
    host.setFaults({});
    expect(node.length).to.equal(8 * MIB);
    expect((await node.blockStatus(5 * MIB, MIB)).data).to.equal(true);
    await node.writeZeroes(6 * MIB, MIB);
    const found = new Uint8Array(MIB);
    await node.read(6 * MIB, found);
    expect(found.every((byte) => byte === 0)).to.equal(true);
    await graph.closeAll();
    expect(host.fileSize(PATH)).to.equal(8 * MIB);
  });

  for (const [preallocation, operation] of [
    ['off', 'truncate'],
    ['falloc', 'allocate'],
    ['full', 'write'],
    ['full', 'flush'],
  ] as const) {
    it(`leaves a file of its old size that could not get longer with preallocation=${preallocation}: ${operation}`, async () => {
      const { host, node } = await opened(MIB + 100);
      host.setFaults({ rules: [{ operations: [operation], times: 1 }] });
      expect((await failureOf(node.truncate(4 * MIB, { preallocation }))).code).to.equal('io');
      host.setFaults({});
      expect(node.length).to.equal(MIB + 512);
      expect(host.fileSize(PATH)).to.be.at.most(node.length);
      await node.truncate(2 * MIB);
      expect((await node.blockStatus(MIB + 8192, MIB - 8192)).zero).to.equal(true);
      const found = new Uint8Array(MIB);
      await node.read(MIB, found);
      expect(Buffer.from(found.subarray(0, 100)).equals(pattern(MIB + 100).subarray(MIB))).to.equal(true);
      expect(found.subarray(100).every((byte) => byte === 0)).to.equal(true);
    });
  }
});
