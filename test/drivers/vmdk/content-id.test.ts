// The content ID of VMDK images: when it changes, and what an overlay says of a backing file that was changed.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import { Workspace } from '../../../src/index.js';
import { type Bench, failureOf, makeBench, readNode, used } from '../support.js';

const SIZE = 1 << 20;

describe('content ID of VMDK', () => {
  let bench: Bench;

  beforeEach(async () => {
    bench = makeBench();
    await createImage(bench.graph, '/base', { driver: 'vmdk', size: SIZE });
    await write('/base', 1);
    await createImage(bench.graph, '/top', { driver: 'vmdk', size: SIZE, 'backing-file': 'base' });
  });

  async function write(path: string, byte: number): Promise<void> {
    const node = await used(openNode(bench.graph, path, { format: 'vmdk' }));
    await node.write(0, Buffer.alloc(4096, byte));
    await bench.graph.closeAll();
  }

  function idOf(path: string): string {
    return /^CID=(\w+)$/m.exec(Buffer.from(bench.host.readFile(path, 512, 1024)).toString('latin1'))![1];
  }

  it('stays where an image is only opened, also to be written', async () => {
    const before = idOf('/base');
    await openNode(bench.graph, '/base', { format: 'vmdk' });
    await bench.graph.closeAll();
    expect(idOf('/base')).to.equal(before);
  });

  for (const [what, change] of [
    ['a write', (node) => node.write(0, Buffer.alloc(512, 5))],
    ['zeroes', (node) => node.writeZeroes(0, 65536)],
    ['a discard', (node) => node.discard(0, 65536)],
  ] as [string, (node: Awaited<ReturnType<typeof openNode>>) => Promise<void>][]) {
    it(`changes with the first of ${what}, once, and is on the disk before that is`, async () => {
      const before = idOf('/base');
      const node = await used(openNode(bench.graph, '/base', { format: 'vmdk', discard: 'unmap' }));
      await change(node);
      const durable = Buffer.from(bench.host.durableFile('/base')).toString('latin1', 512, 1536);
      const after = idOf('/base');
      expect(after).not.to.equal(before);
      expect(durable).to.contain(`CID=${after}`);
      await node.write(0, Buffer.alloc(512, 6));
      expect(idOf('/base')).to.equal(after);
      await bench.graph.closeAll();
    });
  }

  it('lets an overlay be read as long as its backing file is what it was', async () => {
    const byte = new Uint8Array(1);
    await readNode(await openNode(bench.graph, '/top', { format: 'vmdk', readOnly: true }), 0, byte);
    expect(byte[0]).to.equal(1);
    await bench.graph.closeAll();
  });

  it('keeps an overlay from reading, and from copying, what was changed below it', async () => {
    await write('/base', 2);
    const node = await used(openNode(bench.graph, '/top', { format: 'vmdk' }));
    for (const action of [node.read(0, new Uint8Array(1)), node.write(100, Buffer.alloc(10))]) {
      const error = await failureOf(action);
      expect(error.code).to.equal('invalid-image');
      expect(error.message).to.match(/'\/base' was changed .* its content ID is \w{8}, not \w{8}/);
    }
    await bench.graph.closeAll();
  });

  it('is noted anew where an overlay was committed, which is empty then, and reads as before', async () => {
    await write('/top', 3);
    const before = idOf('/top');
    const workspace = new Workspace(bench.host);
    const options = { driver: 'vmdk', file: { driver: 'file', filename: '/top' }, 'read-only': true };
    await (await workspace.commit(await workspace.open(options as never), { empty: true })).done;
    await workspace.close();
    const text = Buffer.from(bench.host.readFile('/top', 512, 1024)).toString('latin1');
    expect(/^parentCID=(\w+)$/m.exec(text)![1]).to.equal(idOf('/base'));
    expect(idOf('/top')).to.equal(before);
    const node = await openNode(bench.graph, '/top', { format: 'vmdk', readOnly: true });
    const byte = new Uint8Array(1);
    await readNode(node, 4095, byte);
    expect([byte[0], (await node.blockStatus(0, 4096)).allocated]).to.deep.equal([3, false]);
    await bench.graph.closeAll();
  });

  it('is not asked for where the user names another backing node', async () => {
    bench.host.writeFile('/other', Buffer.alloc(SIZE, 8));
    const graph = new Graph(bench.host);
    const file = (filename: string) => ({ driver: 'file', filename });
    const options = { driver: 'vmdk', file: file('/top'), backing: { driver: 'raw', file: file('/other') } };
    const byte = new Uint8Array(1);
    await readNode(await openNode(graph, options as never, { readOnly: true }), 0, byte);
    expect(byte[0]).to.equal(8);
    await graph.closeAll();
  });
});
