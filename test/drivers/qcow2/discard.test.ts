// What a discard may leave to the backing node: nothing, not even behind its end, since a job may put a longer one in its place (a stream that drops
// a short layer).

import { expect } from 'chai';
import { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import { failureOf, pattern } from '../support.js';
import { again, contentOf, createAt, findings, fresh, makeFixture, PATH } from './bench.js';

const KIB = 1024;
const SIZE = 64 * KIB;
const SHORT = 20 * KIB;

describe('qcow2 discard', () => {
  for (const version of ['v2', 'v3'] as const) {
    it(`behind the end of the backing node (${version}) shows nothing of a longer one that takes its place`, async () => {
      const fixture = await fresh({ size: SIZE, version, 'cluster-size': 4096 });
      const { graph, host } = fixture;
      host.writeFile('/short.raw', pattern(SHORT));
      host.writeFile('/long.raw', pattern(SIZE));
      await fixture.node.changeBackingFile('/short.raw', 'raw');
      let node = await again(fixture, {});
      const own = Buffer.alloc(24 * KIB, 7);
      // From before the end, and from wholly behind it.
      await node.write(16 * KIB, own);
      await node.discard(16 * KIB, own.length);
      await node.write(48 * KIB, own.subarray(0, 8 * KIB));
      await node.discard(48 * KIB, 8 * KIB);
      const before = Buffer.from(await contentOf(node));
      for (const at of [16 * KIB, 24 * KIB, 48 * KIB]) expect([0, 7], `${at}`).to.include(before[at]);
      await node.changeBackingFile('/long.raw', 'raw');
      node = await again(fixture, {});
      const after = Buffer.from(await contentOf(node));
      expect(after.subarray(16 * KIB, 40 * KIB).equals(before.subarray(16 * KIB, 40 * KIB))).to.equal(true);
      expect(after.subarray(48 * KIB, 56 * KIB).equals(before.subarray(48 * KIB, 56 * KIB))).to.equal(true);
      await graph.closeAll();
    });
  }

  for (const passes of [true, false]) {
    it(`keeps clusters with discard-no-unref, and ${passes ? 'gives their space back' : 'keeps what they hold'}`, async () => {
      const fixture = makeFixture();
      await createAt(fixture, { size: SIZE, 'cluster-size': 4096 });
      const options = {
        driver: 'qcow2',
        file: { driver: 'file', filename: PATH },
        'discard-no-unref': true,
        'pass-discard-request': passes,
      } as const;
      const open = () => openNode(fixture.graph, options, { discard: 'unmap' });
      let node = await open();
      await node.write(0, Buffer.alloc(SIZE, 7));
      const before = await node.blockStatus(8 * KIB, 4 * KIB);
      await node.discard(8 * KIB, 8 * KIB);
      await node.writeZeroes(32 * KIB, 4 * KIB, { mayUnmap: true });
      const after = await node.blockStatus(8 * KIB, 4 * KIB);
      expect(after).to.include({ zero: true, data: false, offset: before.offset });
      await fixture.graph.closeAll();
      const stored = fixture.host.readFile(PATH).subarray(before.offset, before.offset + 8 * KIB);
      expect(stored.every((byte) => byte === (passes ? 0 : 7))).to.equal(true);
      const { length } = fixture.host.readFile(PATH);
      fixture.graph = new Graph(fixture.host);
      node = await open();
      await node.write(8 * KIB, Buffer.alloc(8 * KIB, 9));
      expect(await node.blockStatus(8 * KIB, 8 * KIB)).to.include({ data: true, offset: before.offset });
      const content = new Uint8Array(SIZE);
      await node.read(0, content);
      expect([content[0], content[8 * KIB], content[16 * KIB], content[32 * KIB]]).to.deep.equal([7, 9, 7, 0]);
      expect((await findings(await again(fixture))).join()).to.equal('');
      expect(fixture.host.readFile(PATH).length).to.equal(length);
      await fixture.graph.closeAll();
    });
  }

  it('refuses discard-no-unref in version 2', async () => {
    const fixture = makeFixture();
    await createAt(fixture, { size: SIZE, version: 'v2' });
    const file = { driver: 'file', filename: PATH } as const;
    const error = await failureOf(openNode(fixture.graph, { driver: 'qcow2', file, 'discard-no-unref': true }));
    expect(error.message).to.match(/discard-no-unref is only supported since qcow2 version 3/);
    await fixture.graph.closeAll();
  });
});
