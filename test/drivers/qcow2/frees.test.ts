// What is discarded in the file below when clusters are freed: neighbours in one request, and nothing that is cut off next.

import { expect } from 'chai';
import type { Qcow2Node } from '../../../src/drivers/formats/qcow2/driver.js';
import { Frees } from '../../../src/drivers/formats/qcow2/frees.js';
import type { SimRequest } from '../../../src/host/sim/faults.js';
import { planted } from '../../sim/changes.js';
import { pattern } from '../support.js';
import { createAt, findings, makeFixture, openAt, PATH } from './bench.js';

const CLUSTER = 4096;
const SIZE = 256 * CLUSTER;

async function watched() {
  const discards: SimRequest[] = [];
  const onRequest = (request: SimRequest) => {
    if (request.operation === 'discard' && request.path === PATH) discards.push(request);
    return undefined;
  };
  const fixture = makeFixture({ onRequest });
  await createAt(fixture, { size: SIZE, 'cluster-size': CLUSTER });
  return { ...fixture, node: await openAt(fixture), discards };
}

describe('qcow2 frees', () => {
  it('discards neighbours at once, in whatever order they were freed', async () => {
    const { graph, node, discards } = await watched();
    await node.write(0, pattern(SIZE));
    await node.flush();
    for (let at = 100; at > 20; at--) await node.discard(at * CLUSTER, CLUSTER);
    await node.flush();
    expect(discards.map(({ length }) => length)).to.deep.equal([80 * CLUSTER]);
    expect(await findings(node)).to.deep.equal([]);
    await graph.closeAll();
  });

  for (const [name, shorten] of [
    ['emptied', (node: Qcow2Node) => node.makeEmpty()],
    ['shrunk', (node: Qcow2Node) => node.truncate(SIZE / 4, {})],
  ] as const) {
    it(`discards nothing that is cut off: an image that is ${name}`, async () => {
      const { graph, host, node, discards } = await watched();
      await node.write(0, pattern(SIZE));
      await node.flush();
      const before = host.fileSize(PATH);
      await shorten(node);
      expect(host.fileSize(PATH)).to.be.below(before / 2);
      expect(discards).to.deep.equal([]);
      expect(await findings(node)).to.deep.equal([]);
      await graph.closeAll();
    });
  }

  it('discards what lies before a cluster that stays in use at the end of the file', async () => {
    const { graph, host, node, discards } = await watched();
    await node.write(SIZE / 2, pattern(SIZE / 2));
    // The last one in the file is a cluster of the part that stays.
    await node.write(0, pattern(CLUSTER));
    await node.flush();
    await node.truncate(SIZE / 2, {});
    expect(discards.reduce((sum, { length }) => sum + length, 0)).to.equal(SIZE / 2);
    expect(host.fileSize(PATH)).to.be.above(SIZE / 2);
    expect(await findings(node)).to.deep.equal([]);
    await graph.closeAll();
  });

  for (const [name, change] of [
    ['a repair of leaks', (node: Qcow2Node) => node.abilities.repair!('leaks', () => undefined)],
    [
      'a compact',
      (node: Qcow2Node) => node.abilities.compact!({}, { work: (_bytes, action) => action(), expect: () => undefined }),
    ],
  ] as const) {
    it(`are no leak for ${name}, where their refcounts had no space at first`, async () => {
      const { graph, node } = await watched();
      await node.write(0, pattern(SIZE));
      await node.flush();
      await node.discard(0, SIZE / 2);
      const { apply } = Frees.prototype;
      let waits = true;
      await planted(
        Frees.prototype,
        'apply',
        function (this: Frees, pending, cut) {
          if (!waits) return apply.call(this, pending, cut);
          waits = false;
          return Promise.resolve();
        },
        async () => {
          await change(node);
        },
      );
      await node.flush();
      expect(await findings(node)).to.deep.equal([]);
      await graph.closeAll();
    });
  }
});
