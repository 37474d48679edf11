// The mark of a QED image that is to be checked: when the header has it, and what becomes of an image that has it.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { openNode } from '../../../src/block/open.js';
import { CLUSTER, firstBytes, L1, makeQed, NEED_CHECK, numberAt, OPTIONS, openQed, patch } from './support.js';

const FEATURES = 16;

describe('a QED image that is to be checked', () => {
  it('is marked from before its first cluster is allocated until it is closed', async () => {
    const bench = await makeQed(8, []);
    const node = await openQed(bench);
    expect(numberAt(bench, FEATURES)).to.equal(0);
    await node.write(0, Uint8Array.of(1));
    expect(numberAt(bench, FEATURES)).to.equal(NEED_CHECK);
    await bench.graph.closeAll();
    expect(numberAt(bench, FEATURES)).to.equal(0);
  });

  it('is not marked by a write to clusters that have their places', async () => {
    const bench = await makeQed(8, [0]);
    const node = await openQed(bench);
    await node.write(0, Uint8Array.of(1));
    expect(numberAt(bench, FEATURES)).to.equal(0);
    await bench.graph.closeAll();
  });

  it('loses the mark with the flush before which nothing was allocated, and gets it again', async () => {
    const bench = await makeQed(8, []);
    const node = await openQed(bench);
    await node.write(0, Uint8Array.of(1));
    await node.flush();
    expect(numberAt(bench, FEATURES)).to.equal(NEED_CHECK);
    await node.flush();
    expect(numberAt(bench, FEATURES)).to.equal(0);
    expect(bench.host.readFile('/image').length).to.equal(4 * CLUSTER);
    await node.write(CLUSTER, Uint8Array.of(1));
    expect(numberAt(bench, FEATURES)).to.equal(NEED_CHECK);
    await bench.graph.closeAll();
    expect(numberAt(bench, FEATURES)).to.equal(0);
  });

  it('is repaired when it is opened for writing, and left as it is when it is opened for reading', async () => {
    const bench = await makeQed(8, [0, 1]);
    const l2 = numberAt(bench, L1);
    const first = numberAt(bench, l2);
    // One entry points nowhere, two to one cluster.
    patch(bench, { [FEATURES]: NEED_CHECK, [l2 + 8]: first, [l2 + 16]: 2 ** 40 });
    const reader = await openNode(bench.graph, OPTIONS, { readOnly: true });
    expect(reader.readOnly).to.equal(true);
    await bench.graph.closeAll();
    expect(numberAt(bench, FEATURES)).to.equal(NEED_CHECK);
    const node = await openQed(bench);
    expect(numberAt(bench, FEATURES)).to.equal(0);
    expect(numberAt(bench, l2 + 16)).to.equal(0);
    await node.write(0, new Uint8Array(CLUSTER).fill(9));
    await bench.graph.closeAll();
    expect(await firstBytes(bench, 3)).to.deep.equal([9, 1, 0]);
  });

  it('is repaired when it becomes writable', async () => {
    const bench = await makeQed(8, [0]);
    const l2 = numberAt(bench, L1);
    patch(bench, { [FEATURES]: NEED_CHECK, [l2 + 8]: 2 ** 40 });
    const node = await openNode(bench.graph, OPTIONS, { readOnly: true });
    await node.reopen(false);
    expect([numberAt(bench, FEATURES), numberAt(bench, l2 + 8)]).to.deep.equal([0, 0]);
    await bench.graph.closeAll();
  });
});
