// preallocate below a format, and compress above one, on a simulated disk.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { reopenNodes } from '../../../src/block/reopen.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { type Bench, linkTo, makeBench, pattern, used } from '../support.js';

const MIB = 1 << 20;

function open({ graph }: Bench, options: object): Promise<BlockNode> {
  return used(openNode(graph, options as BlockdevOptions, { discard: 'unmap' }));
}

const size = ({ host }: Bench): number => host.readFile('/disk').length;
const file = { driver: 'file', 'node-name': 'file', filename: '/disk' };
const preallocate = (own: object = {}) => ({ driver: 'preallocate', 'node-name': 'p', file, ...own });

describe('preallocate', () => {
  it('grows the file ahead, once, and cuts it when it is closed', async () => {
    const bench = makeBench();
    bench.host.writeFile('/disk', new Uint8Array(0));
    const node = await open(bench, preallocate({ 'prealloc-size': 4 * MIB, 'prealloc-align': MIB }));
    await node.truncate(1000);
    // A node has whole sectors.
    expect([node.length, size(bench)]).to.deep.equal([1024, 5 * MIB]);
    await node.truncate(2 * MIB);
    await node.truncate(5 * MIB);
    expect(size(bench)).to.equal(5 * MIB);
    await node.write(0, pattern(5 * MIB));
    await node.truncate(5 * MIB + 512);
    expect([node.length, size(bench)]).to.deep.equal([5 * MIB + 512, 10 * MIB]);
    await bench.graph.closeAll();
    expect(size(bench)).to.equal(5 * MIB + 512);
  });

  it('reads as zeroes what was cut off and comes back', async () => {
    const bench = makeBench();
    bench.host.writeFile('/disk', new Uint8Array(0));
    const node = await open(bench, preallocate({ 'prealloc-size': MIB }));
    await node.truncate(1024);
    await node.write(0, new Uint8Array(1024).fill(1));
    await node.truncate(512);
    await node.truncate(1024);
    const bytes = new Uint8Array(1024);
    await node.read(0, bytes);
    expect(bytes).to.deep.equal(new Uint8Array(1024).fill(1, 0, 512));
  });

  it('cuts the file when its last user leaves it, though others look at the file', async () => {
    const bench = makeBench();
    bench.host.writeFile('/disk', new Uint8Array(0));
    const node = await open(bench, preallocate({ 'prealloc-size': MIB }));
    await node.truncate(1024);
    const looker = linkTo(bench.graph.find('file'), 1);
    const [user] = node.parents;
    node.detach(user);
    await bench.graph.release(node);
    expect(looker.length).to.equal(1024);
    expect(size(bench)).to.equal(1024);
  });

  it('takes what is needed where there is no room ahead', async () => {
    const bench = makeBench();
    bench.host.writeFile('/disk', new Uint8Array(0));
    const node = await open(bench, preallocate());
    bench.host.setFaults({ rules: [{ operations: ['allocate'], errno: 'ENOSPC' }] });
    await node.truncate(4096);
    expect([node.length, size(bench)]).to.deep.equal([4096, 4096]);
  });

  it('takes other sizes when it is reopened, and cuts the file when it becomes read-only', async () => {
    const bench = makeBench();
    bench.host.writeFile('/disk', new Uint8Array(0));
    const node = await openNode(bench.graph, preallocate({ 'prealloc-size': MIB }) as BlockdevOptions);
    const user = linkTo(node);
    const options = { driver: 'preallocate', 'node-name': 'p', file: 'file' } as const;
    await reopenNodes(bench.graph, [{ ...options, 'prealloc-size': 0, 'prealloc-align': 2 * MIB }]);
    await user.truncate(100);
    expect(size(bench)).to.equal(2 * MIB);
    node.detach(user);
    await node.reopen(true);
    // A guest may have written to the rest of the last sector.
    expect(size(bench)).to.equal(512);
  });
});

describe('compress', () => {
  const CLUSTER = 65536;

  async function compressed(): Promise<{ bench: Bench; node: BlockNode; disk: number }> {
    const bench = makeBench();
    const disk = 8 * CLUSTER + 512;
    await createImage(bench.graph, '/disk', { driver: 'qcow2', size: disk });
    return { bench, node: await open(bench, { driver: 'compress', file: { driver: 'qcow2', file } }), disk };
  }

  it('stores whole clusters compressed, and parts of them as whole ones', async () => {
    const { node, disk } = await compressed();
    const content = new Uint8Array(disk);
    for (const [offset, length, byte] of [
      [0, 2 * CLUSTER, 1],
      [3 * CLUSTER + 5, 10, 2],
      [CLUSTER - 1, 2, 3],
      [disk - 3, 3, 4],
      [5 * CLUSTER - 7, 2 * CLUSTER, 5],
    ]) {
      await node.write(offset, new Uint8Array(length).fill(byte));
      content.fill(byte, offset, offset + length);
    }
    const bytes = new Uint8Array(disk);
    await node.read(0, bytes);
    expect(bytes).to.deep.equal(content);
    for (const offset of [0, CLUSTER, 3 * CLUSTER, 5 * CLUSTER, disk - 512]) {
      expect((await node.blockStatus(offset, 1)).compressed, `at ${offset}`).to.equal(true);
    }
  });
});
