// A filter that changes nothing: it is the node below it, for guests, jobs and whoever walks the graph.

import { expect } from 'chai';
import { chainOf, filteredChild, skipFilters } from '../../../src/block/chain.js';
import { createImage } from '../../../src/block/create.js';
import { Device } from '../../../src/block/device.js';
import type { Graph } from '../../../src/block/graph.js';
import { FilterNode } from '../../../src/block/node/filter.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { PERM_ALL, Perm } from '../../../src/block/types.js';
import type { BlockError } from '../../../src/util/errors.js';
import { type Bench, linkTo, makeBench, pattern } from '../../drivers/support.js';
import { contentOf, nobody } from '../support.js';

const SIZE = 1 << 20;

class PassThrough extends FilterNode {
  override readonly driver = 'pass-through';

  constructor(graph: Graph, file: BlockNode) {
    super(graph, { nodeName: 'filter', readOnly: file.readOnly, discard: 'unmap' }, 'pass-through', {}, file);
    graph.add(this);
  }
}

function refusal(action: () => unknown): BlockError {
  try {
    action();
  } catch (error) {
    return error as BlockError;
  }
  throw new Error('not refused');
}

/** A filter over an overlay with two clusters over a base. */
async function filtered() {
  const bench: Bench = makeBench();
  await createImage(bench.graph, '/base', { driver: 'raw', size: SIZE });
  const base = await openNode(bench.graph, '/base', { format: 'raw' });
  const user = linkTo(base);
  await user.write(0, pattern(SIZE, 3));
  base.detach(user);
  await bench.graph.release(base);
  const size = SIZE;
  await createImage(bench.graph, '/top', { driver: 'qcow2', size, 'backing-file': '/base', 'backing-fmt': 'raw' });
  const top = await openNode(bench.graph, '/top', { format: 'qcow2', discard: 'unmap' });
  return { ...bench, top, filter: new PassThrough(bench.graph, top) };
}

describe('filter', () => {
  it('reads and writes as what it filters', async () => {
    const { filter, top } = await filtered();
    const device = new Device(filter, { name: 'd', writable: true });
    const expected = Buffer.from(pattern(SIZE, 3));
    await device.write(70000, pattern(5000, 9));
    expected.set(pattern(5000, 9), 70000);
    await device.writeZeroes(300000, 66000);
    expected.fill(0, 300000, 366000);
    expect((await contentOf(filter)).equals(expected)).to.equal(true);
    expect((await contentOf(top)).equals(expected)).to.equal(true);
  });

  it('is located through: a request goes straight to the host file, with the guard of the format', async () => {
    const { filter } = await filtered();
    const link = linkTo(filter);
    await link.write(0, pattern(4096));
    await contentOf(filter);
    const into = { file: null, offset: 0, guard: null as { release(): void } | null };
    expect(link.locate(512, 512, false, into)).to.equal(true);
    expect(into.guard).not.to.equal(null);
    into.guard!.release();
  });

  it('answers block status for what it filters, and stands for it in a chain', async () => {
    const { filter, top } = await filtered();
    expect(await filter.blockStatus(0, SIZE)).to.deep.equal(await top.blockStatus(0, SIZE));
    expect([skipFilters(filter), filteredChild(filter)?.node, filteredChild(top)]).to.deep.equal([top, top, null]);
    expect(chainOf(filter)).to.deep.equal([filter, ...chainOf(top).slice(1)]);
  });

  it('hands on what its users do and what they let others do', async () => {
    const { filter, top } = await filtered();
    const user = filter.attach(nobody, 'root', Perm.CONSISTENT_READ | Perm.WRITE, PERM_ALL & ~Perm.WRITE);
    const writer = () => top.attach(nobody, 'target', Perm.WRITE, PERM_ALL);
    expect(refusal(writer).message).to.contain("unshared by node 'filter'");
    filter.detach(user);
    writer();
    expect(refusal(() => filter.attach(nobody, 'root', 0, PERM_ALL & ~Perm.WRITE)).code).to.equal('permission');
  });

  it('changes its size with what it filters', async () => {
    const { filter, top } = await filtered();
    await linkTo(filter).truncate(2 * SIZE);
    expect([filter.length, top.length]).to.deep.equal([2 * SIZE, 2 * SIZE]);
  });

  it('takes what it filters along when it is closed', async () => {
    const { graph, filter, top } = await filtered();
    await graph.release(filter);
    expect([filter.closed, top.closed, graph.nodes.size]).to.deep.equal([true, true, 0]);
  });

  it('is named by options that open it again', async () => {
    const { filter } = await filtered();
    expect(filter.filename).to.equal(
      'json:{"driver": "pass-through", "file": {"driver": "qcow2", "file": {"driver": "file", "filename": "/top"}}}',
    );
  });
});
