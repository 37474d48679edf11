// Compact on a disk that is nearly full: what it moves needs no more space than there is, in whatever pieces, and what could not be moved takes none.

import { expect } from 'chai';
import type { Qcow2Node } from '../../../src/drivers/formats/qcow2/driver.js';
import { failureOf, pattern } from '../support.js';
import { contentOf, createAt, type Fixture, findings, makeFixture, openAt, PATH } from './bench.js';

const MIB = 1 << 20;
const CLUSTER = 65536;
const control = { work: <T>(_bytes: number, action: () => Promise<T>) => action(), expect: () => undefined };

/** 4 MiB of holes before 6 MiB of data, on a disk that has `free` bytes left. */
async function nearlyFull(free: number): Promise<Fixture & { node: Qcow2Node; content: Uint8Array }> {
  const fixture = makeFixture();
  await createAt(fixture, { size: 10 * MIB, 'cluster-size': CLUSTER });
  const node = await openAt(fixture, { discard: 'unmap' });
  await node.write(0, pattern(10 * MIB));
  await node.flush();
  await node.discard(0, 4 * MIB);
  await node.flush();
  const content = await contentOf(node);
  fixture.host.setCapacity(fixture.host.used + free);
  return { ...fixture, node, content };
}

describe('qcow2: compact where space is short', () => {
  for (const free of [CLUSTER, 2 * MIB]) {
    it(`does all with ${free} bytes`, async () => {
      const { graph, host, node, content } = await nearlyFull(free);
      const used = host.used;
      const { after } = await node.abilities.compact!({}, control);
      expect(after).to.be.below(7 * MIB);
      expect(host.fileSize(PATH)).to.equal(after);
      expect(host.used).to.be.at.most(used);
      expect(Buffer.compare(await contentOf(node), content)).to.equal(0);
      expect(await findings(node)).to.deep.equal([]);
      await graph.closeAll();
    });
  }

  it('takes no space where there is too little for one cluster', async () => {
    const { graph, host, node, content } = await nearlyFull(CLUSTER / 2);
    const used = host.used;
    expect((await failureOf(node.abilities.compact!({}, control))).code).to.equal('no-space');
    expect(host.used).to.be.at.most(used);
    expect(Buffer.compare(await contentOf(node), content)).to.equal(0);
    expect(await findings(node)).to.deep.equal([]);
    await graph.closeAll();
  });
});
