// A node is opened again, read-only or for writing, and closed.

import { expect } from 'chai';
import { openNode } from '../../../src/block/open.js';
import { PERM_ALL, Perm } from '../../../src/block/types.js';
import { failureOf, makeBench, pattern, reopenUsed } from '../../drivers/support.js';
import { MemoryNode } from '../../jobs/memory-node.js';
import { contentOf, lateBench, openUsed, PASS_MS, stateOf } from '../support.js';
import { patterned, SIZE } from './patterned.js';

describe('node: reopen', () => {
  it('to read-only flushes first, takes the file along, and back again', async () => {
    const { node, host } = await patterned();
    await node.write(0, Uint8Array.of(99));
    await reopenUsed(node, true);
    expect(host.durableFile('/a')[0]).to.equal(99);
    expect([
      node.readOnly,
      node.children.get('file')!.node.readOnly,
      node.children.get('file')!.node.hostFile()!.writable,
    ]).to.deep.equal([true, true, false]);
    expect((await failureOf(node.write(0, Uint8Array.of(1)))).code).to.equal('read-only');
    await reopenUsed(node, false);
    await node.write(0, Uint8Array.of(1));
    expect((await contentOf(node, 0, 1))[0]).to.equal(1);
  });

  it('to what it is does nothing', async () => {
    const { node, host } = await patterned();
    const before = host.requests;
    await node.reopen(false);
    expect(host.requests).to.equal(before);
  });

  it('that fails leaves all as it was', async () => {
    const { node, host } = await patterned({ readOnly: true });
    host.setFaults({ rules: [{ operations: ['open'], errno: 'EACCES' }] });
    expect((await failureOf(node.reopen(false))).code).to.equal('permission');
    expect([node.readOnly, node.children.get('file')!.node.readOnly]).to.deep.equal([true, true]);
    expect(await contentOf(node)).to.deep.equal(Buffer.from(pattern(SIZE)));
  });

  it('that fails above leaves the file read-only', async () => {
    const { graph, node: file } = await patterned({ readOnly: true });
    class Stubborn extends MemoryNode {
      override async prepareReopen(): Promise<never> {
        throw this.unsupported('writing', 0, 0);
      }
    }
    const top = new Stubborn(graph, { name: 'top', size: SIZE, readOnly: true });
    top.setChild('file', file, 'image', { perm: Perm.CONSISTENT_READ, shared: PERM_ALL });
    file.opening!.heirOf = top;
    expect((await failureOf(top.reopen(false))).code).to.equal('unsupported');
    expect([top.readOnly, file.readOnly, file.children.get('file')!.node.readOnly]).to.deep.equal([true, true, true]);
  });

  it('waits for what is under way', async () => {
    const bench = lateBench(['write']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const writing = node.write(0, Uint8Array.of(1));
    const reopening = reopenUsed(node, true);
    expect(await stateOf(reopening)).to.equal('pending');
    await bench.host.advance(PASS_MS);
    await Promise.all([writing, reopening]);
    expect(bench.host.durableFile('/a')[0]).to.equal(1);
  });
});

describe('node: close', () => {
  it('answers what is under way and takes nothing new', async () => {
    const bench = lateBench(['write', 'read']);
    const node = await openUsed(bench, '/a', pattern(SIZE));
    const file = node.children.get('file')!.node;
    const pending = [
      node.write(0, Uint8Array.of(7)),
      node.read(512, new Uint8Array(1)),
      node.write(1024, Uint8Array.of(8), { fua: true }),
    ];
    const closing = node.close();
    expect(await stateOf(closing)).to.equal('pending');
    expect((await failureOf(node.write(0, Uint8Array.of(1)))).code).to.equal('closed');
    expect((await failureOf(node.read(0, new Uint8Array(1)))).code).to.equal('closed');
    await bench.host.advance(PASS_MS);
    await Promise.all([...pending, closing]);
    expect([node.closed, file.closed]).to.deep.equal([true, true]);
    const durable = bench.host.durableFile('/a');
    expect([durable[0], durable[1024]]).to.deep.equal([7, 8]);
  });

  it('twice at once closes once', async () => {
    const bench = makeBench({ log: true });
    const node = await openUsed(bench, '/a', pattern(SIZE));
    await Promise.all([node.close(), node.close()]);
    await node.close();
    expect(bench.host.count('flush')).to.equal(1);
  });

  it('lets go of the children though the driver fails, and says so', async () => {
    const { graph, host } = makeBench();
    class Sour extends MemoryNode {
      protected override async doClose(): Promise<void> {
        throw this.unsupported('closing', 0, 0);
      }
    }
    host.writeFile('/a', pattern(SIZE));
    const file = await openNode(graph, { driver: 'file', filename: '/a' });
    const top = new Sour(graph, { name: 'top', size: SIZE });
    top.setChild('file', file, 'image', { perm: Perm.CONSISTENT_READ, shared: PERM_ALL });
    expect((await failureOf(graph.release(top))).code).to.equal('unsupported');
    expect([top.closed, file.closed, graph.nodes.size]).to.deep.equal([true, true, 0]);
  });

  it('says that the last flush failed, though the file is closed', async () => {
    const { node, host, graph } = await patterned();
    const file = node.children.get('file')!.node;
    host.setFaults({ rules: [{ operations: ['flush'] }] });
    expect((await failureOf(node.close())).code).to.equal('io');
    expect([node.closed, file.closed]).to.deep.equal([true, true]);
    host.setFaults({});
    await (await openUsed({ host, graph, warnings: [] }, '/a')).close();
  });
});
