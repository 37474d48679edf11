// What a discard may leave to the backing node: nothing, not even behind its end, since a job may put a longer one in its place (a stream that drops
// a short layer).

import { expect } from 'chai';
import { pattern } from '../support.js';
import { again, contentOf, fresh } from './bench.js';

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
});
